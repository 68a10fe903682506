"""Data that are not read whole: the same bits as from memory, in memory that does not grow."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from common import CONDENSERS, ESTIMATORS, answers, colour, digits, iris, name_of, result, small
from sources import KINDS, Indexed, Items, mapped

import m3d_sklearn.layout
from m3d_sklearn import (
    CondensedClassifier,
    Herding,
    KCenter,
    M3DCondenser,
    NetworkClassifier,
    evaluate,
    features,
)

DATA = {"colour": colour, "digits": digits, "iris": iris}
MATCHING = [cls for cls in ESTIMATORS if "cache" in cls().get_params(deep=False)]
FITTED = [cls for cls in ESTIMATORS if hasattr(cls, "fit") and cls.__name__ != "CondensedSampler"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks to each data set here."""
    monkeypatch.setattr(m3d_sklearn.layout, "BLOCK", 2000)


EVERY_KIND = [(cls, kind) for cls in (Herding, M3DCondenser) for kind in KINDS]
SOME_KINDS = [(cls, kind) for cls in FITTED for kind in ("map", "items")]


@pytest.mark.parametrize(
    ("cls", "kind"),
    sorted({*EVERY_KIND, *SOME_KINDS}, key=str),
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.parametrize("data", DATA)
def test_the_same_bits_as_from_memory(cls, data, kind, tmp_path, small_blocks):
    X, y = DATA[data]()
    expected = small(cls).fit(X, y)
    fitted = small(cls).fit(KINDS[kind](X, y, tmp_path), y)
    np.testing.assert_array_equal(result(fitted, X), result(expected, X))
    if hasattr(fitted, "condensed_"):
        assert fitted.condensed_.fingerprint == expected.condensed_.fingerprint
        assert fitted.condensed_.layout == expected.condensed_.layout
        assert fitted.n_features_in_ == expected.n_features_in_


@pytest.mark.parametrize("cache", [0, 5000, "auto"])
@pytest.mark.parametrize(
    ("cls", "data", "kind"),
    [(M3DCondenser, data, kind) for data in DATA for kind in (None, "map", "items")]
    + [(cls, "colour", "map") for cls in MATCHING if cls is not M3DCondenser],
    ids=str,
)
def test_what_is_kept_does_not_show(cls, data, kind, cache, tmp_path):
    """5,000 bytes hold some rows; draws of 8 leave rows to shuffle, and to read ahead."""
    X, y = DATA[data]()
    settings = {"batch_real": 8, "max_iter": 12}
    expected = small(cls, **settings).fit(X, y)
    given = X if kind is None else KINDS[kind](X, y, tmp_path)
    fitted = small(cls, cache=cache, **settings).fit(given, y)
    np.testing.assert_array_equal(result(fitted, X), result(expected, X))
    np.testing.assert_array_equal(fitted.loss_curve_, expected.loss_curve_)
    assert fitted.params_["cache"] == (2**28 if cache == "auto" else cache)


def test_networks_that_learn_read_their_rows_too(tmp_path):
    X, y = digits()
    settings = {"pool": 2, "calibration": 0.1, "iterations_per_network": 1, "max_iter": 20}
    expected = small(M3DCondenser, **settings).fit(X, y)
    fitted = small(M3DCondenser, cache=0, **settings).fit(mapped(X, tmp_path), y)
    np.testing.assert_array_equal(result(fitted, X), result(expected, X))


@pytest.mark.parametrize("cls", FITTED, ids=name_of)
def test_answers_about_rows_in_files(cls, tmp_path):
    X, y = colour()
    fitted = small(cls).fit(X, y)
    for one, other in zip(answers(fitted, X), answers(fitted, mapped(X, tmp_path)), strict=True):
        np.testing.assert_array_equal(one, other)
    if hasattr(fitted, "transform"):
        np.testing.assert_array_equal(fitted.transform(X), fitted.transform(Items(X)))


@pytest.mark.parametrize("y", [np.array, list, lambda y: [f"class {label}" for label in y]])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)
def test_labels_of_a_data_set(cls, listed, y):
    """`targets` where the data set has them, else one pass over its items."""
    X, numbers = digits()
    labels = y(numbers)
    items = Items(X, labels)
    if listed:
        items.targets = labels
    fitted = small(cls).fit(items)
    np.testing.assert_array_equal(result(fitted, X), result(small(cls).fit(X, labels), X))


def test_labels_given_count_more_than_the_data_sets_own():
    X, y = digits()
    fitted = small(Herding).fit(Items(X, np.zeros(60)), y)
    assert fitted.classes_.tolist() == [0, 1, 2]


def test_a_data_set_is_passed_once_for_labels_values_and_fingerprint():
    X, y = digits()
    items = Items(X, y)
    small(M3DCondenser, max_iter=0, cache=0).fit(items)
    # The first row tells the form; then each once; then those of the start.
    assert items.read <= 60 + 6 + 3


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_of_pillow(mode):
    image = pytest.importorskip("PIL.Image")
    X, y = colour()
    X = X if mode == "RGB" else X[..., 0]
    fitted = small(M3DCondenser).fit(Items(X, y, image.fromarray))
    np.testing.assert_array_equal(result(fitted, X), result(small(M3DCondenser).fit(X, y), X))
    assert fitted.condensed_.X.dtype == np.uint8


def test_folder_of_images_with_a_transform(tmp_path):
    image = pytest.importorskip("PIL.Image")
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    X, y = colour()
    for number, (row, label) in enumerate(zip(X, y, strict=True)):
        folder = tmp_path / f"class {label}"
        folder.mkdir(exist_ok=True)
        image.fromarray(row).save(folder / f"{number:03d}.png")
    order = np.argsort(y, kind="stable")
    fitted = small(M3DCondenser).fit(ImageFolder(tmp_path, transforms.ToTensor()))
    as_float = (X[order].transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    expected = small(M3DCondenser).fit(as_float, y[order])
    np.testing.assert_array_equal(result(fitted, X), result(expected, X))


@pytest.mark.parametrize("cls", [Herding, KCenter], ids=name_of)
@pytest.mark.parametrize("data", DATA)
def test_coresets_go_through_a_class_block_by_block(cls, data, monkeypatch):
    X, y = DATA[data]()
    expected = small(cls, ipc=5).fit(X, y).sample_indices_
    monkeypatch.setattr(features, "HELD", 0)
    monkeypatch.setattr(features, "BLOCK", 3 * X[0].size)
    monkeypatch.setattr(m3d_sklearn.layout, "BLOCK", 3 * X[0].size)
    file = Indexed(X)
    np.testing.assert_array_equal(small(cls, ipc=5).fit(file, y).sample_indices_, expected)
    assert file.most <= 15  # the chosen themselves


def test_features_of_a_network_are_cached_by_what_the_rows_hold(tmp_path, monkeypatch):
    X, y = digits()
    settings = {"features": "mlp", "feature_epochs": 1, "random_state": 0}
    settings["memory"] = str(tmp_path / "cache")
    expected = small(Herding, **settings).fit(X, y).sample_indices_

    def trains(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(NetworkClassifier, "fit", trains)
    found = small(Herding, **settings).fit(mapped(X, tmp_path), y).sample_indices_
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(AssertionError, match="trained again"):
        small(Herding, **settings).fit(Indexed(X + 1), y)


def test_held_out_rows_in_a_file(tmp_path, small_blocks):
    X, y = colour()
    condensed = small(Herding).fit(X, y).condensed_
    settings = {"n_networks": 2, "max_iter": 2, "random_state": 0}
    expected = evaluate(condensed, X, y, **settings).scores
    for kind in ("map", "file", "items"):
        test = KINDS[kind](X, y, tmp_path)
        np.testing.assert_array_equal(evaluate(condensed, test, y, **settings).scores, expected)
    pair = evaluate((Indexed(X), y), X, y, **settings).scores
    np.testing.assert_array_equal(pair, evaluate((X, y), X, y, **settings).scores)


def test_a_fit_reads_no_more_than_a_block_at_once(small_blocks):
    X, y = colour(3, 40)
    file = Indexed(X)
    small(M3DCondenser, batch_real=4, cache=0).fit(file, y)
    assert file.most <= 2 * 3 * 4  # a draw, and 13 rows to a block


def test_no_thread_outlives_a_fit():
    X, y = digits()
    before = set(threading.enumerate())
    small(M3DCondenser, cache=0).fit(Items(X, y))
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_pipelines_of_condensers(tmp_path):
    X, y = digits()
    fitted = small(CondensedClassifier).fit(mapped(X, tmp_path), y)
    assert fitted.predict(X).shape == (60,)
