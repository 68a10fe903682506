"""Starts that the caller gives: what they are compared with, and what is refused."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from common import digits, iris

from m3d_sklearn import Herding, M3DCondenser, Random

NAMES = ["length", "width", "petal length", "petal width"]
REVERSED = NAMES[::-1]


def start_of(X, y, init, **settings):
    """What a run starts from."""
    condenser = M3DCondenser(3, max_iter=0, random_state=0, device="cpu", init=init, **settings)
    return condenser.fit(X, y).condensed_


def framed():
    X, y = iris()
    return pd.DataFrame(X, columns=NAMES), y


# Names of columns

KINDS = {
    "a fitted selector": lambda fitted: fitted,
    "its set": lambda fitted: fitted.condensed_,
    "a pair": lambda fitted: tuple(fitted.condensed_),
    "a set of another frame": lambda fitted: dataclasses.replace(
        fitted.condensed_, layout=dataclasses.replace(fitted.condensed_.layout, columns=None)
    ),
    "a set that holds names": lambda fitted: dataclasses.replace(
        fitted.condensed_, X=np.asarray(fitted.condensed_.X)
    ),
}
kinds = pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)


@kinds
def test_columns_in_another_order_are_refused(given):
    X, y = framed()
    init = given(Herding(3).fit(X[REVERSED], y))
    with pytest.raises(ValueError, match=r"^init must have the columns of X in their order") as got:
        start_of(X, y, init)
    assert f"{NAMES} from column 0 on; got {REVERSED}." in str(got.value)
    start_of(X[REVERSED], y, init)


@kinds
def test_columns_of_other_names_are_refused(given):
    X, y = framed()
    init = given(Herding(3).fit(X.rename(columns={"petal width": "x"}), y))
    said = r"\['petal width'\] from column 3 on; got \['x'\]"
    with pytest.raises(ValueError, match=said):
        start_of(X, y, init)


@kinds
def test_the_same_columns_are_a_start(given):
    X, y = framed()
    expected = Herding(3).fit(X, y)
    condensed = start_of(X, y, given(expected))
    pd.testing.assert_frame_equal(condensed.X, expected.condensed_.X, rtol=1e-6)


def test_names_that_one_side_lacks_are_not_compared():
    X, y = framed()
    plain = start_of(X.to_numpy(), y, Herding(3).fit(X[NAMES], y))
    named = start_of(X, y, Herding(3).fit(X.to_numpy(), y))
    np.testing.assert_array_equal(plain.X, named.X)


def test_other_names_of_flat_images_are_refused():
    X, y = digits()
    names = [f"pixel{i}" for i in range(64)]
    frame = pd.DataFrame(X.reshape(-1, 64), columns=names)
    init = Herding(3, image_shape=(8, 8)).fit(frame[names[::-1]], y)
    with pytest.raises(ValueError, match=r"'pixel4'\] and 59 more from column 0 on; got \['pixel6"):
        start_of(frame, y, init, image_shape=(8, 8))


# The range of values


@pytest.mark.parametrize(
    ("of_init", "of_X", "said"),
    [
        (lambda X: X / 16, lambda X: X, "0 to 1, and X's .* 0 to 16"),
        (lambda X: X, lambda X: X / 16, "0 to 16, and X's .* 0 to 1"),
        (lambda X: X / 8 - 1, lambda X: X / 16, "-1 to 1, and X's .* 0 to 1"),
        (lambda X: X / 16 - 0.5, lambda X: X / 16, "-0.5 to 0.5, and X's .* 0 to 1"),
    ],
)
@pytest.mark.parametrize("given", [lambda fitted: fitted, lambda fitted: fitted.condensed_])
def test_images_of_another_range_are_a_warning(given, of_init, of_X, said):
    X, y = digits()
    init = given(Herding(3).fit(of_init(X), y))
    with pytest.warns(UserWarning, match=f"^init was made from images .* {said}") as caught:
        start_of(of_X(X), y, init)
    assert [warning.filename for warning in caught] == [__file__]


def test_the_range_of_a_split_of_tables_and_of_pairs_is_no_warning():
    X, y = digits()
    table, kinds = iris()
    darker = X.clip(1, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start_of(X, y, Herding(3).fit(X, y))
        start_of(X, y, Herding(3).fit(darker, y))
        start_of(darker, y, Herding(3).fit(X, y))
        start_of(X.astype(np.uint8), y, Herding(3).fit(X, y))
        start_of(table, kinds, Herding(3).fit(table * 50, kinds))
        start_of(X, y, tuple(Herding(3).fit(X / 16, y).condensed_))


# Labels


@pytest.mark.parametrize("given", [lambda fitted: fitted, lambda fitted: tuple(fitted.condensed_)])
def test_labels_that_are_no_classes_are_named(given):
    X, y = iris()
    names = np.array(["setosa", "versicolor", "virginica"])
    said = r"init must be labelled by y's classes, \['setosa', 'versicolor', 'virginica'\]; got "
    with pytest.raises(ValueError, match=said + r"\[0, 1, 2\]\.$"):
        start_of(X, names[y], given(Herding(3).fit(X, y)))
    others = np.array(["setosa", "versicolor", "iris"])
    with pytest.raises(ValueError, match=r"init must be labelled .*; got \['iris'\]\.$"):
        start_of(X, names[y], given(Herding(3).fit(X, others[y])))


def test_many_labels_are_shortened():
    X, y = digits(n_classes=10, per_class=6)
    said = r"\['0', '1', '2', '3', '4'\] and 5 more; got \[0, 1, 2, 3, 4\] and 5 more\.$"
    with pytest.raises(ValueError, match=said):
        start_of(X, y.astype(str), Random(3, random_state=0).fit(X, y))


def test_known_labels_of_wrong_numbers_are_told_as_numbers():
    X, y = iris()
    said = r"of each class, \[3, 3, 3\] stored rows of factor 1; got \[2, 2, 2\]"
    with pytest.raises(ValueError, match=said):
        start_of(X, y, Herding(2).fit(X, y))
