"""Inputs in every layout, dtype and container, and how they come back."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from common import CONDENSERS, ESTIMATORS, colour, digits, iris, name_of, result, small
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from m3d_sklearn import (
    CondensedClassifier,
    M3DCondenser,
    NetworkClassifier,
    Random,
    evaluate,
)

every_condenser = pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)


# Layouts

GREY = {
    "n h w": (lambda X: X, {}),
    "n h w c": (lambda X: X[..., None], {}),
    "n c h w": (lambda X: X[:, None], {}),
    "flat h w": (lambda X: X.reshape(len(X), -1), {"image_shape": (8, 8)}),
    "flat h w c": (lambda X: X.reshape(len(X), -1), {"image_shape": [8, 8, 1]}),
    "flat c h w": (lambda X: X.reshape(len(X), -1), {"image_shape": (1, 8, 8)}),
}
COLOUR = {
    "n h w c": (lambda X: X, {}),
    "n c h w": (lambda X: X.transpose(0, 3, 1, 2), {}),
    "n c h w in memory": (lambda X: X.transpose(0, 3, 1, 2).copy(), {}),
    "n h w c upside down": (lambda X: X[:, ::-1][:, ::-1], {}),
    "n h w c in Fortran's order": (np.asfortranarray, {}),
    "last": (lambda X: X, {"channel_axis": 3}),
    "first": (lambda X: X.transpose(0, 3, 1, 2), {"channel_axis": -3}),
    "flat h w c": (lambda X: X.reshape(len(X), -1), {"image_shape": (8, 6, 3)}),
    "flat c h w": (
        lambda X: X.transpose(0, 3, 1, 2).reshape(len(X), -1),
        {"image_shape": (3, 8, 6), "channel_axis": 1},
    ),
}


def layouts(table: dict[str, Any], data: Any, dtype: type) -> Any:
    return [pytest.param(*entry, data, dtype, id=name) for name, entry in table.items()]


@pytest.mark.parametrize(
    ("lay", "params", "data", "dtype"),
    layouts(GREY, digits, np.float64)
    + layouts(GREY, digits, np.uint8)
    + layouts(COLOUR, colour, np.uint8)
    + layouts(COLOUR, colour, np.float32),
)
@every_condenser
def test_layouts_hold_the_same_images(cls, lay, params, data, dtype):
    X, y = data()
    X = X.astype(dtype)
    reference = small(cls).fit(X, y)
    laid = lay(X)
    condenser = small(cls, **params).fit(laid, y)
    assert condenser.condensed_.X.shape == (6, *laid.shape[1:])
    assert np.array_equal(condenser.condensed_.rows(), reference.condensed_.rows())
    assert np.array_equal(condenser.condensed_.X, lay(np.asarray(reference.condensed_.X)))
    np.testing.assert_allclose(condenser.transform(laid), reference.transform(X), rtol=1e-6)


@pytest.mark.parametrize("lay", ["n c h w", "flat h w c"])
def test_layouts_hold_the_same_mosaics(lay):
    X, y = colour()
    lay, params = COLOUR[lay]
    reference = small(M3DCondenser, factor=2).fit(X, y)
    condenser = small(M3DCondenser, factor=2, **params).fit(lay(X), y)
    assert np.array_equal(condenser.transform()[0], lay(reference.transform()[0]))
    assert condenser.transform()[0].shape == (24, *lay(X).shape[1:])


@pytest.mark.parametrize("lay", COLOUR)
def test_network_predicts_the_same_in_every_layout(lay):
    X, y = colour()
    lay, params = COLOUR[lay]
    reference = small(NetworkClassifier).fit(X, y).predict_proba(X)
    laid = lay(X)
    there = small(NetworkClassifier, **params).fit(laid, y).predict_proba(laid)
    np.testing.assert_allclose(there, reference, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 8, 4), (8, 8, 5), (32, 32, 32)])
@pytest.mark.parametrize("cls", [Random, M3DCondenser, NetworkClassifier], ids=name_of)
def test_ambiguous_images_are_refused_with_both_readings(cls, shape):
    X, y = np.random.default_rng(0).random((8, *shape)), np.arange(8) % 2
    a, b, c = shape
    with pytest.raises(ValueError, match="channel_axis='auto' cannot tell") as refusal:
        small(cls).fit(X, y)
    assert f"{a}×{b} pixels with {c} channels last (channel_axis=-1)" in str(refusal.value)
    assert f"{b}×{c} pixels with {a} channels first (channel_axis=1)" in str(refusal.value)


@pytest.mark.parametrize(("axis", "shape"), [(1, (4, 6, 8)), (-3, (4, 6, 8)), (3, (8, 4, 6))])
def test_channel_axis_says_where_channels_are(axis, shape):
    X, y = np.random.default_rng(0).random((8, 4, 6, 8)), np.arange(8) % 2
    assert Random(1, channel_axis=axis).fit(X, y).condensed_.rows().shape == (2, *shape)


def test_rows_of_one_axis_are_a_table_unless_image_shape_says_otherwise():
    X, y = digits()
    flat = X.reshape(len(X), -1)
    assert Random(1).fit(flat, y).condensed_.rows().shape == (3, 64)
    assert Random(1, image_shape=(8, 8)).fit(flat, y).condensed_.rows().shape == (3, 1, 8, 8)


# Types and ranges

IMAGES = {
    "uint8": lambda X: X * 15,
    "uint16": lambda X: X * 4000 + 7,
    "int16": lambda X: X * 2000 - 16000,
    "int64": lambda X: X - 8,
    "bool": lambda X: X > 8,
    "float16": lambda X: X / 16,
    "float32": lambda X: X / 16,
    "float64": lambda X: X / 16,
}


@pytest.mark.parametrize("dtype", IMAGES)
@every_condenser
def test_images_keep_their_type_and_range(cls, dtype):
    X, y = digits()
    X = IMAGES[dtype](X).astype(dtype)
    condenser = small(cls).fit(X, y)
    for rows in (condenser.condensed_.X, condenser.transform()[0]):
        assert rows.dtype == dtype
        assert X.min() <= rows.min() < rows.max() <= X.max()


@pytest.mark.parametrize(("dtype", "off"), [("uint8", 1e-3), ("uint16", 0.0), ("int16", 0.0)])
def test_integer_images_are_rounded(dtype, off):
    """To the nearest integer; 8-bit rows get their units in single precision on the device."""
    X, y = digits()
    X = IMAGES[dtype](X).astype(dtype)
    settings = {"max_iter": 10, "learning_rate": 0.1}
    exact = small(M3DCondenser, **settings).fit(X.astype(np.float64), y).condensed_.X
    rounded = small(M3DCondenser, **settings).fit(X, y).condensed_.X.astype(np.float64)
    assert np.abs(exact - np.rint(exact)).max() > 0.4
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=0.5 + 255 * off)
    assert (rounded == np.rint(exact)).mean() >= (0.95 if off else 1.0)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int64", "float64"),
        ("uint8", "float64"),
        ("bool", "float64"),
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
@every_condenser
def test_tables_are_floating_point(cls, dtype, expected):
    X, y = iris()
    X = np.greater(X, X.mean(0)) if dtype == "bool" else (10 * X).astype(dtype)
    condensed = small(cls).fit(X, y).condensed_
    assert condensed.X.dtype == expected
    if cls is M3DCondenser and dtype == "int64":
        assert not np.array_equal(condensed.X, np.rint(condensed.X))


@pytest.mark.parametrize("init", ["real", "noise"])
def test_each_column_of_a_table_stays_in_its_own_range(init):
    X, y = iris()
    X = X * [1, 100, 0.01, 1] - [0, 5, 0, 1e6]
    settings = {"init": init, "learning_rate": 100.0, "max_iter": 1}
    X_c, _ = small(M3DCondenser, **settings).fit(X, y).condensed_
    low, high = X.min(0), X.max(0)
    assert (X_c >= low).all()
    assert (X_c <= high).all()
    at_a_bound = np.minimum(X_c - low, high - X_c) < 1e-5 * (high - low)
    assert at_a_bound.mean() > 0.5  # the rate is high enough for the clamp to matter


@pytest.mark.parametrize("init", ["real", "noise"])
def test_images_stay_in_the_range_of_all_images(init):
    X, y = digits()
    settings = {"init": init, "learning_rate": 100.0, "max_iter": 1, "factor": 2}
    condenser = small(M3DCondenser, **settings).fit(X - 3.5, y)
    for rows in (condenser.condensed_.X, condenser.transform()[0]):
        assert (rows.min(), rows.max()) == (-3.5, 12.5)


@pytest.mark.parametrize("constant", [0.0, 7.0])
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_constant_data_are_no_trouble(cls, constant):
    X, y = np.full((12, 3), constant), np.arange(12) % 2
    assert np.isfinite(result(small(cls).fit(X, y), X)).all()


# Containers


@pytest.mark.parametrize("columns", [list("abcd"), [3, 1, 4, 2], ["a", "b", "c", "d d"]])
@every_condenser
def test_frame_in_frame_out(cls, columns):
    X, y = iris()
    frame = pd.DataFrame(X, columns=columns, index=np.arange(len(X)) + 100)
    condenser = small(cls).fit(frame, y)
    plain = small(cls).fit(X, y)
    for given in (condenser.condensed_.X, condenser.transform()[0]):
        assert list(given.columns) == columns
        assert np.array_equal(given.to_numpy(), plain.condensed_.X)
    assert np.array_equal(condenser.transform(frame), plain.transform(X))


def test_frame_of_mixed_types():
    X, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(a=np.arange(len(X)), b=X[:, 1] > 3)
    X_c, _ = small(M3DCondenser).fit(frame, y).condensed_
    assert X_c.dtypes.tolist() == [np.dtype(np.float64)] * 4


def test_flat_images_in_a_frame():
    X, y = digits()
    frame = pd.DataFrame(X.reshape(len(X), -1)).add_prefix("pixel")
    X_c, _ = small(M3DCondenser, image_shape=(8, 8)).fit(frame, y).condensed_
    assert list(X_c.columns) == list(frame.columns)
    expected = small(M3DCondenser).fit(X, y).condensed_.X
    assert np.array_equal(X_c.to_numpy().reshape(-1, 8, 8), expected)


SERIES = {
    "integers": lambda y: pd.Series(y, name="digit", dtype="int32"),
    "nullable": lambda y: pd.Series(y, name="digit", dtype="Int64"),
    "names": lambda y: pd.Series(np.array(["zero", "one", "two"])[y], name=("a", 1)),
    "objects": lambda y: pd.Series(np.array(["c", "b", "a"], object)[y], dtype=object),
    "categories": lambda y: pd.Series(
        pd.Categorical.from_codes(y, ["lo", "mid", "hi", "never"], ordered=True), name="level"
    ),
    "truths": lambda y: pd.Series(y > 0, name="any"),
}


@pytest.mark.parametrize("kind", SERIES)
@every_condenser
def test_series_keeps_name_and_type(cls, kind):
    X, y = digits()
    series = SERIES[kind](y).set_axis(np.arange(len(y)) * 2)
    condenser = small(cls).fit(X, series)
    for y_c in (condenser.condensed_.y, condenser.transform()[1]):
        assert isinstance(y_c, pd.Series)
        assert (y_c.name, y_c.dtype) == (series.name, series.dtype)
        assert y_c.tolist() == np.repeat(np.unique(np.asarray(series)), 2).tolist()


@pytest.mark.parametrize(
    "names",
    [
        np.array(["zero", "one", "two"]),
        np.array(["zero", "one", "two"], object),
        np.array([-5, 40, 7], np.int8),
        np.array([2.0, 1.0, 3.0]),
        np.array([False, True, True]),
    ],
    ids=lambda names: str(names.dtype),
)
@every_condenser
def test_labels_keep_their_type(cls, names):
    X, y = digits()
    labels = names[y]
    condensed = small(cls).fit(X, labels).condensed_
    assert condensed.y.dtype == labels.dtype
    assert condensed.y.tolist() == np.repeat(np.unique(names), 2).tolist()
    assert condensed.classes.tolist() == np.unique(names).tolist()


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_column_of_labels_warns_and_works(cls, make_data):
    X, y = make_data()
    with pytest.warns(DataConversionWarning, match="column-vector"):
        estimator = small(cls).fit(X, y[:, None])
    assert np.array_equal(result(estimator, X), result(small(cls).fit(X, y), X))


@pytest.mark.parametrize("make_data", [iris, colour], ids=name_of)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_tensors_go_in_and_arrays_come_out(cls, make_data):
    X, y = make_data()
    tensor = torch.from_numpy(X)
    if tensor.is_floating_point():
        tensor.requires_grad_(True)
    estimator = small(cls).fit(tensor, torch.from_numpy(y))
    assert np.array_equal(result(estimator, X), result(small(cls).fit(X, y), X))
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(estimator, method):
            answer = getattr(estimator, method)(tensor)
            assert type(answer) is np.ndarray
            assert np.array_equal(answer, getattr(estimator, method)(X))
    if hasattr(estimator, "transform"):
        assert [type(part) for part in estimator.transform()] == [np.ndarray, np.ndarray]


def test_evaluate_takes_tensors():
    X, y = iris()
    tensors = torch.from_numpy(X).requires_grad_(True), torch.from_numpy(y)
    settings = {"n_networks": 1, "max_iter": 5, "random_state": 0}
    scores = evaluate((X, y), X, y, **settings).scores
    assert np.array_equal(evaluate(tensors, *tensors, **settings).scores, scores)


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_lists_are_arrays(cls, make_data):
    X, y = make_data()
    estimator = small(cls).fit(X.tolist(), y.tolist())
    assert np.array_equal(result(estimator, X.tolist()), result(small(cls).fit(X, y), X))


# Scale

SCALES = {
    "times 1000": (1000.0, 0.0),
    "times 255": (255.0, 0.0),
    "small": (1e-4, 0.0),
    "shifted": (2.0, -77.0),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@every_condenser
def test_scale_of_x_does_not_matter(cls, make_data, scale):
    X, y = make_data()
    width, shift = SCALES[scale]
    reference = small(cls).fit(X, y)
    scaled = small(cls).fit(X * width + shift, y)
    back = (scaled.condensed_.X - shift) / width
    np.testing.assert_allclose(back, reference.condensed_.X, atol=1e-3 * np.ptp(X))
    np.testing.assert_allclose(
        scaled.transform(X * width + shift), reference.transform(X), atol=1e-3
    )


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
def test_scale_of_x_does_not_matter_to_networks(make_data):
    X, y = make_data()
    reference = small(NetworkClassifier).fit(X, y).predict_proba(X)
    scaled = small(NetworkClassifier).fit(X * 1000 - 5, y).predict_proba(X * 1000 - 5)
    np.testing.assert_allclose(scaled, reference, atol=1e-3)


# The transformer


def units_of(X: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rows as the docstring says: images in [0, 1], columns standardised."""
    if seen.ndim == 2:
        return (X - seen.mean(0)) / seen.std(0)
    return ((X - seen.min()) / (seen.max() - seen.min())).reshape(len(X), -1)


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@every_condenser
def test_transform_gives_similarities(cls, make_data):
    X, y = make_data()
    condenser = small(cls).fit(X, y)
    decoded = units_of(condenser.transform()[0], X)
    gaps = ((decoded[:, None] - decoded[None]) ** 2).sum(-1)
    assert condenser.bandwidth_ == pytest.approx(gaps.sum() / (6 * 5))
    distances = ((units_of(X, X)[:, None] - decoded[None]) ** 2).sum(-1)
    expected = np.exp(-distances / condenser.bandwidth_)
    np.testing.assert_allclose(condenser.transform(X), expected, rtol=1e-9, atol=1e-12)
    assert condenser.transform(X).dtype == np.float64
    assert condenser.transform(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("factor", [1, 2])
def test_transform_without_rows_is_the_decoded_set(factor):
    X, y = colour()
    condenser = small(M3DCondenser, factor=factor).fit(X, y)
    X_c, y_c = condenser.transform()
    X_d, y_d = condenser.condensed_.decode()
    assert np.array_equal(X_c, X_d)
    assert np.array_equal(y_c, y_d)
    assert y_c.tolist() == np.repeat([0, 1, 2], 2 * factor**2).tolist()
    assert condenser.transform(X).shape == (len(X), len(X_c))


@pytest.mark.parametrize("make_data", [iris, colour], ids=name_of)
@every_condenser
def test_set_output_frames_similarities_and_not_the_set(cls, make_data):
    X, y = make_data()
    condenser = small(cls).set_output(transform="pandas").fit(X, y)
    frame = condenser.transform(X)
    names = [f"{cls.__name__.lower()}{place}" for place in range(6)]
    assert list(frame.columns) == names
    assert list(condenser.get_feature_names_out()) == names
    assert np.array_equal(frame.to_numpy(), small(cls).fit(X, y).transform(X))
    X_c, y_c = condenser.transform()
    assert type(X_c) is type(y_c) is np.ndarray
    assert X_c.shape[1:] == X.shape[1:]


def test_images_are_flattened_for_a_classifier_of_tables():
    X, y = colour()
    here = small(CondensedClassifier).fit(X, y)
    there = small(CondensedClassifier, condenser__image_shape=(8, 6, 3)).fit(X.reshape(24, -1), y)
    assert np.array_equal(here.predict_proba(X), there.predict_proba(X.reshape(24, -1)))


NETWORK = {"network": "mlp", "max_iter": 2, "random_state": 0}


@pytest.mark.parametrize(
    ("make", "taken"),
    [
        (lambda network: GridSearchCV(network, {"max_iter": [1, 2]}, cv=2), (8, 8)),
        (lambda network: CalibratedClassifierCV(network, cv=2), (8, 8)),
        (lambda network: FixedThresholdClassifier(network), (8, 8)),
        (lambda network: make_pipeline("passthrough", network), (8, 8)),
        (lambda network: make_pipeline(FunctionTransformer(), network), (8, 8)),
        (lambda network: GridSearchCV(make_pipeline(network), {}, cv=2), (8, 8)),
        (lambda network: make_pipeline(StandardScaler(), network), (64,)),
        (lambda network: GridSearchCV(GaussianNB(), {}, cv=2), (64,)),
    ],
    ids=["search", "calibration", "threshold", "pipeline", "function", "both", "scaler", "bayes"],
)
def test_images_go_through_to_the_classifier_that_takes_them(make, taken):
    X, y = digits()
    y = y > 0
    inner = make(small(NetworkClassifier, **NETWORK))
    classifier = CondensedClassifier(Random(6, random_state=0), inner)
    seen = []
    fit = type(inner).fit

    def watched(self, X, *args, **kwargs):
        seen.append(X.shape[1:])
        return fit(self, X, *args, **kwargs)

    with mock.patch.object(type(inner), "fit", watched):
        classifier.fit(X, y)
    assert seen == [taken]
    assert classifier.predict(X).shape == y.shape
