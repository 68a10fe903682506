"""What a type checker tells those who use the package; checked by `make lint`, never run."""

from typing import Any, assert_type

import numpy as np

from m3d_sklearn import (
    CondensedClassifier,
    CondensedSampler,
    CondensedSet,
    Evaluation,
    Herding,
    M3DCondenser,
    NetworkClassifier,
    evaluate,
)
from m3d_sklearn.benchmark import compare
from m3d_sklearn.datasets import Dataset, load


def fitting(X: np.ndarray, y: np.ndarray) -> None:
    condenser = M3DCondenser(ipc={0: 3, 1: 5}, network="convnet", width=32, random_state=0)
    assert_type(condenser.fit(X, y), M3DCondenser)
    assert_type(condenser.condensed_, CondensedSet)
    assert_type(condenser.params_, dict[str, Any])
    assert_type(condenser.loss_curve_, np.ndarray)
    assert_type(condenser.n_iter_, int)
    assert_type(condenser.transform(), tuple[Any, Any])
    assert_type(condenser.transform(X), np.ndarray)
    assert_type(Herding(5).fit(X, y).sample_indices_, np.ndarray)


def the_set(condensed: CondensedSet, X: np.ndarray, y: np.ndarray) -> None:
    X_c, y_c = condensed
    assert_type(evaluate(condensed, X, y, n_networks=2), Evaluation)
    assert_type(evaluate((X_c, y_c), X, y).mean, float)
    assert_type(CondensedSet.load("set.npz"), CondensedSet)


def training(X: np.ndarray, y: np.ndarray) -> None:
    assert_type(CondensedClassifier(M3DCondenser(1)).fit(X, y), CondensedClassifier)
    assert_type(NetworkClassifier().fit(X, y).predict_proba(X), np.ndarray)
    assert_type(CondensedSampler(Herding(1)).fit_resample(X, y), tuple[Any, Any])


def grids() -> None:
    assert_type(load("digits"), Dataset)
    compare([Herding(1), "m3d"], load("digits"), ipc=[1])
