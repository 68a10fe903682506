import io
import json
import pickle
import zipfile
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

from m3d_sklearn import CondensedSet, Herding, KCenter, M3DCondenser, NetworkClassifier, Random
from m3d_sklearn.layout import Target
from m3d_sklearn.storage import plain


def images(n=20, shape=(8, 8), dtype="uint8", seed=0):
    X = np.random.default_rng(seed).integers(0, 256, (n, *shape))
    return (X / 255 if dtype.startswith("float") else X).astype(dtype), np.arange(n) % 2


def mosaics(**settings):
    return M3DCondenser(ipc=1, factor=2, max_iter=0, random_state=0, **settings)


def condensed_iris(y=None, **settings):
    X, numbers = load_iris(return_X_y=True)
    y = numbers if y is None else y[numbers]
    return Herding(ipc=2, **settings).fit(X, y).condensed_


@pytest.fixture(scope="module")
def example():
    """A set with mosaics, for tests of the file itself."""
    return mosaics().fit(*images(40)).condensed_


def assert_same(one, other):
    """Two sets are equal in everything that a set holds."""
    assert type(one.X) is type(other.X)
    np.testing.assert_array_equal(np.asarray(one.X), np.asarray(other.X))
    assert np.asarray(one.X).dtype == np.asarray(other.X).dtype
    if isinstance(one.X, pd.DataFrame):
        pd.testing.assert_frame_equal(one.X, other.X)
    assert type(one.y) is type(other.y)
    if isinstance(one.y, pd.Series):
        pd.testing.assert_series_equal(one.y, other.y)
    np.testing.assert_array_equal(np.asarray(one.y), np.asarray(other.y))
    np.testing.assert_array_equal(one.classes, other.classes)
    assert one.classes.dtype == other.classes.dtype
    assert one.layout == other.layout
    for name in ("shift", "width", "low", "high", "mean", "std"):
        np.testing.assert_array_equal(getattr(one.units, name), getattr(other.units, name))
    np.testing.assert_array_equal(one.soft_labels, other.soft_labels)
    for name in ("target", "factor", "method", "random_state", "fingerprint", "versions"):
        assert getattr(one, name) == getattr(other, name), name
    assert plain(one.params) == plain(other.params)


def round_trip(condensed, tmp_path):
    return CondensedSet.load(condensed.save(tmp_path / "set.npz"))


# Round trips


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (3, 8, 8)])
def test_images_survive(tmp_path, shape, dtype):
    condensed = Random(ipc=2, random_state=0).fit(*images(20, shape, dtype)).condensed_
    assert condensed.X.dtype == dtype
    assert_same(condensed, round_trip(condensed, tmp_path))


def test_flat_images_survive(tmp_path):
    X, y = images(20, (8 * 8 * 3,))
    condensed = Random(ipc=2, image_shape=(8, 8, 3)).fit(X, y).condensed_
    loaded = round_trip(condensed, tmp_path)
    assert_same(condensed, loaded)
    torch.testing.assert_close(loaded.to_torch(), condensed.to_torch(), rtol=0, atol=0)


def test_mosaics_survive_and_decode_to_the_same(tmp_path, example):
    loaded = round_trip(example, tmp_path)
    assert_same(example, loaded)
    assert loaded.factor == 2
    np.testing.assert_array_equal(loaded.decode()[0], example.decode()[0])


def test_soft_labels_survive(tmp_path, example):
    numbers = np.random.default_rng(0).dirichlet([1, 1], 8)
    soft = replace(example, soft_labels=numbers)
    loaded = round_trip(soft, tmp_path)
    assert_same(soft, loaded)
    assert loaded.soft_labels.dtype == np.float32


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_soft_labels_of_any_float_type_are_read(tmp_path, example, dtype):
    path = example.save(tmp_path / "set.npz")
    half = np.full((8, 2), 0.5, dtype)
    loaded = CondensedSet.load(rewritten(path, soft_labels=half))
    np.testing.assert_array_equal(loaded.soft_labels, half)


def test_a_table_survives(tmp_path):
    condensed = condensed_iris()
    loaded = round_trip(condensed, tmp_path)
    assert_same(condensed, loaded)
    np.testing.assert_array_equal(loaded.value_range, condensed.value_range)


def test_a_data_frame_survives(tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    condensed = Herding(ipc=2).fit(X, y).condensed_
    loaded = round_trip(condensed, tmp_path)
    assert_same(condensed, loaded)
    assert list(loaded.X.columns) == list(X.columns)
    assert loaded.y.name == "target"


def test_column_numbers_survive_as_numbers(tmp_path):
    X, y = load_iris(return_X_y=True)
    condensed = Herding(ipc=2).fit(pd.DataFrame(X, columns=[3, 1, 4, 15]), y).condensed_
    assert list(round_trip(condensed, tmp_path).X.columns) == [3, 1, 4, 15]


@pytest.mark.parametrize("name", [("kind", "a"), ("a", 1), 3, 2.5, None])
def test_the_name_of_a_series_survives(tmp_path, name):
    X, numbers = load_iris(return_X_y=True)
    condensed = Herding(ipc=2).fit(X, pd.Series(numbers, name=name)).condensed_
    assert_same(CondensedSet.load(condensed.save(tmp_path / "set")), condensed)


DAYS = pd.date_range("2020-01-01", periods=4)


@pytest.mark.parametrize(
    ("columns", "y", "words"),
    [
        (DAYS, None, "only columns with names that are numbers, strings .*; got .*2020"),
        (["a", "b", ("c", DAYS[0]), "d"], None, "only columns with names"),
        (None, {"name": DAYS[0]}, "only names of y .*; got Timestamp"),
        (None, {"name": ("a", DAYS[0])}, "only names of y"),
        (None, {"dtype": pd.CategoricalDtype(DAYS)}, "only categories of y .*2020"),
        (None, {"dtype": pd.CategoricalDtype(pd.interval_range(0, 4))}, "only categories of y"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(tmp_path, columns, y, words):
    condensed = condensed_iris()
    if columns is not None:
        frame = pd.DataFrame(condensed.X)
        frame.columns = pd.Index(columns, tupleize_cols=False)
        layout = replace(condensed.layout, columns=tuple(frame.columns))
        condensed = replace(condensed, X=frame, layout=layout)
    if y is not None:
        known = {"name": None, "pandas_dtype": np.dtype(int)}
        given = {"dtype": "pandas_dtype"}
        target = Target(**(known | {given.get(key, key): value for key, value in y.items()}))
        condensed = replace(condensed, target=target)
    with pytest.raises(ValueError, match=words):
        condensed.save(tmp_path / "set")
    assert not (tmp_path / "set.npz").exists()


def test_columns_of_two_levels_survive(tmp_path):
    X, y = load_iris(return_X_y=True)
    columns = pd.MultiIndex.from_product([["sepal", "petal"], ["length", "width"]])
    condensed = Herding(ipc=2).fit(pd.DataFrame(X, columns=columns), y).condensed_
    loaded = round_trip(condensed, tmp_path)
    assert list(loaded.X.columns) == list(condensed.X.columns) == list(columns)


LABELS = {
    "integers": np.array([7, -2, 30]),
    "small integers": np.array([7, 2, 30], np.uint8),
    "floats": np.array([0.0, 2.0, 1.0]),
    "strings": np.array(["setosa", "Äpfel", "virginica"]),
    "objects": np.array(["setosa", "versicolor", "a much longer name"], dtype=object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_survive(tmp_path, kind):
    condensed = condensed_iris(LABELS[kind])
    assert condensed.y.dtype == LABELS[kind].dtype
    assert_same(condensed, round_trip(condensed, tmp_path))


def test_boolean_labels_survive(tmp_path):
    X, y = images()
    condensed = Random(ipc=1).fit(X, y.astype(bool)).condensed_
    assert_same(condensed, round_trip(condensed, tmp_path))


@pytest.mark.parametrize(
    "dtype",
    [
        "category",
        pd.CategoricalDtype(["c", "a", "b", "unused"], ordered=True),
        object,
        "str",
        "string",
    ],
    ids=str,
)
def test_a_series_of_strings_survives(tmp_path, dtype):
    X, y = load_iris(return_X_y=True)
    y = pd.Series(np.array(["a", "b", "c"])[y], dtype=dtype, name="species")
    condensed = Herding(ipc=2).fit(X, y).condensed_
    assert condensed.y.dtype == y.dtype
    assert_same(condensed, round_trip(condensed, tmp_path))


@pytest.mark.parametrize("dtype", ["category", "Int64", "int8", "float32"])
def test_a_series_of_numbers_survives(tmp_path, dtype):
    X, y = load_iris(return_X_y=True)
    y = pd.Series(y + 1, dtype=dtype, name=3)
    condensed = Herding(ipc=2).fit(X, y).condensed_
    assert condensed.y.dtype == y.dtype
    assert_same(condensed, round_trip(condensed, tmp_path))


def test_a_loaded_set_is_a_start(tmp_path):
    X, y = images()
    condensed = Random(ipc=2, random_state=0).fit(X, y).condensed_
    again = M3DCondenser(ipc=2, init=round_trip(condensed, tmp_path), max_iter=0).fit(X, y)
    np.testing.assert_array_equal(again.condensed_.X, condensed.X)


def test_a_set_made_with_callables_and_networks_can_be_saved(tmp_path):
    from m3d_sklearn.core.networks import MLP

    X, y = images()
    condensed = M3DCondenser(
        ipc=lambda y: {0: 1, 1: 2},
        network=MLP,
        kernel=lambda x, y: x @ y.transpose(1, 2),
        init=Random(ipc={0: 1, 1: 2}).fit(X, y),
        max_iter=1,
        random_state=np.random.RandomState(0),
    )
    loaded = round_trip(condensed.fit(X, y).condensed_, tmp_path)
    assert loaded.params["network"] == "MLP"
    assert loaded.params["init"] == "Random"
    assert loaded.params["ipc"] == {"0": 1, "1": 2}


# The file


def test_the_suffix_is_added_where_it_is_missing(tmp_path, example):
    assert example.save(tmp_path / "one") == tmp_path / "one.npz"
    assert example.save(str(tmp_path / "v1.2")) == tmp_path / "v1.2.npz"
    assert example.save(tmp_path / "two.npz") == tmp_path / "two.npz"
    assert {p.name for p in tmp_path.iterdir()} == {"one.npz", "v1.2.npz", "two.npz"}
    assert_same(CondensedSet.load(str(tmp_path / "v1.2.npz")), example)


def test_a_name_without_the_suffix_is_found_under_both(tmp_path, example):
    example.save(tmp_path / "one")
    assert_same(CondensedSet.load(tmp_path / "one"), example)
    (tmp_path / "one.npz").rename(tmp_path / "two")
    assert_same(CondensedSet.load(tmp_path / "two"), example)
    np.savez(tmp_path / "two.npz", X=np.zeros(3))
    assert_same(CondensedSet.load(tmp_path / "two"), example)  # what is there goes first
    with pytest.raises(FileNotFoundError, match=r"three'$"):
        CondensedSet.load(tmp_path / "three")


def test_a_folder_that_is_missing_is_named_and_not_made(tmp_path, example):
    for folder in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError) as caught:
            example.save(folder / "foo.npz")
        said = (
            f"path must be in a folder that exists; got {folder / 'foo.npz'}, and {folder} is none."
        )
        assert str(caught.value) == said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_file_describes_itself_without_this_library(tmp_path, example):
    path = example.save(tmp_path / "set.npz")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    np.testing.assert_array_equal(arrays["X"], example.X)
    np.testing.assert_array_equal(arrays["classes"][arrays["labels"]], example.y)
    assert not any(array.dtype.hasobject for array in arrays.values())
    assert arrays["units_low"] == 0
    assert arrays["units_high"] == 255
    about = json.loads(str(arrays["about"]))
    assert about["normalised"] is False
    assert about["factor"] == 2
    assert about["method"] == "M3DCondenser"
    assert about["params"]["learning_rate"] == example.params["learning_rate"]
    assert about["params"]["network"] == "convnet"
    assert about["random_state"] == 0
    assert about["fingerprint"] == example.fingerprint
    assert about["layout"]["sample_shape"] == [8, 8]
    assert set(about["versions"]) == {"m3d_sklearn", "torch", "scikit-learn", "numpy"}


# Files that are no condensed set


def refused(path, match="is not a condensed set"):
    with pytest.raises(ValueError, match=match) as caught:
        CondensedSet.load(path)
    assert str(path) in str(caught.value)


def rewritten(path, **changes):
    """The file with other arrays in it; None leaves one out."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def described(path, **changes):
    """The file with another description; None leaves an entry out."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"])) | changes
    text = json.dumps({k: v for k, v in about.items() if v is not None})
    return rewritten(path, about=np.array(text))


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        CondensedSet.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00"]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    refused(path)


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "set.npy", np.zeros(3))
    refused(tmp_path / "set.npy")


def test_somebody_elses_npz_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", X=np.zeros((2, 3)), y=np.arange(2))
    refused(
        tmp_path / "other.npz", r"is not a condensed set: CondensedSet\.save did not write it\.$"
    )


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, example, capsys):
    path = example.save(tmp_path / "set.npz")
    refused(rewritten(path, X=np.array([Malicious()], dtype=object)))
    assert capsys.readouterr().out == ""


def test_a_file_cut_short_is_refused(tmp_path, example):
    content = example.save(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "torn.npz"
    for length in range(0, len(content), 101):
        path.write_bytes(content[:length])
        refused(path)


def test_a_damaged_file_is_refused_or_reads_the_same(tmp_path, example):
    content = example.save(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    errors = []
    for place in range(0, len(content), 13):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            loaded = CondensedSet.load(path)
        except ValueError as error:
            errors.append(str(error))
        else:  # a byte that nobody reads, such as a date
            assert_same(loaded, example)
    assert len(errors) > len(content) / 26
    assert all(str(path) in error for error in errors)


def test_a_newer_format_asks_for_an_update(tmp_path, example):
    path = described(example.save(tmp_path / "set.npz"), format=2)
    refused(path, "format 2 and this version reads 1; update m3d-sklearn")


def test_normalised_values_are_refused(tmp_path, example):
    path = described(example.save(tmp_path / "set.npz"), normalised=True)
    refused(path, "normalised values")
    refused(described(path, normalised=None), "normalised values")


@pytest.mark.parametrize("name", ["X", "labels", "classes", "units_mean"])
def test_an_array_left_out_is_noticed(tmp_path, example, name):
    refused(rewritten(example.save(tmp_path / "set.npz"), **{name: None}), "damaged.*" + name)


@pytest.mark.parametrize("name", ["layout", "target", "factor", "params", "object_labels"])
def test_an_entry_left_out_is_noticed(tmp_path, example, name):
    refused(described(example.save(tmp_path / "set.npz"), **{name: None}), "damaged.*" + name)


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.zeros((2, 8, 9), np.uint8)},
        {"X": np.zeros((3, 8, 8), np.uint8)},
        {"X": np.zeros((2, 8, 8), np.float32)},
        {"labels": np.array([0, 2])},
        {"labels": np.array([0, -1])},
        {"labels": np.array([0.0, 1.0])},
        {"soft_labels": np.full((2, 2), 0.5)},
        {"soft_labels": np.full((8, 2), np.nan)},
        {"soft_labels": np.full((8, 2), "x")},
    ],
    ids=[
        *("width", "rows", "dtype", "label too great", "label too small", "labels of floats"),
        *("soft labels of stored rows", "soft labels of NaN", "soft labels of words"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, example, changes):
    refused(rewritten(example.save(tmp_path / "set.npz"), **changes), "damaged")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"factor": 0}, "factor"),
        ({"factor": 9}, "factor"),
        ({"factor": 1.5}, "factor"),
        ({"factor": True}, "factor"),
        ({"params": 3}, "damaged"),
        ({"layout": []}, "damaged"),
        ({"layout": {"sample_shape": [8, 8], "dtype": "O"}}, "damaged"),
        ({"layout": {"sample_shape": [8, 8], "dtype": "uint8", "channel_axis": 1}}, "channel_axis"),
        ({"layout": {"sample_shape": [-8, -8], "dtype": "uint8"}}, "sides"),
        ({"layout": {"sample_shape": [8, 8], "dtype": "uint8", "image_shape": [4, 4]}}, "are no"),
        ({"layout": {"sample_shape": [2, 2, 2, 8], "dtype": "uint8"}}, "damaged"),
        ({"target": {"dtype": "no such dtype"}}, "damaged"),
        ({"target": {"dtype": "datetime64[ns, Nowhere]", "name": None}}, "damaged"),
    ],
)
def test_descriptions_that_no_set_has_are_refused(tmp_path, example, changes, match):
    refused(described(example.save(tmp_path / "set.npz"), **changes), match)


@pytest.mark.parametrize(
    "array", [np.zeros(2), np.zeros((), np.float32), np.array("x")], ids=["shape", "dtype", "word"]
)
def test_units_that_do_not_fit_the_layout_are_refused(tmp_path, example, array):
    refused(rewritten(example.save(tmp_path / "set.npz"), units_low=array), "units_low")


def test_a_hostile_header_takes_no_memory(tmp_path, example):
    path = example.save(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    made = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (10**15, 8, 8)}
    np.lib.format.write_array_header_1_0(made, about)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {"X.npy": made.getvalue()}).items():
            archive.writestr(name, content)
    refused(path, "header says 64000000000000")


# joblib


@pytest.mark.parametrize(
    "estimator",
    [
        mosaics(),
        M3DCondenser(ipc=1, max_iter=1, random_state=0),
        Random(ipc=2, random_state=0),
        Herding(ipc=2),
        KCenter(ipc=2),
        NetworkClassifier("mlp", max_iter=1, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fitted_estimators_survive_joblib_and_carry_no_training_data(tmp_path, estimator):
    X, y = images(400, (12, 12))
    estimator.fit(X, y)
    path = tmp_path / "fitted.joblib"
    joblib.dump(estimator, path)
    loaded = joblib.load(path)
    if isinstance(estimator, NetworkClassifier):
        np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
        np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
        pickled = len(pickle.dumps(estimator.weights_))
    else:
        np.testing.assert_array_equal(loaded.transform(X), estimator.transform(X))
        assert_same(loaded.condensed_, estimator.condensed_)
        pickled = estimator.condensed_.nbytes
    assert path.stat().st_size < pickled + X.nbytes / 4


# Plain values


def test_plain_values_are_what_json_can_hold():
    def rule():
        return None

    values = {
        1: np.float32(0.5),
        "array": np.arange(3),
        "tuple": ("color", ("crop", None)),
        "function": rule,
        "class": Herding,
        "flag": np.bool_(True),
        "device": torch.device("cpu"),
    }
    told = plain(values)
    assert json.loads(json.dumps(told)) == told
    assert told["1"] == 0.5
    assert told["array"] == [0, 1, 2]
    assert told["tuple"] == ["color", ["crop", None]]
    assert told["function"].endswith("rule")
    assert told["class"] == "Herding"
    assert told["flag"] is True


def test_what_is_no_archive_is_called_so_and_nobody_is_told_to_unpickle_it(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("not an archive")
    with pytest.raises(ValueError, match=r"is not a condensed set: it is no \.npz file\.$"):
        CondensedSet.load(path)
