import pickle

import numpy as np
import pytest

from m3d_sklearn import layout
from m3d_sklearn.datasets import Dataset


def arrays(shape=(4, 4, 3), dtype=np.uint8, n_train=6, n_test=4):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n_train + n_test, *shape)).astype(dtype)
    y = np.arange(n_train + n_test) % 2
    return {
        "X_train": X[:n_train],
        "y_train": y[:n_train],
        "X_test": X[n_train:],
        "y_test": y[n_train:],
    }


def dataset(**changes):
    about = {"name": "two", "class_names": ("cat", "dog"), "source": "hand"}
    return Dataset(**(about | arrays() | changes))


def test_it_unpacks_as_four_arrays():
    given = arrays()
    for got, name in zip(dataset(**given), given, strict=True):
        assert got is given[name]


def test_repr_is_one_line():
    assert repr(dataset()) == (
        "<Dataset two: 6 training and 4 test rows of shape (4, 4, 3), uint8, 2 classes, from hand>"
    )


def test_a_source_may_be_left_out():
    assert Dataset("two", *arrays().values(), ("cat", "dog")).source == "arrays"


def test_it_cannot_be_changed_and_compares_by_identity():
    data = dataset()
    with pytest.raises(AttributeError):
        data.name = "other"
    assert data == data
    assert data != dataset()


def test_mean_and_std_of_a_channel_are_over_the_range_seen():
    """The range 50–150 of all channels is [0, 1]; a constant channel has std 1."""
    X = np.full((2, 1, 2, 3), 100, np.uint8)
    X[..., 0] = [[[50, 150]], [[50, 150]]]
    X[..., 1] = [[[50, 50]], [[50, 150]]]
    data = dataset(X_train=X, y_train=np.array([0, 1]), X_test=X, y_test=np.array([0, 1]))
    np.testing.assert_allclose(data.mean, [0.5, 0.25, 0.5], rtol=1e-12)
    np.testing.assert_allclose(data.std, [0.5, 0.1875**0.5, 1.0], rtol=1e-12)
    assert all(type(value) is float for value in data.mean + data.std)


def test_mean_and_std_are_of_the_training_images_alone():
    changed = arrays()
    changed["X_test"] = changed["X_test"] // 2
    assert dataset(**changed).mean == dataset().mean


def test_grey_images_have_one_channel():
    X = np.array([[[0, 255]], [[255, 255]]], np.uint8)
    data = dataset(X_train=X, y_train=np.array([0, 1]), X_test=X, y_test=np.array([0, 1]))
    assert data.mean == (0.75,)
    np.testing.assert_allclose(data.std, [0.1875**0.5], rtol=1e-12)


def test_a_table_is_standardised_column_by_column():
    data = dataset(**arrays((5,), float))
    assert (data.mean, data.std) == ((0.0,), (1.0,))


def test_fingerprint_is_of_the_four_arrays():
    assert dataset().fingerprint == layout.fingerprint(*arrays().values())


@pytest.mark.parametrize("name", ["X_train", "y_train", "X_test", "y_test"])
def test_fingerprint_changes_with_any_value(name):
    changed = {key: value.copy() for key, value in arrays().items()}
    changed[name].flat[-1] ^= 1
    assert dataset(**changed).fingerprint != dataset().fingerprint


def test_fingerprint_is_the_same_for_a_memmap_and_in_fortran_order(tmp_path):
    given = arrays()
    np.save(tmp_path / "X.npy", given["X_train"])
    mapped = dataset(X_train=np.load(tmp_path / "X.npy", mmap_mode="r"))
    fortran = dataset(X_train=np.asfortranarray(given["X_train"]))
    assert mapped.fingerprint == fortran.fingerprint == dataset().fingerprint
    assert mapped.mean == fortran.mean == dataset().mean


def test_it_can_be_pickled_before_and_after_its_hash_is_known():
    data = dataset()
    fresh = pickle.loads(pickle.dumps(data))
    assert fresh.fingerprint == data.fingerprint
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("shape", "canonical"),
    [
        ((4,), (4,)),
        ((4, 6), (1, 4, 6)),
        ((8, 6, 3), (3, 8, 6)),
        ((3, 8, 6), (3, 8, 6)),
        ((4, 4, 3), (3, 4, 4)),  # which can be read both ways
    ],
)
def test_its_layout_says_where_channels_are(shape, canonical):
    assert dataset(**arrays(shape)).layout.canonical_shape == canonical


def test_channels_first_have_the_statistics_of_channels_last():
    last = arrays((8, 6, 3))
    first = {name: np.moveaxis(part, -1, 1) for name, part in last.items() if name[0] == "X"}
    assert dataset(**(last | first)).mean == dataset(**last).mean
    assert dataset(**(last | first)).std == dataset(**last).std


BAD = {
    "a list": ({"X_train": [[0.0]]}, "X_train must be an array.*got list"),
    "one axis": ({"X_test": np.zeros(4)}, r"X_test must be an array.*got shape \(4,\)"),
    "no rows": ({"X_test": np.zeros((0, 4, 4, 3))}, "X_test must be an array.*rows in it"),
    "many channels": (
        {"X_train": np.zeros((6, 5, 8, 8), np.uint8)},
        r"X_train must have its channels last or first, at most 4.*\(6, 5, 8, 8\)",
    ),
    "complex": ({"X_train": np.zeros((6, 4, 4), complex)}, "X_train must hold real numbers"),
    "NaN": ({"X_train": np.full((6, 4, 4), np.nan)}, "X_train must be finite; got NaN"),
    "infinity": ({"X_test": np.full((4, 4, 4), np.inf)}, "X_test must be finite"),
    "list of labels": ({"y_train": [0, 1] * 3}, "y_train must be one axis.*got list"),
    "real labels": ({"y_train": np.zeros(6)}, "y_train must be one axis of whole numbers.*float64"),
    "two axes": ({"y_test": np.zeros((4, 1), int)}, r"y_test must be one axis.*\(4, 1\)"),
    "fewer labels": ({"y_test": np.zeros(3, int)}, "y_test must have a label per row, 4; got 3"),
    "a label more": ({"y_test": np.array([0, 1, 2, 0])}, "y_test must hold places.*got 0 to 2"),
    "negative": ({"y_train": -np.ones(6, int)}, "y_train must hold places among the 2 class_names"),
    "one class": ({"class_names": ("cat",)}, "class_names must name at least 2 classes; got 1"),
    "other shape": ({"X_test": np.zeros((4, 5, 5, 3), np.uint8)}, "must have rows of one shape"),
    "other dtype": ({"X_test": np.zeros((4, 4, 4, 3))}, "must have rows of one shape and dtype"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_do_not_fit_are_refused(case):
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        dataset(**changes)
