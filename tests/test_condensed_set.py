import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

from m3d_sklearn import CondensedSet, Herding, M3DCondenser, Random
from m3d_sklearn.layout import Layout, Units

COLOURS = np.array([0, 60, 120, 240], np.uint8)


def images(n=20, shape=(8, 8), seed=0):
    X = np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)
    X.flat[:2] = 0, 255
    return X, np.arange(n) % 2


def chessboard():
    """A mosaic of 4 by 4 pixels for each of two classes: four cells of one grey each."""
    cells = np.stack([COLOURS.reshape(2, 2), COLOURS[::-1].reshape(2, 2)])
    X = cells.repeat(2, 1).repeat(2, 2)
    span = [np.asarray(v, np.float64) for v in (0, 255, 0, 255)]
    mean, std = np.full((1, 1, 1), 0.25), np.full((1, 1, 1), 0.5)
    classes = np.array(["left", "right"])
    return CondensedSet(
        X, classes, classes, Layout((4, 4), "uint8"), Units(*span, mean, std), factor=2
    )


# What a set is


def test_unpacks_as_a_pair():
    condensed = Random(ipc=3, random_state=0).fit(*images()).condensed_
    X, y = condensed
    assert X is condensed.X
    assert y is condensed.y
    assert len(condensed) == len(X) == 6


def test_stands_class_by_class_in_the_order_of_the_classes():
    X, _ = images(30)
    y = np.array(["c", "a", "b"] * 10)
    condensed = Random(ipc={"a": 1, "c": 3, "b": 2}, random_state=0).fit(X, y).condensed_
    assert condensed.y.tolist() == ["a", "b", "b", "c", "c", "c"]
    assert condensed.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert condensed.classes.tolist() == ["a", "b", "c"]
    assert condensed.ipc == {"a": 1, "b": 2, "c": 3}


def test_cannot_be_changed_by_accident():
    condensed = chessboard()
    with pytest.raises(FrozenInstanceError):
        condensed.factor = 1


def test_says_what_it_is():
    X, y = images(20, (8, 8, 3))
    plain = Herding(ipc=3).fit(X, y).condensed_
    assert repr(plain) == (
        "<CondensedSet by Herding: 2 classes, 6 stored rows of shape (8, 8, 3), uint8>"
    )
    mosaics = M3DCondenser(ipc=1, factor=2, max_iter=0).fit(X, y).condensed_
    assert repr(mosaics) == (
        "<CondensedSet by M3DCondenser: 2 classes, 2 stored rows of shape (8, 8, 3) "
        "(mosaics of 2\N{MULTIPLICATION SIGN}2), uint8>"
    )
    assert "by hand" in repr(chessboard())


def test_counts_the_bytes_of_its_rows():
    assert Random(ipc=3).fit(*images(20, (8, 8, 3))).condensed_.nbytes == 6 * 8 * 8 * 3
    X, y = load_iris(return_X_y=True)
    assert Random(ipc=2).fit(X, y).condensed_.nbytes == 6 * 4 * 8
    assert Random(ipc=2).fit(X.astype(np.float32), y).condensed_.nbytes == 6 * 4 * 4


def test_knows_the_range_of_the_data_it_was_made_from():
    X, y = load_iris(return_X_y=True)
    low, high = Random(ipc=1).fit(X, y).condensed_.value_range
    np.testing.assert_array_equal(low, X.min(0))
    np.testing.assert_array_equal(high, X.max(0))
    X, y = images()
    low, high = Random(ipc=1).fit(X, y).condensed_.value_range
    assert (low, high) == (0, 255)


def test_remembers_how_it_was_made():
    X, y = images()
    one = Herding(ipc=2, random_state=3).fit(X, y).condensed_
    assert (one.method, one.random_state, one.params["ipc"]) == ("Herding", 3, {0: 2, 1: 2})
    assert one.versions["torch"] == torch.__version__
    same, other = Random().fit(X, y).condensed_, Random().fit(255 - X, y).condensed_
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert Random().fit(X, y[::-1]).condensed_.fingerprint != one.fingerprint


# Decoding


def test_without_mosaics_the_rows_to_train_on_are_those_stored():
    condensed = Random(ipc=2).fit(*images()).condensed_
    X, y = condensed.decode()
    np.testing.assert_array_equal(X, condensed.X)
    np.testing.assert_array_equal(y, condensed.y)


def test_the_cells_of_a_mosaic_become_rows_in_reading_order():
    X, y = chessboard().decode()
    assert X.dtype == np.uint8
    np.testing.assert_array_equal(X[:, 0, 0], [*COLOURS, *COLOURS[::-1]])
    np.testing.assert_array_equal(X, np.broadcast_to(X[:, :1, :1], (8, 4, 4)))
    assert y.tolist() == ["left"] * 4 + ["right"] * 4


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (3, 8, 8)])
def test_decoded_rows_are_in_the_callers_layout(shape):
    X, y = images(40, shape)
    condensed = M3DCondenser(ipc=2, factor=2, max_iter=0).fit(X, y).condensed_
    X_c, y_c = condensed.decode()
    assert X_c.shape == (16, *shape)
    assert X_c.dtype == np.uint8
    assert y_c.tolist() == [0] * 8 + [1] * 8


def test_decoded_labels_keep_their_container():
    X, y = images(40)
    y = pd.Series(y, name="side").map({0: "left", 1: "right"}).astype("category")
    condensed = M3DCondenser(ipc=1, factor=2, max_iter=0).fit(X, y).condensed_
    _, y_c = condensed.decode()
    expected = pd.Series(["left"] * 4 + ["right"] * 4, dtype=y.dtype, name="side")
    pd.testing.assert_series_equal(y_c, expected)


def test_decoding_ragged_mosaics_repeats_each_label_for_its_own_cells():
    X, y = images(40)
    condensed = M3DCondenser(ipc={0: 1, 1: 3}, factor=2, max_iter=0).fit(X, y).condensed_
    assert condensed.decode()[1].tolist() == [0] * 4 + [1] * 12


# Soft labels


def test_soft_labels_are_beside_the_hard_ones():
    numbers = np.random.default_rng(0).dirichlet([1, 1], 8)
    soft = replace(chessboard(), soft_labels=numbers)
    assert repr(soft).endswith("uint8, soft labels>")
    assert soft.soft_labels.dtype == np.float32
    np.testing.assert_allclose(soft.soft_labels, numbers, rtol=1e-6)
    _, y = soft
    assert y.tolist() == ["left", "right"]
    assert replace(soft, soft_labels=None).soft_labels is None
    copied = pickle.loads(pickle.dumps(soft))
    np.testing.assert_array_equal(copied.soft_labels, soft.soft_labels)


@pytest.mark.parametrize(
    ("soft", "match"),
    [
        (np.full((2, 2), 0.5), r"shape \(8, 2\).*float64 of shape \(2, 2\)"),
        (np.full((8, 3), 1 / 3), r"shape \(8, 2\)"),
        (np.full(8, 1.0), r"shape \(8, 2\)"),
        (np.ones((8, 2), int), "int64"),
        (np.full((8, 2), 0.6), r"row 0 has the least value 0.6 and the sum 1.2"),
        (np.array([[0.5, 0.5]] * 7 + [[-0.5, 1.5]]), r"row 7 has the least value -0.5"),
        (np.full((8, 2), np.nan), "row 0"),
        (np.full((8, 2), np.inf), "row 0"),
    ],
    ids=["stored rows", "classes", "axes", "integers", "sum", "negative", "NaN", "infinity"],
)
def test_soft_labels_that_do_not_fit_are_refused(soft, match):
    with pytest.raises(ValueError, match=f"soft_labels must be .*{match}"):
        replace(chessboard(), soft_labels=soft)


# Tensors


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (3, 8, 8), (7,)])
def test_tensors_of_the_whole_data_have_mean_0_and_variance_1(shape):
    X = np.random.default_rng(0).normal(3, 5, (20, *shape)) * np.linspace(1, 2, shape[-1])
    condensed = Random(ipc=10).fit(X, np.arange(20) % 2).condensed_  # all rows
    rows, labels = condensed.to_torch()
    axes = (0, 2, 3) if len(shape) > 1 else 0
    torch.testing.assert_close(rows.mean(axes), torch.zeros(rows.shape[1]), atol=1e-5, rtol=0)
    spread = rows.std(axes, correction=0)
    torch.testing.assert_close(spread, torch.ones(rows.shape[1]), atol=1e-5, rtol=0)
    assert rows.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0] * 10 + [1] * 10


def test_tensors_are_decoded_and_follow_the_statistics_of_the_training_data():
    rows, labels = chessboard().to_torch()
    expected = (COLOURS / 255 - 0.25) / 0.5
    np.testing.assert_allclose(rows[:4, 0, 1, 2], expected, rtol=1e-6)
    assert rows.shape == (8, 1, 4, 4)
    assert labels.tolist() == [0] * 4 + [1] * 4


def test_tensors_without_normalisation_are_units():
    rows, _ = chessboard().to_torch(normalise=False)
    np.testing.assert_allclose(rows[:4, 0, 0, 0], COLOURS / 255, rtol=1e-6)


def test_test_rows_get_the_same_treatment_by_the_units():
    X, y = images(20, (8, 8, 3))
    condensed = Random(ipc=10, random_state=0).fit(X, y)
    units = condensed.condensed_.units
    by_hand = (X.transpose(0, 3, 1, 2) - units.shift) / units.width
    by_hand = (by_hand - units.mean) / units.std
    rows, _ = condensed.condensed_.to_torch()
    np.testing.assert_allclose(rows, by_hand[condensed.sample_indices_], rtol=1e-5, atol=1e-6)


# Images as files


def read(path):
    from PIL import Image

    return np.asarray(Image.open(path))


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (8, 9, 4)])
def test_exported_images_hold_the_pixels_of_the_set(tmp_path, shape):
    X, y = images(20, shape)
    condensed = Random(ipc=3, random_state=0).fit(X, y).condensed_
    paths = condensed.export_images(tmp_path / "out")
    places = [str(path.relative_to(tmp_path / "out")) for path in paths]
    assert places == [f"{c}/000{i}.png" for c in (0, 1) for i in (0, 1, 2)]
    for path, image in zip(paths, condensed.X, strict=True):
        np.testing.assert_array_equal(read(path), image)


def test_exported_images_stretch_the_range_of_X_from_black_to_white(tmp_path):
    X = np.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(6, 4, 4).astype(np.float32)
    condensed = Herding(ipc=3).fit(X, np.arange(6) % 2).condensed_
    shown = np.stack([read(path) for path in condensed.export_images(tmp_path)])
    np.testing.assert_array_equal(shown, np.rint((condensed.X.astype(float) + 1) / 2 * 255))
    assert (shown.min(), shown.max()) == (0, 255)


def test_other_images_in_the_folder_are_told_of(tmp_path, recwarn):
    X, y = images()
    more, fewer = (Random(ipc=ipc, random_state=0).fit(X, y).condensed_ for ipc in (3, 2))
    for _ in range(2):
        more.export_images(tmp_path)
    (tmp_path / "0" / "notes.txt").write_text("mine")
    assert len(recwarn) == 0
    with pytest.warns(UserWarning, match="holds 2 other images, which stay: who loads the folder"):
        fewer.export_images(tmp_path)
    assert len(list(tmp_path.glob("*/*.png"))) == 6


def test_mosaics_are_exported_as_they_are_or_cell_by_cell(tmp_path):
    condensed = chessboard()
    whole = condensed.export_images(tmp_path / "whole")
    assert [path.parent.name for path in whole] == ["left", "right"]
    np.testing.assert_array_equal(read(whole[0]), condensed.X[0])
    cells = condensed.export_images(tmp_path / "cells", decoded=True)
    assert [read(path)[0, 0] for path in cells] == [*COLOURS, *COLOURS[::-1]]


@pytest.mark.parametrize("names", [("a/b", "a b"), ("..", "."), ("x", "X/../x"), ("_", "")])
def test_class_names_that_are_no_folder_names_stay_inside_the_folder_and_apart(tmp_path, names):
    names = np.array(sorted(names))
    condensed = replace(chessboard(), y=names, classes=names)
    paths = condensed.export_images(tmp_path / "out")
    assert len({path.resolve() for path in paths}) == 2
    for path, image in zip(paths, condensed.X, strict=True):
        assert (tmp_path / "out").resolve() in path.resolve().parents
        np.testing.assert_array_equal(read(path), image)


def test_a_table_cannot_be_exported_as_images(tmp_path):
    condensed = Random(ipc=1).fit(*load_iris(return_X_y=True)).condensed_
    with pytest.raises(ValueError, match="image_shape"):
        condensed.export_images(tmp_path)


def test_images_of_two_channels_cannot_be_exported(tmp_path):
    condensed = Random(ipc=1).fit(*images(20, (8, 8, 2))).condensed_
    with pytest.raises(ValueError, match="1, 3 or 4 channels; got 2"):
        condensed.export_images(tmp_path)


@pytest.mark.parametrize("classes", [[2, 0, 1], [0, 1, 1], list("ba")])
def test_classes_stand_in_rising_order(classes):
    condensed = Herding(ipc=2).fit(*load_iris(return_X_y=True)).condensed_
    with pytest.raises(ValueError, match="classes must be in rising order, each once; got"):
        replace(condensed, classes=np.array(classes))
    names = np.array(classes, object)
    with pytest.raises(ValueError, match="classes must be in rising order"):
        replace(condensed, classes=names)


@pytest.mark.parametrize("frame", [False, True])
def test_decoded_rows_are_the_callers_own(frame):
    X, y = load_iris(return_X_y=True)
    given = (pd.DataFrame(X, columns=list("abcd")), pd.Series(y)) if frame else (X, y)
    condenser = Herding(ipc=2).fit(*given)
    before = condenser.transform(given[0])
    X_c, y_c = condenser.transform()
    X_c -= X_c.mean(axis=0)
    y_c[:] = 0
    assert np.array_equal(condenser.transform(given[0]), before)
    assert condenser.condensed_.ipc == {0: 2, 1: 2, 2: 2}
