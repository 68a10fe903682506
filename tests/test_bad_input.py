"""Bad input: refused before any work, in words that say what was wrong and what came."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pytest
import torch
from bad_data import DATA, DIGITS, IMAGES, LABELS, OTHERS, TABLE
from bad_parameters import EVALUATE, PARAMETERS, Bad, of
from common import CONDENSERS, ESTIMATORS, name_of, quietly, small
from refusals import REFUSALS, assert_refused, assert_told
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from torch import nn

import m3d_sklearn.condensers._run
from m3d_sklearn import CondensedClassifier, M3DCondenser, NetworkClassifier, evaluate

every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)


@pytest.mark.parametrize("bad", DATA)
@every_estimator
def test_bad_data(cls, bad):
    X, y, words = DATA[bad]
    estimator = small(cls)
    assert_told(assert_refused(lambda: quietly(estimator.fit, X, y), estimator), "", words)


@pytest.mark.parametrize("bad", DATA)
def test_bad_pair_to_evaluate(bad):
    X, y, words = DATA[bad]
    settings = {"n_networks": 1, "max_iter": 1}
    refusal = assert_refused(lambda: quietly(evaluate, (X, y), TABLE, LABELS, **settings))
    assert_told(refusal, "", words)


def cases(table: list[Bad]) -> list[Any]:
    return [pytest.param(*bad[:3], bad[3] if bad[3:] else of(), id=bad[0]) for bad in table]


@pytest.fixture
def no_work(monkeypatch):
    """Fails where the optimisation begins."""

    def began(*args: Any) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(m3d_sklearn.condensers._run, "condense", began)


@pytest.mark.parametrize(
    ("cls", "parameter", "value", "words", "data"),
    [
        pytest.param(cls, *case.values, id=f"{cls.__name__}-{case.id}")
        for cls, table in PARAMETERS.items()
        for case in cases(table)
    ],
)
def test_bad_parameter(cls, parameter, value, words, data, no_work):
    estimator = small(cls, **{parameter: value})
    refusal = assert_refused(lambda: quietly(estimator.fit, **data), estimator)
    assert_told(refusal, parameter, words)


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


@pytest.mark.parametrize(("parameter", "value", "words", "data"), cases(EVALUATE))
def test_bad_parameter_of_evaluate(parameter, value, words, data):
    given = {"condensed": (IMAGES, DIGITS), "X_test": IMAGES, "y_test": DIGITS}
    settings = {"n_networks": 1, "max_iter": 1}
    asked = given | settings | {parameter: value}
    assert_told(assert_refused(lambda: quietly(evaluate, **asked)), parameter, words)


# After fit, and without it


@every_estimator
def test_nothing_works_before_fit(cls):
    estimator = small(cls)
    for method in (
        "transform",
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    ):
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError, match=cls.__name__):
                getattr(estimator, method)(TABLE)
    if hasattr(estimator, "transform"):
        with pytest.raises(NotFittedError, match=cls.__name__):
            estimator.transform()
        with pytest.raises(NotFittedError, match=cls.__name__):
            estimator.get_feature_names_out()


@pytest.mark.parametrize("other", OTHERS)
@every_estimator
def test_rows_unlike_those_of_fit(cls, other):
    X, new, words = OTHERS[other]
    estimator = small(cls).fit(X, LABELS if X is TABLE else DIGITS)
    before = joblib.hash(vars(estimator))
    for method in (
        "transform",
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    ):
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
