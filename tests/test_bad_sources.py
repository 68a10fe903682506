"""Bad input that is not in memory: refused in words that name it, an earlier fit left whole."""

from __future__ import annotations

import pytest
from bad_sources import BAD, DIGITS, HELD_OUT, IMAGES
from common import ESTIMATORS, name_of, quietly, small
from refusals import assert_refused, assert_told
from sources import Items

import m3d_sklearn.layout
from m3d_sklearn import M3DCondenser, evaluate


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_refused_with_an_earlier_fit_left_whole(cls, bad, monkeypatch):
    monkeypatch.setattr(m3d_sklearn.layout, "BLOCK", 2000)
    X, y, words = BAD[bad]
    estimator = small(cls).fit(IMAGES, DIGITS)
    assert_told(assert_refused(lambda: quietly(estimator.fit, X, y), estimator), "", words)


@pytest.mark.parametrize("cache", [0, "auto"])
def test_a_row_that_fails_only_when_it_is_drawn(cache):
    """In the pass over the data it was whole."""
    items = Items(IMAGES, DIGITS)

    def make(row):
        if items.read > 70:
            raise OSError("the disk is gone")
        return row

    items.make = make
    condenser = small(M3DCondenser, cache=cache)
    with pytest.raises(ValueError, match=r"X\[\d+\] could not be read: OSError: the disk is gone"):
        condenser.fit(items)
    assert not hasattr(condenser, "condensed_")


def test_parameters_are_refused_before_the_pass_over_the_data():
    items = Items(IMAGES)
    items.targets = DIGITS
    for bad in ({"factor": 5}, {"ipc": {0: 1}}, {"network": "resnext"}, {"image_shape": (4, 4)}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            small(M3DCondenser, **bad).fit(items)
    assert items.read <= 8  # the first, for the form of the rows


@pytest.mark.parametrize("bad", HELD_OUT)
def test_held_out_rows(bad):
    X, y, words = HELD_OUT[bad]
    refusal = assert_refused(lambda: evaluate((IMAGES, DIGITS), X, y, n_networks=1, max_iter=1))
    assert_told(refusal, "", words)


@pytest.mark.parametrize("bad", ["NaN in a file", "five axes", "an item that fails"])
def test_new_rows(bad):
    X, _, words = BAD[bad]
    with pytest.raises((ValueError, TypeError), match=words):
        small(M3DCondenser).fit(IMAGES, DIGITS).transform(X)
