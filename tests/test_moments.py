"""Statistics of blocks add up to those of all rows, whatever the scale."""

from functools import reduce
from operator import add

import numpy as np
import pytest

from m3d_sklearn.moments import Moments


def numbers(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("cuts", [[5], [1, 2, 29], range(1, 30)], ids=len)
@pytest.mark.parametrize("shape", [(30, 4), (30, 3, 2, 5)], ids=["table", "images"])
def test_blocks_add_up(shape, cuts, scale):
    X = numbers(shape) * scale
    whole, parts = Moments.of(X), reduce(add, map(Moments.of, np.split(X, cuts)))
    assert parts.n == whole.n
    np.testing.assert_array_equal(parts.low, whole.low)
    np.testing.assert_array_equal(parts.high, whole.high)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(parts.square, whole.square, rtol=1e-12)


def test_a_table_by_hand():
    found = Moments.of(np.array([[0.0, 7.0], [1.0, 7.0], [5.0, 7.0]]))
    assert (found.n, found.low.tolist(), found.high.tolist()) == (3, [0, 7], [5, 7])
    np.testing.assert_allclose(found.mean, [2 / 5, 0])
    np.testing.assert_allclose(found.square, [14 / 3 / 25, 0])
    assert found.span.tolist() == [5, 1]


def test_constant_blocks_of_different_values_have_a_spread():
    both = Moments.of(np.full((1, 1), 2.0)) + Moments.of(np.full((3, 1), 6.0))
    assert both.mean.tolist() == [0.75]
    assert both.square.tolist() == [0.25 * 0.75]


@pytest.mark.parametrize("offset", [1e6, -1e9, 2.0**50])
def test_an_offset_far_above_the_spread_keeps_its_digits(offset):
    X = np.rint(4 * numbers((60, 2)))
    plain = Moments.of(X)
    far = reduce(add, map(Moments.of, np.split(X + offset, 12)))
    np.testing.assert_allclose(far.mean, plain.mean, rtol=1e-12)
    np.testing.assert_allclose(far.square, plain.square, rtol=1e-12)


@pytest.mark.parametrize("X", [[[-1e308], [1e308]], [[[[-1e308, 1e308]]]]])
def test_a_range_that_no_number_holds(X):
    with pytest.raises(ValueError, match=r"X must have a range .* from -1e\+308 to 1e\+308"):
        Moments.of(np.array(X))


def test_a_range_that_only_blocks_together_pass():
    with pytest.raises(ValueError, match="Divide X by a constant"):
        Moments.of(np.full((1, 1), -1e308)) + Moments.of(np.full((1, 1), 1e308))


@pytest.mark.parametrize("shape", [(300, 4), (50, 3, 7, 5)], ids=["table", "images"])
@pytest.mark.parametrize("low", [0, 200])
def test_bytes_have_the_moments_of_their_numbers(shape, low):
    X = np.random.default_rng(0).integers(low, 256, shape).astype(np.uint8)
    X[:, 0] = 255
    for one, other in zip(Moments.of(X), Moments.of(X.astype(np.float32)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
