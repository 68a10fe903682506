"""What tests over several estimators share: small settings, small data, one way to look."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits
from torch import nn

import m3d_sklearn
from m3d_sklearn import (
    CAFECondenser,
    CondensedClassifier,
    CondensedSampler,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    Herding,
    IDMCondenser,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    NetworkClassifier,
    Random,
)

# Work this small gains nothing from threads, which wait for each other on a busy machine.
torch.set_num_threads(1)
threadpool_limits(1)


class Dropping(nn.Sequential):
    """A user's network whose passes draw numbers, for tables."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        layers = nn.Linear(*input_shape, 16), nn.ReLU(), nn.Dropout(0.5)
        super().__init__(*layers, nn.Linear(16, n_outputs))


SMALL: dict[type, Any] = {
    Random: lambda: Random(ipc=2, random_state=0),
    Herding: lambda: Herding(ipc=2),
    KCenter: lambda: KCenter(ipc=2),
    KMeansCenters: lambda: KMeansCenters(ipc=2, random_state=0),
    CAFECondenser: lambda: CAFECondenser(ipc=2, max_iter=5, random_state=0),
    DCCondenser: lambda: DCCondenser(ipc=2, max_iter=5, random_state=0),
    DSACondenser: lambda: DSACondenser(ipc=2, max_iter=5, random_state=0),
    DMCondenser: lambda: DMCondenser(ipc=2, max_iter=5, random_state=0),
    IDMCondenser: lambda: IDMCondenser(ipc=2, max_iter=5, random_state=0),
    M3DCondenser: lambda: M3DCondenser(ipc=2, max_iter=5, random_state=0),
    NetworkClassifier: lambda: NetworkClassifier(max_iter=5, random_state=0),
    CondensedClassifier: lambda: CondensedClassifier(
        M3DCondenser(ipc=5, max_iter=5, random_state=0), LogisticRegression()
    ),
    CondensedSampler: lambda: CondensedSampler(Herding(ipc=3)),
}
"""Settings of every public estimator that fit in well under a second."""

ESTIMATORS = [
    thing
    for thing in (getattr(m3d_sklearn, name) for name in m3d_sklearn.__all__)
    if isinstance(thing, type) and issubclass(thing, BaseEstimator)
]
CONDENSERS = [cls for cls in ESTIMATORS if hasattr(cls, "transform")]


def small(cls: type, **params: Any) -> Any:
    """A public estimator with settings for a test, and some of them changed."""
    return SMALL[cls]().set_params(**params)


def name_of(thing: Any) -> str:
    return thing.__name__


@cache
def _digits(n_classes: int, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(n_classes)])
    rows = rows.reshape(n_classes, per_class).T.reshape(-1)  # classes take turns
    return images[rows].reshape(-1, 8, 8), labels[rows]


def digits(n_classes: int = 3, per_class: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8), float64 from 0 to 16, whose classes take turns; and their labels."""
    X, y = _digits(n_classes, per_class)
    return X.copy(), y.copy()


def iris() -> tuple[np.ndarray, np.ndarray]:
    """A table of 4 columns and 3 classes, 75 rows."""
    X, y = load_iris(return_X_y=True)
    return X[::2].copy(), y[::2].copy()


def colour(n_classes: int = 3, per_class: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 6, 3), uint8: digits, cut and tinted by class."""
    X, y = digits(n_classes, per_class)
    tint = np.array([[12, 6, 3], [3, 12, 6], [6, 3, 12]])[y % 3]
    return (X[:, :, :6, None] * tint[:, None, None]).astype(np.uint8), y


def result(estimator: Any, X: Any) -> np.ndarray:
    """What a user takes from a fitted estimator, as one array."""
    if hasattr(estimator, "condensed_"):
        return np.asarray(estimator.condensed_.X)
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(X)
    return np.asarray(estimator.condenser_.condensed_.X)


def answers(estimator: Any, X: Any) -> list[np.ndarray]:
    """Everything that a fitted estimator says of X."""
    methods = ("predict", "predict_proba", "decision_function", "transform")
    given = [np.asarray(getattr(estimator, m)(X)) for m in methods if hasattr(estimator, m)]
    if hasattr(estimator, "predict_log_proba"):
        given.append(np.exp(estimator.predict_log_proba(X)))  # a logarithm of 0 is right, and −∞
    return [*given, result(estimator, X)]


def unpassed(estimator: Any) -> dict[str, str]:
    """Checks of scikit-learn that an estimator does not pass, with the reason."""
    checks = quietly(check_estimator, estimator, on_fail=None, on_skip=None)
    assert len(checks) > 40
    return {
        check["check_name"]: f"{check['status']}: {check['exception']!r}"
        for check in checks
        if check["status"] != "passed"
    }


FRESH = """
import sys
import joblib, sklearn.base, sklearn.utils.validation, torch, torchvision
before = set(sys.modules)
import m3d_sklearn
brought = set(sys.modules) - before
fitted, X = joblib.load(sys.argv[1])
from common import SMALL, answers, unpassed
joblib.dump(
    {
        "brought": brought,
        "loaded": before | brought,
        "answers": {name: answers(estimator, X) for name, estimator in fitted.items()},
        "unpassed": {cls.__name__: unpassed(make()) for cls, make in SMALL.items()},
    },
    sys.argv[2],
)
"""


@cache
def fresh_process() -> dict[str, Any]:
    """What a new interpreter finds, with scikit-learn's array API on; one for all tests.

    Returns
    -------
    dict
        "brought": modules that ``import m3d_sklearn`` loads beside those of its
        dependencies; "loaded": all of them. "answers": of estimators fitted here and loaded
        there; "expected": the same, here. "unpassed": of each estimator's checks.
    """
    X, y = colour()
    fitted = {cls.__name__: small(cls).fit(X, y) for cls in ESTIMATORS}
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    with tempfile.TemporaryDirectory() as folder:
        there, back = f"{folder}/there.joblib", f"{folder}/back.joblib"
        joblib.dump((fitted, X), there)
        done = subprocess.run(
            [sys.executable, "-c", FRESH, there, back],
            env=os.environ | {"PYTHONPATH": path, "SCIPY_ARRAY_API": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = joblib.load(back)
    return found | {"expected": {name: answers(e, X) for name, e in fitted.items()}}


def global_states() -> dict[str, Any]:
    """States of every global generator of random numbers."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "Python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
    }


def quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)
