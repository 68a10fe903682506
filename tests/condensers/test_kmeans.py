import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from common import colour, digits, iris, name_of
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

from m3d_sklearn import KMeansCenters, M3DCondenser
from m3d_sklearn.core.randomness import Stream

DATA = pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)


def in_units(rows, X):
    """Images from 0 to 1 over the range of X, columns standardised by X; flattened."""
    if X.ndim == 2:
        return (rows - X.mean(0)) / X.std(0)
    return ((rows - X.min()) / (X.max() - X.min())).reshape(len(rows), -1)


def seeds_of_classes(random_state, n_classes):
    """The seeds that a run gives its classes, in their order."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    stream = Stream(int(seed), torch.device("cpu"))
    return [stream.seed() % 2**32 for _ in range(n_classes)]


def wide():
    """Two classes of 900 rows each, enough for scikit-learn to share them among threads."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(1800, 20)), np.arange(1800) % 2


# The centres


@DATA
def test_one_centre_is_the_mean_of_the_class(make_data):
    X, y = make_data()
    X_c, y_c = KMeansCenters(ipc=1).fit(X, y).condensed_
    assert y_c.tolist() == [0, 1, 2]
    np.testing.assert_allclose(X_c, [X[y == c].mean(0) for c in range(3)], rtol=1e-12, atol=1e-13)


def test_centres_of_integer_images_are_rounded():
    X, y = colour()
    X, y = X[y < 2], y[y < 2]
    X, y = np.concatenate([X, X[:2]]), np.concatenate([y, y[:2]])  # 9 a class: no mean ends in ½
    X_c = KMeansCenters(ipc=1).fit(X, y).condensed_.X
    assert X_c.dtype == np.uint8
    np.testing.assert_array_equal(X_c, [np.rint(X[y == c].mean(0)) for c in range(2)])


@DATA
def test_centres_are_those_of_scikit_learn_on_the_units_of_each_class(make_data):
    X, y = make_data()
    condenser = KMeansCenters(ipc=4, n_init=2, max_iter=7, random_state=3).fit(X, y)
    units = in_units(X, X)
    by_hand = [
        KMeans(4, n_init=2, max_iter=7, random_state=seed).fit(units[y == c])
        for c, seed in enumerate(seeds_of_classes(3, 3))
    ]
    centres = np.concatenate([k_means.cluster_centers_ for k_means in by_hand])
    X_c, y_c = condenser.condensed_
    np.testing.assert_allclose(in_units(X_c, X), centres, atol=1e-12)
    assert y_c.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert condenser.inertia_ == pytest.approx(sum(k.inertia_ for k in by_hand), rel=1e-12)
    assert condenser.n_iter_ == max(k.n_iter_ for k in by_hand)


@DATA
@pytest.mark.parametrize(("scale", "shift"), [(255.0, 0.0), (1e-6, 0.0), (16.0, -7.0)])
def test_the_scale_of_X_does_not_matter(make_data, scale, shift):
    X, y = make_data()
    plain = KMeansCenters(ipc=3, random_state=0).fit(X, y)
    moved = KMeansCenters(ipc=3, random_state=0).fit(scale * X + shift, y)
    expected = scale * plain.condensed_.X + shift
    np.testing.assert_allclose(moved.condensed_.X, expected, rtol=1e-9, atol=1e-9 * scale)
    assert moved.inertia_ == pytest.approx(plain.inertia_, rel=1e-9)


def test_columns_count_alike_whatever_they_are_measured_in():
    X, y = iris()
    plain = KMeansCenters(ipc=3, random_state=0).fit(X, y).condensed_.X
    factors = np.array([1.0, 1e6, 1e-6, 5.0])
    scaled = KMeansCenters(ipc=3, random_state=0).fit(X * factors, y).condensed_.X
    np.testing.assert_allclose(scaled / factors, plain, rtol=1e-9)


def test_classes_have_the_centres_they_are_asked_for():
    X, y = digits()
    names = np.array(["nil", "one", "two"])[y]
    counts = {"two": 1, "nil": 4, "one": 2}
    condenser = KMeansCenters(ipc=counts, random_state=0).fit(X, names)
    X_c, y_c = condenser.condensed_
    assert X_c.shape == (7, 8, 8)
    assert y_c.tolist() == ["nil"] * 4 + ["one"] * 2 + ["two"]
    assert condenser.ipc_ == condenser.params_["ipc"] == counts
    np.testing.assert_allclose(X_c[6], X[y == 2].mean(0), atol=1e-12)


# Small classes, and rows that come again


def test_as_many_centres_as_rows_are_the_rows():
    X, y = iris()
    X = X + np.random.default_rng(0).normal(scale=0.01, size=X.shape)  # all distinct
    condenser = KMeansCenters(ipc=25, random_state=0).fit(X, y)
    X_c, y_c = condenser.condensed_
    assert condenser.inertia_ == pytest.approx(0, abs=1e-20)
    for c in range(3):
        expected, found = (rows[rows[:, 0].argsort()] for rows in (X[y == c], X_c[y_c == c]))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_small_class_gives_all_it_has_with_a_warning():
    X, y = np.arange(14.0).reshape(7, 2), np.array(list("abbbccc"))
    with pytest.warns(
        UserWarning, match=r"KMeansCenters .* more distinct rows than the classes \['a'\]"
    ):
        condenser = KMeansCenters(ipc=2, random_state=0).fit(X, y)
    assert condenser.ipc_ == condenser.condensed_.ipc == {"a": 1, "b": 2, "c": 2}
    np.testing.assert_allclose(condenser.condensed_.X[0], X[0], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_class_of_repeated_rows_gives_the_distinct_ones(dtype):
    a, b, c = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=dtype)
    X = np.array([a, b, a, b, a, a, b, c, a, b])
    y = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        condenser = KMeansCenters(ipc=3, random_state=0).fit(X, y)
    assert [warning.category for warning in told] == [UserWarning]  # no ConvergenceWarning
    assert "classes [0] have" in str(told[0].message)
    X_c, y_c = condenser.condensed_
    assert y_c.tolist() == [0, 0, 1, 1, 1]
    for rows, distinct in ((X_c[:2], [a, b]), (X_c[2:], [a, b, c])):
        found = sorted(rows.round(6).astype(float).tolist())
        assert found == sorted(np.asarray(distinct, float).tolist())


def test_minus_zero_is_zero():
    X, y = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), [0, 0, 1, 1]
    with pytest.warns(UserWarning, match=r"classes \[0\]"):
        assert KMeansCenters(ipc=2).fit(X, y).ipc_ == {0: 1, 1: 2}


# Runs


def test_more_runs_are_no_worse_and_some_are_better():
    X, y = digits()
    inertia = np.array(
        [
            [KMeansCenters(8, n_init=n, random_state=seed).fit(X, y).inertia_ for n in (1, 10)]
            for seed in range(3)
        ]
    )
    assert (inertia[:, 1] <= inertia[:, 0]).all()
    assert inertia[:, 1].mean() < inertia[:, 0].mean()


def test_iterations_are_no_more_than_allowed():
    X, y = wide()
    short, long = (KMeansCenters(5, max_iter=n, random_state=0).fit(X, y) for n in (1, 300))
    assert short.n_iter_ == 1 < long.n_iter_ < 300
    assert long.inertia_ < short.inertia_
    assert short.params_["max_iter"] == 1


def test_the_seed_decides():
    X, y = wide()
    first, again, other = (
        KMeansCenters(5, n_init=1, random_state=seed).fit(X, y).condensed_.X for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_no_bit_and_are_left_as_they_were(threads):
    X, y = wide()
    alone = KMeansCenters(5, random_state=0).fit(X, y)
    with threadpool_limits(threads):
        before = threadpool_info()
        together = KMeansCenters(5, random_state=0).fit(X, y)
        assert threadpool_info() == before
        assert {pool["num_threads"] for pool in before} >= {threads}
    np.testing.assert_array_equal(together.condensed_.X, alone.condensed_.X)
    assert together.inertia_ == alone.inertia_


# What goes in and comes out


def test_the_layout_in_memory_changes_no_bit(tmp_path):
    X, y = colour()
    np.save(tmp_path / "X.npy", X)
    plain = KMeansCenters(2, random_state=0).fit(X, y).condensed_.X
    for copied in (np.asfortranarray(X), np.load(tmp_path / "X.npy", mmap_mode="r")):
        again = KMeansCenters(2, random_state=0).fit(copied, y).condensed_.X
        np.testing.assert_array_equal(again, plain)


def test_X_stays_as_it_was():
    X, y = digits()
    kept = X.copy()
    KMeansCenters(2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(X, kept)


def test_a_data_frame_gives_a_data_frame():
    X, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd"))
    X_c, y_c = KMeansCenters(2, random_state=0).fit(frame, pd.Series(y, name="kind")).condensed_
    plain = KMeansCenters(2, random_state=0).fit(X, y).condensed_.X
    pd.testing.assert_frame_equal(X_c, pd.DataFrame(plain, columns=list("abcd")))
    assert y_c.name == "kind"


def test_m3d_can_begin_from_the_centres():
    X, y = digits()
    centres = KMeansCenters(2, random_state=0).fit(X, y)
    begun = M3DCondenser(2, init=centres, max_iter=0).fit(X, y).condensed_.X
    np.testing.assert_allclose(begun, centres.condensed_.X, atol=1e-5)
