import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from grids import QUICK, grid_of, images, quick, table
from sklearn.datasets import load_iris

from m3d_sklearn import M3DCondenser, Random
from m3d_sklearn.benchmark import compare
from m3d_sklearn.benchmark.arrays import as_dataset
from m3d_sklearn.layout import fingerprint
from m3d_sklearn.row_source import as_source


def dataset_of(X_train, y_train, X_test, y_test):
    return as_dataset("own", X_train, y_train, X_test, y_test)


def with_rows(change, data=None):
    """The data set of rows held otherwise."""
    X, y, X_test, y_test = data or table()
    return dataset_of(change(X), y, change(X_test), y_test)


def with_labels(change):
    """The data set of labels held otherwise."""
    X, y, X_test, y_test = table()
    return dataset_of(X, change(y), X_test, change(y_test))


# ------------------------------------------------------------------------------------ rows

TABLES = {
    "array": lambda X: X,
    "list": np.ndarray.tolist,
    "rows": list,
    "tensor": torch.tensor,
    "tensor with a gradient": lambda X: torch.tensor(X, requires_grad=True),
    "frame": pd.DataFrame,
    "frame of objects": lambda X: pd.DataFrame(X).astype(object),
    "frame with names": lambda X: pd.DataFrame(X, columns=list("abcd")),
}


@pytest.mark.parametrize("held", TABLES)
def test_a_table_may_be_held_in_any_way(held):
    data = with_rows(TABLES[held])
    np.testing.assert_array_equal(data.X_train, table().X_train, strict=True)
    np.testing.assert_array_equal(data.X_test, table().X_test, strict=True)
    assert data.fingerprint == table().fingerprint


def test_columns_of_several_kinds_are_numbers():
    X = pd.DataFrame({"a": np.arange(60), "b": np.arange(60) % 2 == 0, "c": np.ones(60)})
    _, y, _, y_test = table()
    assert dataset_of(X, y, X, y_test).X_train.dtype == np.float64


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32"])
@pytest.mark.parametrize("data", [table(), images(), images(channels=3)], ids=["d", "hw", "hwc"])
def test_a_type_that_fit_takes_is_kept_and_scored(data, dtype):
    X, y, X_test, y_test = data
    X, X_test = (
        np.abs(rows > 0 if dtype == "bool" else rows).astype(dtype) for rows in (X, X_test)
    )
    frame = quick("random", {"a": (X, y, X_test, y_test)}, models=["auto", "knn"])
    assert frame["error"].isna().all(), frame["error"].tolist()
    assert dataset_of(X, y, X_test, y_test).X_train.dtype == dtype


def test_bfloat16_is_read_as_float32():
    data = with_rows(lambda X: torch.tensor(X).bfloat16())
    assert data.X_train.dtype == np.float32


def test_a_map_is_not_read_whole(tmp_path):
    def mapped(X):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, X)
        return np.load(path, mmap_mode="r")

    for data in (table(), images(channels=3)):
        found = with_rows(mapped, data)
        assert as_source(found.X_train) is not None
        assert found.fingerprint == data.fingerprint


# ------------------------------------------------------------------------------------ images


def first(X):
    return np.moveaxis(X, -1, 1)


@pytest.mark.parametrize("held", [np.array, torch.tensor, np.ndarray.tolist, np.ascontiguousarray])
def test_channels_may_come_first(held):
    data = with_rows(lambda X: held(first(X)), images(channels=3))
    assert data.X_train.shape == (60, 3, 6, 6)
    assert data.layout.canonical_shape == (3, 6, 6)


@pytest.mark.parametrize("methods", ["random", "kmeans", M3DCondenser(max_iter=2, channel_axis=1)])
def test_channels_first_come_to_the_scores_of_channels_last(methods, tmp_path):
    X, y, X_test, y_test = images(channels=3)
    given = {"first": (first(X), y, first(X_test), y_test)}
    if not isinstance(methods, M3DCondenser):
        given["last"] = (X, y, X_test, y_test)
    frame = quick(methods, given, references=("whole",), models=["auto", "knn"])
    assert frame["error"].isna().all(), frame["error"].tolist()
    scores = [group["accuracy"].tolist() for _, group in frame.groupby("dataset")]
    assert scores[0] == scores[-1]


def test_the_record_of_channels_first_has_them_last(tmp_path):
    from m3d_sklearn.benchmark import ResultsFolder

    X, y, X_test, y_test = images(channels=3)
    quick("random", {"a": (first(X), y, first(X_test), y_test)}, out=tmp_path, models="knn")
    (record,) = ResultsFolder(tmp_path).records()
    assert record["data"]["shape"] == [6, 6, 3]


def test_images_that_can_be_read_both_ways_have_their_channels_last():
    """A method's own channel_axis says more; the others' cells fail, as their fit does."""
    X = np.random.default_rng(0).random((60, 4, 4, 3))
    given = {"a": (X, table().y_train, X, table().y_test)}
    assert quick(Random(channel_axis=-1), given, models="knn")["error"].isna().all()
    with pytest.warns(UserWarning, match="1 of 1 cells failed"):
        frame = quick("random", given, models="knn")
    assert "cannot tell whether images of shape (4, 4, 3)" in frame["error"][0]


# ------------------------------------------------------------------------------------ labels

NAMES = np.array(["bee", "cow", "dog"])
LABELS = {
    "places": (lambda y: y, ("0", "1", "2")),
    "around 0": (lambda y: y - 1, ("-1", "0", "1")),
    "with gaps": (lambda y: 10 * y, ("0", "10", "20")),
    "floats": (lambda y: 1.0 * y, ("0.0", "1.0", "2.0")),
    "strings": (lambda y: NAMES[y], ("bee", "cow", "dog")),
    "objects": (lambda y: NAMES[y].astype(object), ("bee", "cow", "dog")),
    "a list": (lambda y: NAMES[y].tolist(), ("bee", "cow", "dog")),
    "a list of numbers": (lambda y: (y + 5).tolist(), ("5", "6", "7")),
    "a column": (lambda y: y[:, None] + 1, ("1", "2", "3")),
    "a tensor": (lambda y: torch.tensor(y) * 3, ("0", "3", "6")),
    "a series": (lambda y: pd.Series(NAMES[y], index=y[::-1]), ("bee", "cow", "dog")),
    "a series of numbers": (lambda y: pd.Series(y + 1), ("1", "2", "3")),
    "categories": (lambda y: pd.Series(NAMES[y], dtype="category"), ("bee", "cow", "dog")),
    "pandas's strings": (lambda y: pd.Series(NAMES[y], dtype="string"), ("bee", "cow", "dog")),
    "pandas's numbers": (lambda y: pd.Series(y + 1, dtype="Int64"), ("1.0", "2.0", "3.0")),
    "a frame": (lambda y: pd.DataFrame({"target": NAMES[y]}), ("bee", "cow", "dog")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_may_be_of_any_kind(kind):
    change, names = LABELS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of columns
        data = with_labels(change)
        fitted = Random(1).fit(table().X_train, change(table().y_train))
    assert data.class_names == names == tuple(map(str, fitted.classes_))
    np.testing.assert_array_equal(data.y_train, table().y_train)
    np.testing.assert_array_equal(data.y_test, table().y_test)


def test_truth_is_two_classes():
    X, y, X_test, y_test = table()
    data = dataset_of(X, y > 0, X_test, (y_test > 0).tolist())
    assert data.class_names == ("False", "True")
    assert data.y_test.tolist() == (y_test > 0).astype(int).tolist()


def test_names_are_in_sorted_order():
    data = with_labels(lambda y: np.array(["z", "a", "m"])[y])
    assert data.class_names == ("a", "m", "z")
    assert data.y_train[[0, 20, 40]].tolist() == [2, 0, 1]


def test_labels_are_those_of_their_rows_after_a_split():
    from sklearn.model_selection import train_test_split

    X, y = load_iris(return_X_y=True, as_frame=True)
    names = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    X_train, X_test, y_train, y_test = train_test_split(X, names, stratify=names, random_state=0)
    given = {"iris": (X_train, y_train, X_test, y_test)}
    frame = quick("kmeans", given, 5, models=["auto", "knn"], max_steps=100)
    assert frame["accuracy"].min() > 0.8


def test_test_rows_may_lack_a_class():
    X, y, X_test, y_test = table()
    data = dataset_of(X, NAMES[y], X_test[:20], NAMES[y_test[:20]])
    assert data.y_test.tolist() == [0] * 20


# ----------------------------------------------------------------------------- what was kept


@pytest.mark.parametrize("rows", ["float64", "float16", "uint8", "int64", ">f4", ">i2"])
@pytest.mark.parametrize("labels", ["int64", "int8", "uint64", ">i4"])
@pytest.mark.parametrize("data", [table(), images(), images(channels=3)], ids=["d", "hw", "hwc"])
def test_what_is_a_data_set_already_stays_as_it_came(data, rows, labels):
    """Results that are kept are known by the bytes of their data."""
    kinds = (rows, labels, rows, labels)
    given = [np.abs(part).astype(kind) for part, kind in zip(data, kinds, strict=True)]
    assert dataset_of(*given).fingerprint == fingerprint(*given)
    assert dataset_of(*map(np.asfortranarray, given)).fingerprint == fingerprint(*given)


# ------------------------------------------------------------------------------- wrong arrays

X, y, X_TEST, Y_TEST = table()
WRONG = {
    "fewer labels": ((X, y[:5], X_TEST, Y_TEST), "y_train.*inconsistent.*5"),
    "fewer test labels": ((X, y, X_TEST, Y_TEST[:5]), "y_test.*same number of rows.*5"),
    "fewer columns": ((X, y, X_TEST[:, :3], Y_TEST), "X_test.*3 features.*4 features"),
    "other columns": (
        (pd.DataFrame(X, columns=list("abcd")), y, pd.DataFrame(X_TEST, columns=list("abce")), y),
        "X_test.*feature names",
    ),
    "NaN": ((np.where(X > 2, np.nan, X), y, X_TEST, Y_TEST), "X_train.*NaN"),
    "test NaN": ((X, y, np.where(X_TEST > 2, np.nan, X_TEST), Y_TEST), "X_test.*NaN"),
    "text": ((X.astype(str).tolist()[:59] + [["a"] * 4], y, X_TEST, Y_TEST), "X_train.*a"),
    "ragged": (([*X[:59].tolist(), [1.0]], y, X_TEST, Y_TEST), "X_train.*shape"),
    "sparse": ((torch.tensor(X).to_sparse(), y, X_TEST, Y_TEST), "X_train.*dense.*sparse"),
    "complex": ((X * 1j, y, X_TEST, Y_TEST), "X_train.*[Cc]omplex"),
    "one axis": ((X[:, 0], y, X_TEST[:, 0], Y_TEST), "X_train.*2D"),
    "five axes": ((np.zeros((60, 2, 2, 2, 2)), y, X_TEST, Y_TEST), "X_train.*axes"),
    "many channels": ((np.zeros((60, 8, 8, 8)), y, np.zeros((60, 8, 8, 8)), y), "X_train.*4"),
    "images beside a table": ((X, y, X_TEST[:, :, None], Y_TEST), "X_t.*shape"),
    "another type": ((X, y, X_TEST.astype(np.float32), Y_TEST), "X_test.*float64.*float32"),
    "no labels": ((X, None, X_TEST, Y_TEST), "y_train.*None"),
    "no test labels": ((X, y, X_TEST, None), "y_test.*None"),
    "missing labels": ((X, [None, *y[1:]], X_TEST, Y_TEST), "y_train.*None in row 0"),
    "mixed labels": ((X, ["a", *y[1:]], X_TEST, Y_TEST), "y_train.*'a' in row 0"),
    "measurements": ((X, X[:, 0], X_TEST, Y_TEST), "y_train.*continuous"),
    "one class": ((X, 0 * y, X_TEST, Y_TEST), "y_train.*at least 2 classes"),
    "two labels a row": ((X, np.c_[y, y], X_TEST, Y_TEST), r"y_train.*\(60, 2\)"),
    "an unknown label": (
        (X, NAMES[y], X_TEST, [*NAMES[Y_TEST[:59]], "emu"]),
        "y_test must hold labels of y_train, 'bee', 'cow', 'dog'; got 'emu'",
    ),
    "unknown numbers": ((X, y, X_TEST, Y_TEST + 2), "y_test must hold labels of y_train.*3, 4"),
    "a missing test label": ((X, NAMES[y], X_TEST, [None, *NAMES[y[1:]]]), "y_test.*None"),
    "names for numbers": ((X, y, X_TEST, Y_TEST.astype(str)), "y_test.*0, 1, 2; got '0', '1', '2'"),
    "two test labels a row": ((X, y, X_TEST, np.c_[y, y]), r"y_test.*\(60, 2\)"),
    "rows of labels": ((X, y, X_TEST, [[label] for label in y] + [[0, 1]]), "y_test"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arrays_are_named_before_any_work(kind, tmp_path):
    given, said = WRONG[kind]
    with pytest.raises((ValueError, TypeError), match=f"(?s)datasets: 'a': .*{said}"):
        compare("random", {"a": given}, out=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


def test_arrays_are_left_as_they_were():
    given = [X.copy(), NAMES[y], X_TEST.copy(), NAMES[Y_TEST]]
    before = [part.copy() for part in given]
    grid_of("random", {"a": tuple(given)})
    for part, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(part, old)
