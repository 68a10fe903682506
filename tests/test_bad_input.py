"""Bad input: refused before any work, in words that say what was wrong and what came."""

from __future__ import annotations

import re
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import torch
from common import CONDENSERS, ESTIMATORS, digits, iris, name_of, quietly, small
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

import m3d_sklearn.condensers._base
from m3d_sklearn import (
    CondensedClassifier,
    CondensedSampler,
    DMCondenser,
    Herding,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    NetworkClassifier,
    Random,
    evaluate,
)

REFUSALS = (ValueError, TypeError)  # and NotFittedError, which is a ValueError
every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)


# Data

TABLE, LABELS = iris()
IMAGES, DIGITS = digits()


def holed(X: np.ndarray, value: float) -> np.ndarray:
    X = X.copy()
    X[3, 1] = value
    return X


DATA: dict[str, tuple[Any, Any, str]] = {
    "NaN in a table": (holed(TABLE, np.nan), LABELS, r"X contains NaN"),
    "NaN in images": (holed(IMAGES, np.nan), DIGITS, r"X contains NaN"),
    "infinity in a table": (holed(TABLE, np.inf), LABELS, r"X contains infinity"),
    "infinity in images": (holed(IMAGES, -np.inf), DIGITS, r"X contains infinity"),
    "NaN in a tensor": (torch.from_numpy(holed(IMAGES, np.nan)), DIGITS, r"X contains NaN"),
    "one class": (TABLE, np.ones(75, int), r"y must have at least 2 classes; got 1 class, \[1\]"),
    "one class of images": (IMAGES, ["b"] * 60, r"y must have at least 2 classes; .*\['b'\]"),
    "one sample": (TABLE[:1], LABELS[:1], r"1 sample"),
    "fewer labels": (TABLE, LABELS[:-1], r"inconsistent numbers of samples: \[75, 74\]"),
    "more labels than images": (IMAGES[:-1], DIGITS, r"inconsistent .*: \[59, 60\]"),
    "continuous y": (TABLE, TABLE[:, 0], r"Unknown label type: continuous"),
    "continuous y of images": (IMAGES, IMAGES[:, 4, 4] / 7, r"Unknown label type: continuous"),
    "y of two columns": (TABLE, TABLE[:, :2], r"y should be a 1d array.*\(75, 2\)"),
    "NaN in y": (TABLE, np.where(LABELS, LABELS, np.nan), r"y contains NaN"),
    "NaN in y of images": (IMAGES, np.where(DIGITS, DIGITS, np.nan), r"y contains NaN"),
    "no y": (TABLE, None, r"requires y to be passed, but the target y is None"),
    "no y for images": (IMAGES, None, r"requires y to be passed, but the target y is None"),
    "sparse": (scipy.sparse.csr_matrix(TABLE), LABELS, r"[Ss]parse .*X"),
    "sparse array": (scipy.sparse.coo_array(TABLE), LABELS, r"[Ss]parse .*X"),
    "complex table": (TABLE * 1j, LABELS, r"Complex data not supported"),
    "complex images": (IMAGES * 1j, DIGITS, r"Complex data not supported.* X .*complex128"),
    "object images": (IMAGES.astype(object), DIGITS, r"images in X must be real.*got dtype object"),
    "text images": (IMAGES.astype(str), DIGITS, r"images in X must be real numbers; got dtype <U"),
    "text table": (TABLE.astype(str).astype(object) + "!", LABELS, r"could not convert .*'5.1!'"),
    "one axis": (TABLE[:, 0], LABELS, r"Expected 2D array, got 1D array"),
    "five axes": (IMAGES[:, :, :, None, None], DIGITS, r"X must have 2 axes.*\(60, 8, 8, 1, 1\)"),
    "no rows": (TABLE[:0], LABELS[:0], r"0 sample\(s\) \(shape=\(0, 4\)\)"),
    "no images": (IMAGES[:0], DIGITS[:0], r"0 sample\(s\) \(shape=\(0, 8, 8\)\)"),
    "no columns": (TABLE[:, :0], LABELS, r"0 feature\(s\) \(shape=\(75, 0\)\)"),
    "no pixels": (IMAGES[:, :0], DIGITS, r"X must hold images of at least .*\(60, 0, 8\)"),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], r"X must be an array whose rows have one shape"),
    "nothing": (None, LABELS, r"X|array"),
    "text": ("X.npy", LABELS, r"X|array"),
}


@pytest.mark.parametrize("bad", DATA)
@every_estimator
def test_bad_data(cls, bad):
    X, y, words = DATA[bad]
    with pytest.raises(REFUSALS, match=words):
        quietly(small(cls).fit, X, y)


@pytest.mark.parametrize("bad", DATA)
def test_bad_pair_to_evaluate(bad):
    X, y, words = DATA[bad]
    with pytest.raises(REFUSALS, match=words):
        quietly(evaluate, (X, y), TABLE, LABELS, n_networks=1, max_iter=1)


# Parameters


class Whatever:
    """No module."""


class Fails(nn.Module):
    """A network that takes no rows."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


class Outputs(nn.Module):
    """A network with seven outputs, whatever is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


def broken_factory(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    raise RuntimeError("no such layer")


def of(*, X: Any = IMAGES, y: Any = DIGITS) -> dict[str, Any]:
    return {"X": X, "y": y}


ON_TABLE = of(X=TABLE, y=LABELS)
FLAT = of(X=IMAGES.reshape(60, 64))
TINY = of(X=IMAGES[:, :3, :3])
LINE = of(X=IMAGES[:, :1, :])

# name of the parameter, what it is set to, what the message says after the name, the data
Bad = tuple[str, Any, str] | tuple[str, Any, str, dict[str, Any]]

LAYOUT: list[Bad] = [
    ("device", "tpu", "'auto', 'cpu'.*got 'tpu'"),
    ("device", "meta", "'auto', 'cpu'.*got 'meta'"),
    ("device", "cuda:99", "'cuda:99'.*this machine has"),
    ("device", 3, "got 3"),
    ("random_state", "a", "got 'a'"),
    ("random_state", -1, "got -1"),
    ("random_state", 2**40, "got 1099511627776"),
    ("image_shape", (8,), r"got \(8,\)", FLAT),
    ("image_shape", (8, -8), r"got \(8, -8\)", FLAT),
    ("image_shape", (8, 8.0), r"got \(8, 8.0\)", FLAT),
    ("image_shape", "8x8", "got '8x8'", FLAT),
    ("image_shape", (9, 7), r"=\(9, 7\).*\(60, 64\)", FLAT),
    ("image_shape", (8, 8), r"=\(8, 8\).*\(60, 8, 8\)"),
    ("channel_axis", "first", "'auto'.*got 'first'"),
    ("channel_axis", 2, "got 2", of(X=IMAGES.reshape(60, 4, 4, 4))),
    ("channel_axis", 0, "got 0", of(X=IMAGES.reshape(60, 4, 4, 4))),
    ("channel_axis", 1.0, "got 1.0"),
    ("channel_axis", 1, "=1 needs images", ON_TABLE),
    ("channel_axis", 1, r"=1 needs images with channels; got \(8, 8\)"),
]
ROWS: list[Bad] = [
    ("ipc", 0, "got 0"),
    ("ipc", -1, "got -1"),
    ("ipc", 1.5, "got 1.5"),
    ("ipc", "a", "got 'a'"),
    ("ipc", None, "got None"),
    ("ipc", [1, 1, 1], r"got \[1, 1, 1\]"),
    ("ipc", {0: 1, 1: 1}, r"every class, \[0, 1, 2\].*got \[0, 1\]"),
    ("ipc", {0: 1, 1: 1, 2: 1, 7: 1}, r"\[0, 1, 2\], and no other; got \[0, 1, 2, 7\]"),
    ("ipc", {"0": 1, "1": 1, "2": 1}, r"\[0, 1, 2\].*got \['0', '1', '2'\]"),
    ("ipc", {0: 1, 1: 0, 2: 1}, r"whole numbers of 1 or more; got \{0: 1, 1: 0, 2: 1\}"),
    ("ipc", {0: 1, 1: 1.5, 2: 1}, r"whole numbers of 1 or more; got \{.*1.5"),
    ("ipc", lambda y: [1, 1, 1], "callable must give a dict.*list"),
    ("ipc", lambda y: {0: 1}, r"\[0, 1, 2\].*got \[0\]"),
    ("ipc", lambda y: dict.fromkeys(range(3), "one"), "whole numbers of 1 or more; got .*'one'"),
]
NETWORK: list[Bad] = [
    ("network", "resnext", r"'auto', one of \['convnet'.*got 'resnext'"),
    ("network", 3, "got 3"),
    ("network", None, "got None"),
    ("network", "convnet", r"'convnet' needs images of at least .*got .*\(4,\)", ON_TABLE),
    ("network", "convnet", r"'convnet' needs images .*\(1, 1, 8\)", LINE),
    ("network", "resnet10", r"'resnet.*' needs images of at least 16.*\(1, 8, 8\)"),
    ("network", "densenet121", r"'densenet121' needs images of at least 16.*\(1, 8, 8\)"),
    ("network", Whatever, "factory of a torch.nn.Module; the factory gave Whatever"),
    ("network", Fails, r"rows of shape \(1, 8, 8\).*mat1 and mat2"),
    ("network", broken_factory, "no such layer"),
]
AUGMENTATION: list[Bad] = [
    ("augmentation", "flip", "list of operations; got 'flip'"),
    ("augmentation", ["blur"], r"operations \['brightness'.*got 'blur'"),
    ("augmentation", ["flip", ("crop", "blur")], "got 'blur'"),
    ("augmentation", [3], "got 3"),
    ("augmentation", ["flip"], r"table.*got \['flip'\]", ON_TABLE),
    ("augmentation", 3, "got 3"),
]
FEATURES: list[Bad] = [
    ("features", "fourier", "'pixels'.*got 'fourier'"),
    ("features", 3, "got 3"),
    ("features", "resnet10", r"images of at least 16.*\(1, 8, 8\)"),
    ("features", lambda X: X[0], r"must give \(60, d\) numbers; it gave shape \(8, 8\)"),
    ("features", lambda X: X[:5, 0], r"must give \(60, d\) numbers; it gave shape \(5, 8\)"),
    ("features", lambda X: np.full((60, 2), np.nan), "NaN"),
    ("features", lambda X: None, r"must give \(60, d\) numbers"),
    ("feature_epochs", 0, "got 0"),
    ("feature_epochs", "some", "got 'some'"),
    ("memory", 3, "got 3"),
    ("verbose", "loud", "got 'loud'"),
]
TWO = [0, 0, 1, 1, 2, 2]
KERNELS: list[Bad] = [
    ("kernel", "cubic", r"str among .*'laplace'.*[Gg]ot 'cubic'"),
    ("kernel", 3, "[Gg]ot 3"),
    ("bandwidth", -1.0, "got -1"),
    ("bandwidth", 0, "got 0"),
    ("bandwidth", "median", "'mean'.*got 'median'"),
    ("bandwidth", [1.0, -1.0], r"positive numbers; got \[1.0, -1.0\]"),
    ("bandwidth", [], r"positive numbers; got \[\]"),
    ("bandwidth", np.nan, "got nan"),
    ("bandwidth", np.inf, "got inf"),
    ("pool", -1, "got -1"),
    ("pool", 1.5, "got 1.5"),
    ("pool", "many", "got 'many'"),
    ("calibration", -0.1, "got -0.1"),
    ("calibration", "some", "got 'some'"),
    ("soft_labels", "yes", "got 'yes'"),
    ("soft_labels", True, "pool above 0; got pool='auto', which comes to 0 here"),
    ("bandwidth", ["wide"], "got .*wide"),
]
MATCHING: list[Bad] = [
    ("factor", 0, "got 0"),
    ("factor", 1.5, "got 1.5"),
    ("factor", "two", "got 'two'"),
    ("factor", 5, "=5 needs images .*got 8×8"),
    ("factor", 2, "=2 needs images .*got 3×3", TINY),
    ("factor", 2, "table; got factor=2", ON_TABLE),
    ("preset", "published", "got 'published'"),
    ("preset", "paper", "'paper' is for images, and X is a table", ON_TABLE),
    ("init", "zeros", "got 'zeros'"),
    ("init", 3, "got 3"),
    ("init", Random(2), "fitted.*Random"),
    ("init", StandardScaler(), "fitted.*StandardScaler"),
    ("init", (IMAGES[:5], TWO[:5]), r"\[2, 2, 2\] stored rows.*got \[2, 2, 1\]"),
    ("init", (IMAGES[:5], TWO), "5"),
    ("init", (IMAGES[:7], TWO), "7"),
    ("init", (IMAGES[:6, :7], TWO), r"rows of shape \(8, 8\).*got \(7, 8\)"),
    ("init", (IMAGES[:6] * np.nan, TWO), "finite values; got NaN"),
    ("init", (IMAGES[:6].astype(str), TWO), r"rows of shape \(8, 8\).*<U"),
    ("init", (IMAGES[:6],), "got"),
    ("max_iter", -1, "got -1"),
    ("max_iter", 1.5, "got 1.5"),
    ("max_iter", "many", "got 'many'"),
    ("max_time", 0, "got 0"),
    ("max_time", -1.0, "got -1"),
    ("max_time", "1 s", "got '1 s'"),
    ("iterations_per_network", 0, "got 0"),
    ("batch_real", 0, "got 0"),
    ("batch_real", 1.5, "got 1.5"),
    ("optimizer", "lbfgs", "got 'lbfgs'"),
    ("learning_rate", -0.1, "got -0.1"),
    ("learning_rate", 0, "got 0"),
    ("learning_rate", "fast", "got 'fast'"),
    ("learning_rate", np.nan, "got nan"),
    ("momentum", 1.0, "got 1.0"),
    ("momentum", -0.1, "got -0.1"),
    ("schedule", "linear", "got 'linear'"),
    ("tol", -1e-3, "got -0.001"),
    ("n_iter_no_change", 9, "got 9"),
    ("n_iter_no_change", 10.5, "got 10.5"),
    ("precision", "float16", "got 'float16'"),
    ("cache", -1, "got -1"),
    ("cache", 1.5, "got 1.5"),
    ("cache", "all", "got 'all'"),
    ("checkpoint", 3, "got 3"),
    ("checkpoint", "nowhere/run.ckpt", "folder that can be written to; got nowhere/run.ckpt"),
    ("checkpoint_every", 0, "got 0"),
    ("checkpoint_every", 1.5, "got 1.5"),
    ("checkpoint_errors", "ignore", "got 'ignore'"),
    ("verbose", "loud", "got 'loud'"),
]
TRAINING: list[Bad] = [
    ("network", Outputs, r"3 outputs a row.*got \(2, 7\)"),
    ("max_iter", 0, "got 0"),
    ("max_iter", "many", "got 'many'"),
    ("protocol", "idc", "got 'idc'"),
    ("batch_size", 0, "got 0"),
    ("batch_size", 1.5, "got 1.5"),
    ("cutmix", 1.5, "got 1.5"),
    ("cutmix", -0.1, "got -0.1"),
    ("cutmix", "often", "got 'often'"),
    ("precision", 32, "got 32"),
]
SGD: list[Bad] = [
    ("learning_rate", -0.1, "got -0.1"),
    ("learning_rate", "auto", "got 'auto'"),
    ("momentum", 1.0, "got 1.0"),
    ("weight_decay", -1e-4, "got -0.0001"),
    ("verbose", -1, "got -1"),
]
K_MEANS: list[Bad] = [
    ("n_init", 0, "got 0"),
    ("n_init", "auto", "got 'auto'"),
    ("max_iter", 0, "got 0"),
    ("max_iter", 1.5, "got 1.5"),
]
CONDENSER: list[Bad] = [
    ("condenser", "herding", "got 'herding'"),
    ("condenser", LogisticRegression(), "got LogisticRegression"),
    ("condenser", StandardScaler(), "got StandardScaler", ON_TABLE),
    ("condenser", PCA(), "got PCA", ON_TABLE),
]
PARAMETERS: dict[type, list[Bad]] = {
    Random: ROWS + LAYOUT,
    Herding: ROWS + LAYOUT + FEATURES,
    KCenter: ROWS + LAYOUT + FEATURES,
    KMeansCenters: ROWS + LAYOUT + K_MEANS,
    DMCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING,
    M3DCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING + KERNELS,
    NetworkClassifier: LAYOUT + NETWORK + AUGMENTATION + TRAINING + SGD,
    CondensedClassifier: [
        *CONDENSER,
        ("estimator", "svm", "got 'svm'"),
        ("estimator", StandardScaler(), "got StandardScaler"),
        ("memory", 3, "got 3"),
        ("random_state", "a", "got 'a'"),
    ],
    CondensedSampler: [*CONDENSER, ("random_state", "a", "got 'a'")],
}


def cases(table: list[Bad]) -> list[Any]:
    return [pytest.param(*bad[:3], bad[3] if bad[3:] else of(), id=bad[0]) for bad in table]


def assert_told(refusal: BaseException, parameter: str, words: str) -> None:
    message = str(refusal).replace("\n", " ")
    assert parameter in message
    assert re.search(words, message, re.IGNORECASE), f"{words!r} is not in: {message}"


@pytest.fixture
def no_work(monkeypatch):
    """Fails where the optimisation begins."""

    def began(*args: Any) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(m3d_sklearn.condensers._base, "condense", began)


@pytest.mark.parametrize(
    ("cls", "parameter", "value", "words", "data"),
    [
        pytest.param(cls, *case.values, id=f"{cls.__name__}-{case.id}")
        for cls, table in PARAMETERS.items()
        for case in cases(table)
    ],
)
def test_bad_parameter(cls, parameter, value, words, data, no_work):
    with pytest.raises(REFUSALS) as refusal:
        quietly(small(cls, **{parameter: value}).fit, **data)
    assert_told(refusal.value, parameter, words)


def test_table_names_every_parameter():
    for cls, table in PARAMETERS.items():
        assert {bad[0] for bad in table} == set(cls().get_params(deep=False))


@pytest.mark.parametrize("kernel", ["linear", "polynomial", lambda x, y: x @ y.mT])
def test_bandwidth_for_a_kernel_that_has_none(kernel, no_work):
    with pytest.raises(ValueError, match=r"bandwidth=2.0 is for the kernels \['laplace', 'rbf'\]"):
        small(M3DCondenser, kernel=kernel, bandwidth=2.0).fit(IMAGES, DIGITS)


@pytest.mark.parametrize("kernel", [lambda x, y: x, lambda x, y: 1.0, lambda x: x])
def test_kernel_that_is_none(kernel):
    with pytest.raises(REFUSALS, match="kernel"):
        small(M3DCondenser, kernel=kernel).fit(IMAGES, DIGITS)


EVALUATE: list[Bad] = [
    *(bad for bad in LAYOUT if bad[0] == "device" and isinstance(bad[1], str)),
    *(bad for bad in NETWORK if not bad[3:]),
    *(bad for bad in AUGMENTATION if not bad[3:]),
    *TRAINING,
    ("n_networks", 0, "got 0"),
    ("n_networks", 1.5, "got 1.5"),
    ("max_steps", 0, "got 0"),
    ("max_steps", "auto", "got 'auto'"),
    ("random_state", "a", "'a'"),
    ("condensed", 3, r"CondensedSet or a pair \(X, y\); got int"),
    ("condensed", (IMAGES,), r"CondensedSet or a pair \(X, y\); got tuple"),
    ("X_test", IMAGES[:, :7], r"rows of shape \(8, 8\).*\(60, 7, 8\)"),
    ("X_test", IMAGES[0], r"rows of shape \(8, 8\).*\(8, 8\)"),
    ("X_test", IMAGES[:-1], "59 and 60"),
    ("X_test", holed(IMAGES, np.nan), "finite"),
    ("X_test", holed(IMAGES, np.inf), "finite"),
    ("X_test", IMAGES * 1j, "real numbers; got complex128"),
    ("X_test", IMAGES.astype(object), "real numbers; got object"),
    ("X_test", scipy.sparse.csr_matrix(IMAGES[:, 0]), r"rows of shape \(8, 8\)"),
    ("X_test", IMAGES[:0], "0"),
    ("y_test", DIGITS[:-1], "60 and 59"),
    ("y_test", np.stack([DIGITS, DIGITS], 1), r"\(60, 2\)"),
    ("y_test", DIGITS.astype(str), "classes"),
    ("y_test", DIGITS + 0.5, "classes"),
    ("y_test", None, "y_test"),
]


@pytest.mark.parametrize(("parameter", "value", "words", "data"), cases(EVALUATE))
def test_bad_parameter_of_evaluate(parameter, value, words, data):
    given = {"condensed": (IMAGES, DIGITS), "X_test": IMAGES, "y_test": DIGITS}
    settings = {"n_networks": 1, "max_iter": 1}
    with pytest.raises(REFUSALS) as refusal:
        quietly(evaluate, **given | settings | {parameter: value})
    assert_told(refusal.value, parameter, words)


# After fit, and without it


@every_estimator
def test_nothing_works_before_fit(cls):
    estimator = small(cls)
    for method in ("transform", "predict", "predict_proba", "decision_function"):
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError, match=cls.__name__):
                getattr(estimator, method)(TABLE)
    if hasattr(estimator, "transform"):
        with pytest.raises(NotFittedError, match=cls.__name__):
            estimator.transform()
        with pytest.raises(NotFittedError, match=cls.__name__):
            estimator.get_feature_names_out()


OTHERS = {
    "fewer columns": (TABLE, TABLE[:, :3], r"X has 3 features, but \w+ is expecting 4"),
    "images for a table": (TABLE, TABLE.reshape(-1, 2, 2), r"X .*\(2, 2\).*\(4,\)"),
    "smaller images": (IMAGES, IMAGES[:, :7], r"X has 56 features, but \w+ is expecting 64"),
    "flat images": (IMAGES, IMAGES.reshape(60, 64), r"X .*\(64,\).*\(8, 8\)"),
    "turned images": (
        np.repeat(IMAGES[:, :, :6, None], 3, 3),
        np.repeat(IMAGES[:, None, :, :6], 3, 1),
        r"X .*\(3, 8, 6\).*\(8, 6, 3\)",
    ),
    "NaN": (IMAGES, holed(IMAGES, np.nan), r"X contains NaN"),
    "one row": (IMAGES, IMAGES[0], r"X"),
    "five axes": (IMAGES, IMAGES[..., None, None], r"X must have 2 axes"),
    "sparse": (TABLE, scipy.sparse.csr_matrix(TABLE), r"[Ss]parse"),
}


@pytest.mark.parametrize("other", OTHERS)
@every_estimator
def test_rows_unlike_those_of_fit(cls, other):
    X, new, words = OTHERS[other]
    estimator = small(cls).fit(X, LABELS if X is TABLE else DIGITS)
    before = joblib.hash(vars(estimator))
    for method in ("transform", "predict", "predict_proba", "decision_function"):
        if hasattr(estimator, method):
            with pytest.raises(REFUSALS, match=words):
                getattr(estimator, method)(new)
    assert joblib.hash(vars(estimator)) == before


# Interruption


class Interrupted(nn.Module):
    """Stands for Ctrl-C after some forward passes."""

    left = 0

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(int(np.prod(shape)), n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        return self.head(x.flatten(1))


@pytest.mark.parametrize("after", [0, 4])
@pytest.mark.parametrize(
    "make",
    [
        lambda: M3DCondenser(1, network=Interrupted, max_iter=5, random_state=0),
        lambda: NetworkClassifier(Interrupted, max_iter=5, random_state=0),
        lambda: CondensedClassifier(
            M3DCondenser(1, network=Interrupted, max_iter=5, random_state=0), LogisticRegression()
        ),
    ],
    ids=["M3DCondenser", "NetworkClassifier", "CondensedClassifier"],
)
def test_interruption_comes_out_and_leaves_the_earlier_fit(make, after, monkeypatch):
    monkeypatch.setattr(Interrupted, "left", 10**6)
    estimator = make().fit(IMAGES, DIGITS)
    before, content = dict(vars(estimator)), joblib.hash(vars(estimator))
    global_state = torch.get_rng_state()
    monkeypatch.setattr(Interrupted, "left", after)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(IMAGES[:, :4], DIGITS)
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is value for name, value in before.items())
    assert joblib.hash(vars(estimator)) == content
    assert torch.equal(torch.get_rng_state(), global_state)


@pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)
def test_bad_parameter_leaves_the_earlier_fit_whole(cls):
    condenser = small(cls).fit(IMAGES, DIGITS)
    before = {k: v for k, v in vars(condenser).items() if k not in condenser.get_params()}
    for bad in ({"ipc": {0: 1}}, {"device": "cuda:99"}, {"image_shape": (4, 4)}):
        with pytest.raises(REFUSALS):
            small(cls).set_params(**bad).fit(IMAGES, DIGITS)
        kept = condenser.get_params()
        with pytest.raises(REFUSALS):
            condenser.set_params(**bad).fit(TABLE, LABELS)
        condenser.set_params(**kept)
        assert all(vars(condenser)[name] is value for name, value in before.items())
