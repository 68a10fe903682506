"""Numbers gone wrong: a right result or an error that says what to do, never a set with NaN."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from common import CONDENSERS, ESTIMATORS, answers, digits, name_of, quietly, small
from sources import Indexed
from torch import nn

from m3d_sklearn import (
    CondensedClassifier,
    CondensedSampler,
    M3DCondenser,
    NetworkClassifier,
    evaluate,
)

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3
FORMS = {"images": (12, 8, 8), "table": (12, 4)}


def uniform(form: str) -> np.ndarray:
    """From −1 to 1."""
    return RNG.random(FORMS[form]) * 2 - 1


def alike(X: np.ndarray) -> np.ndarray:
    """The rows of one class are identical."""
    X[LABELS == 1] = X[1]
    return X


def scaled(form: str, scale: float, dtype: str = "float64") -> np.ndarray:
    return (uniform(form) * scale).astype(dtype)


DATA: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "images of one value": (np.full((12, 8, 8), 7.0), LABELS),
    "a table of one value": (np.full((12, 4), -3), LABELS),
    "a constant column": (np.column_stack([uniform("table"), np.full(12, 1e9)]), LABELS),
    "a column that is constant but for one row": (np.eye(12, 4), LABELS),
    "a class of identical images": (alike(uniform("images")), LABELS),
    "a class of identical rows": (alike(uniform("table")), LABELS),
    "all rows twice": (np.repeat(uniform("images")[:6], 2, 0), LABELS),
    "images of one colour each": (
        np.repeat(np.arange(12, dtype=np.uint8) * 20, 192).reshape(12, 8, 8, 3),
        LABELS,
    ),
    "black images but one pixel": (np.eye(12, 64, dtype=np.uint8).reshape(12, 8, 8), LABELS),
    "ipc is the size of the class": (uniform("images")[:6], np.arange(6) % 3),
    "one row in a class": (uniform("images"), np.r_[7, np.arange(11) % 2]),
    "one row in each class": (uniform("table")[:3], np.arange(3)),
    "integers of 64 bits": (
        RNG.integers(-(2**62), 2**62, (12, 4)),
        LABELS,
    ),
    "bits": (uniform("images") > 0, LABELS),
    "columns of every scale": (uniform("table") * [1e-30, 1.0, 1e30, 1e10], LABELS),
    "one row far from all": (np.r_[np.full((1, 4), 1e30), uniform("table")[1:]], LABELS),
    "largest halves": (scaled("images", 6e4, "float16"), LABELS),
    "largest singles": (scaled("images", 3e38, "float32"), LABELS),
    "smallest singles": (scaled("images", 1e-40, "float32"), LABELS),
}
for form in FORMS:
    for dtype in ("float16", "float64"):
        DATA[f"{form} of {dtype}"] = scaled(form, 1.0, dtype), LABELS
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        DATA[f"{form} of {scale}"] = scaled(form, scale), LABELS
    for scale in (1e-30, 1e30):
        DATA[f"{form} of {scale} in float32"] = scaled(form, scale, "float32"), LABELS

TOO_FAR = {form: (scaled(form, 1.7e308), LABELS) for form in FORMS}


def fitted(cls: type, X: Any, y: Any) -> Any:
    return quietly(small(cls).fit, X, y)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_a_right_result(cls, data):
    X, y = DATA[data]
    estimator = fitted(cls, X, y)
    if cls is CondensedSampler:
        estimator = estimator.condenser_
    if hasattr(estimator, "loss_curve_"):
        assert np.isfinite(estimator.loss_curve_).all()
    for answer in answers(estimator, X):
        assert answer.dtype.kind != "f" or np.isfinite(answer).all()
    if hasattr(estimator, "condensed_"):
        rows = np.asarray(estimator.condensed_.X)
        low, high = (X.min(), X.max()) if X.ndim > 2 else (X.min(0), X.max(0))
        assert (low <= rows).all()
        assert (rows <= high).all()
        assert np.isfinite(estimator.bandwidth_)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
def test_a_range_that_no_number_holds_is_refused(cls, form, lazy):
    X, y = TOO_FAR[form]
    estimator = small(cls)
    before = set(vars(estimator))
    with pytest.raises(ValueError, match=r"X must have a range.*Divide X by a constant"):
        quietly(estimator.fit, Indexed(X) if lazy else X, y)
    assert set(vars(estimator)) == before


# Their loss looks at a network's output per class, so cost grows with the square of the classes.
CLASSIFY = {"CAFECondenser", "DCCondenser", "DSACondenser", "IDMCondenser"}


@pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)
def test_ten_thousand_classes_of_two_rows(cls):
    n_classes = 300 if cls.__name__ in CLASSIFY else 10_000
    X = RNG.random((2 * n_classes, 2))
    y = RNG.permutation(np.repeat(np.arange(n_classes), 2))
    condenser = small(cls, ipc=1)
    if "network" in condenser.get_params():
        condenser.set_params(max_iter=3)
    started = time.process_time()
    condenser.fit(X, y)
    assert time.process_time() - started < 20
    assert condenser.condensed_.y.tolist() == list(range(n_classes))
    assert np.isfinite(condenser.condensed_.X).all()


def bad_kernel(x: Any, y: Any, value: float) -> Any:
    return x @ y.mT * value


MATCHING = [cls for cls in CONDENSERS if "learning_rate" in cls().get_params()]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_kernel_that_is_not_finite(value):
    X, y = digits()
    condenser = small(M3DCondenser, kernel=lambda a, b: bad_kernel(a, b, value))
    before = set(vars(condenser))
    with pytest.raises(FloatingPointError, match=r"not finite after 1 iterations.*learning_rate"):
        condenser.fit(X, y)
    assert set(vars(condenser)) == before


class Overflowing(nn.Module):
    """Outputs beyond float32."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(int(np.prod(shape)), n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1)) * 1e38 * 1e38


@pytest.mark.parametrize("cls", MATCHING, ids=name_of)
def test_features_that_are_not_finite(cls):
    X, y = digits()
    settings = {"pool": 0} if "pool" in cls().get_params() else {}
    condenser = small(cls, network=Overflowing, **settings)
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        condenser.fit(X, y)
    assert not hasattr(condenser, "condensed_")


@pytest.mark.parametrize("cls", MATCHING, ids=name_of)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_any_rate_stays_in_range(cls, optimizer):
    """Rows are clamped, so a rate far too large leaves them at the ends of the range."""
    X, y = digits()
    condenser = small(cls, learning_rate=1e30, optimizer=optimizer).fit(X, y)
    assert np.isfinite(condenser.condensed_.X).all()
    assert np.isfinite(condenser.loss_curve_).all()


def test_a_training_that_runs_away():
    X, y = digits()
    with pytest.raises(FloatingPointError, match=r"training loss is not finite.*learning_rate"):
        small(NetworkClassifier, learning_rate=1e30).fit(X, y)
    with pytest.raises(FloatingPointError, match="training loss is not finite"):
        evaluate((X, y), X, y, network=Overflowing, n_networks=1, max_iter=1)
    classifier = CondensedClassifier(
        small(M3DCondenser), small(NetworkClassifier, learning_rate=1e30)
    )
    with pytest.raises(FloatingPointError):
        classifier.fit(X, y)
    assert not hasattr(classifier, "condenser_")
