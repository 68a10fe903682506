"""Stored rows of each class."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from common import CONDENSERS, digits, iris, name_of, small

from m3d_sklearn import DCCondenser, Herding, IDMCondenser, KCenter, M3DCondenser, Random

every_condenser = pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)
every_selector = pytest.mark.parametrize("cls", [Random, Herding, KCenter], ids=name_of)


@pytest.mark.parametrize(
    ("ipc", "expected"),
    [
        (2, {"a": 2, "b": 2, "c": 2}),
        (np.int64(1), {"a": 1, "b": 1, "c": 1}),
        ({"c": 3, "a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}),
        (lambda y: {k: n // 10 for k, n in Counter(y.tolist()).items()}, {"a": 1, "b": 2, "c": 3}),
        (lambda y: pd.Series(y).value_counts() // 10, {"a": 1, "b": 2, "c": 3}),
        (lambda y: [("a", 1), ("b", 2), ("c", 3)], {"a": 1, "b": 2, "c": 3}),
    ],
    ids=["int", "numpy", "dict", "callable", "callable to a Series", "to pairs"],
)
@every_condenser
def test_ipc_is_resolved_class_by_class(cls, ipc, expected):
    y = np.repeat(["c", "a", "b"], [30, 10, 20])
    X, _ = digits()
    condenser = small(cls, ipc=ipc).fit(X, y)
    assert condenser.ipc_ == expected
    assert condenser.params_["ipc"] == expected
    assert condenser.condensed_.ipc == expected
    assert condenser.condensed_.y.tolist() == sorted(Counter(expected).elements())
    assert condenser.classes_.tolist() == ["a", "b", "c"]


@every_selector
def test_selected_rows_are_rows_of_x(cls):
    X, y = digits()
    selector = small(cls, ipc=3).fit(X, y)
    assert np.array_equal(selector.condensed_.X, X[selector.sample_indices_])
    assert np.array_equal(selector.condensed_.y, y[selector.sample_indices_])
    assert len(set(selector.sample_indices_)) == 9


def unbalanced() -> tuple[np.ndarray, np.ndarray]:
    X, y = digits()
    rows = np.flatnonzero((y != 1) | (np.cumsum(y == 1) <= 3))
    return X[rows], y[rows]


@every_selector
def test_selectors_clamp_a_small_class_and_warn(cls):
    X, y = unbalanced()
    with pytest.warns(UserWarning, match=rf"{cls.__name__} .*\[1\]"):
        selector = small(cls, ipc=5).fit(X, y)
    assert selector.ipc_ == {0: 5, 1: 3, 2: 5}
    assert selector.condensed_.y.tolist() == [0] * 5 + [1] * 3 + [2] * 5
    assert set(selector.sample_indices_[5:8]) == set(np.flatnonzero(y == 1))


@pytest.mark.parametrize("factor", [1, 2])
def test_condenser_starts_a_small_class_with_repeats(factor):
    X, y = unbalanced()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = small(M3DCondenser, ipc=5, factor=factor, max_iter=0, init="real").fit(X, y)
        whole = small(M3DCondenser, ipc=5, factor=factor).fit(X, y)
    assert whole.ipc_ == start.ipc_ == {0: 5, 1: 5, 2: 5}
    assert whole.condensed_.X.shape == (15, 8, 8)
    given = start.condensed_.X[5:10].reshape(5, -1).tolist()
    assert sorted(map(tuple, {tuple(row) for row in given})) == sorted(
        map(tuple, X[y == 1].reshape(3, -1).tolist())
    )


def test_one_row_a_class_is_enough():
    X, y = iris()
    X, y = X[[0, 30, 60]], y[[0, 30, 60]]
    for cls in CONDENSERS:
        assert small(cls, ipc=1).fit(X, y).condensed_.X.shape == (3, 4)


@pytest.mark.parametrize("cls", [M3DCondenser, DCCondenser, IDMCondenser], ids=name_of)
@pytest.mark.parametrize(("ipc", "told"), [(24, False), (25, True), ({0: 1, 1: 1, 2: 90}, True)])
def test_a_set_as_large_as_x_is_told_of(cls, ipc, told):
    X, y = iris()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        small(cls, ipc=ipc, max_iter=0).fit(X, y)
    words = [str(warning.message) for warning in found if warning.filename == __file__]
    assert any("rows and X 75; a smaller ipc" in word for word in words) == told
