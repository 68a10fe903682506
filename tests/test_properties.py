"""What holds for every estimator, whatever data of the right form it is given."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from common import CONDENSERS, ESTIMATORS, name_of, quietly, small
from generated import CONTAINERS, NAMES, Data, counts, data, matching
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from m3d_sklearn import (
    CondensedClassifier,
    CondensedSampler,
    CondensedSet,
    Herding,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    NetworkClassifier,
    Random,
)

ORDINARY, MANY = 8, 100
SELECTORS = Random, Herding, KCenter, KMeansCenters  # give at most the rows that a class has

examples = pytest.mark.parametrize(
    "examples", [ORDINARY, pytest.param(MANY, marks=pytest.mark.slow)]
)
every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)
every_condenser = pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)


def holds(check: Callable[[Any], None], cls: type, examples: int) -> None:
    """Try a property: the ordinary examples are the same in every run, many are new ones."""
    ordinary = examples == ORDINARY
    trial = given(st.data())(check)
    if ordinary:  # examples of its own for each estimator
        trial = seed(zlib.crc32(cls.__name__.encode()))(trial)
    settings(
        max_examples=examples,
        deadline=None,
        derandomize=ordinary,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(trial)()


def drawn_estimator(draw: Callable[[Any], Any], cls: type, given: Data, **params: Any) -> Any:
    """An estimator with some parameters for a small fit of these data."""
    params = {"random_state": draw(st.integers(0, 9))} | params
    if cls is NetworkClassifier:
        network = draw(st.sampled_from(["auto", "mlp"]))
        return cls(
            network, max_iter=2, batch_size=draw(st.integers(1, 8)), **params, **given.images
        )
    if cls is CondensedClassifier:
        params.pop("ipc", None)
        last = NetworkClassifier(max_iter=1) if draw(st.booleans()) else LogisticRegression()
        return cls(M3DCondenser(2, max_iter=1, **given.images), last, **params)
    if cls is CondensedSampler:
        return cls(Herding(params.pop("ipc", 2), **given.images), **params)
    if hasattr(cls(), "preset"):
        params |= draw(matching(given))
    return small(cls, **params, **given.images)


def fitted(estimator: Any, X: Any, y: Any) -> Any:
    return quietly(estimator.fit, X, y)


def condensed_of(estimator: Any) -> CondensedSet | None:
    """The set in an estimator, None where it makes none."""
    return getattr(getattr(estimator, "condenser_", estimator), "condensed_", None)


def said(estimator: Any, X: Any) -> list[np.ndarray]:
    """All that a fitted estimator says of X, but for the names of the classes."""
    methods = ("predict_proba", "decision_function", "transform")
    found = [np.asarray(getattr(estimator, m)(X)) for m in methods if hasattr(estimator, m)]
    if hasattr(estimator, "predict"):
        found.append(np.searchsorted(estimator.classes_, estimator.predict(X)))
    condensed = condensed_of(estimator)
    if condensed is not None:
        found += [np.asarray(condensed.X), condensed.labels]
        if condensed.soft_labels is not None:
            found.append(condensed.soft_labels)
    return found


def same_bits(these: list[np.ndarray], those: list[np.ndarray]) -> None:
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        assert this.dtype == that.dtype
        np.testing.assert_array_equal(this, that, strict=True)


def kept(values: Any) -> Any:
    """A copy of what a container holds."""
    return values.clone() if isinstance(values, torch.Tensor) else np.array(values)


@examples
@every_condenser
def test_a_set_is_what_was_asked_for(cls, examples):
    def check(source: Any) -> None:
        own = source.draw(data())
        n_classes = len(own.sizes)
        kind = source.draw(st.sampled_from(sorted(NAMES)))
        X, y = own.X, own.named(kind)
        names = np.unique(np.asarray(y)).tolist()
        asked = source.draw(counts(n_classes))
        by_name = dict(zip(names, asked, strict=True))
        ipc = source.draw(st.sampled_from(["number", "dict", "callable"]))
        if ipc == "number":
            asked = [asked[0]] * n_classes
        ipc = {"number": asked[0], "dict": by_name, "callable": lambda y: by_name}[ipc]
        estimator = drawn_estimator(source.draw, cls, own, ipc=ipc)
        note(f"{estimator}")
        before = kept(X), kept(y)
        condensed = fitted(estimator, X, y).condensed_

        same_bits([X, np.asarray(y)], [before[0], np.asarray(before[1])])
        if cls in SELECTORS:
            asked = np.minimum(asked, own.sizes)
        expected = np.repeat(np.arange(n_classes), asked)
        assert estimator.classes_.tolist() == names
        assert np.asarray(condensed.y).tolist() == [names[place] for place in expected]
        assert condensed.ipc == estimator.ipc_ == dict(zip(names, asked, strict=True))
        decoded, labels = estimator.transform()
        assert np.asarray(labels).tolist() == [
            names[place] for place in np.repeat(expected, condensed.factor**2)
        ]
        whole = own.is_image or X.dtype.kind == "f"
        low, high = (bound(axis=None if own.is_image else 0) for bound in (X.min, X.max))
        for rows in (condensed.X, decoded):
            assert rows.dtype == (X.dtype if whole else np.float64)
            assert rows.shape == (len(rows), *X.shape[1:])
            assert np.isfinite(rows).all()
            assert ((rows >= low) & (rows <= high)).all()
        similar = estimator.transform(X)
        assert similar.shape == (len(X), len(decoded))
        assert ((similar >= 0) & (similar <= 1)).all()

        with tempfile.TemporaryDirectory() as folder:
            loaded = CondensedSet.load(condensed.save(Path(folder) / "set"))
        assert repr(loaded) == repr(condensed)
        assert loaded.ipc == condensed.ipc
        assert loaded.fingerprint == condensed.fingerprint
        assert (loaded.soft_labels is None) == (condensed.soft_labels is None)
        for this, that in [
            (loaded.X, condensed.X),
            (loaded.y, condensed.y),
            *zip(loaded.to_torch(), condensed.to_torch(), strict=True),
        ]:
            assert this.dtype == that.dtype
            assert type(this) is type(that)
            np.testing.assert_array_equal(np.asarray(this), np.asarray(that), strict=True)

    holds(check, cls, examples)


@examples
@every_estimator
def test_how_values_are_held_does_not_show(cls, examples):
    def check(source: Any) -> None:
        own = source.draw(data())
        kinds = [kind for kind, (suits, _) in CONTAINERS.items() if suits(own.X)]
        kind = source.draw(st.sampled_from(kinds))
        held = CONTAINERS[kind][1](own.X)
        estimator = drawn_estimator(source.draw, cls, own)
        note(f"{estimator}, {kind}")
        before = kept(held)
        one = fitted(estimator, own.X, own.places)
        other = fitted(clone(estimator), held, own.places)
        assert np.array_equal(before, kept(held))
        # What scikit-learn's own estimators make of an order in memory is their matter.
        foreign = isinstance(getattr(one, "estimator_", None), LogisticRegression)
        same_bits(said(other, own.X if foreign else held), said(one, own.X))
        if condensed_of(one) is not None:
            assert condensed_of(one).fingerprint == condensed_of(other).fingerprint

    holds(check, cls, examples)


@examples
@every_estimator
def test_other_names_of_the_classes_rename_y_alone(cls, examples):
    def check(source: Any) -> None:
        kinds = sorted(NAMES)
        n_classes = source.draw(st.integers(2, 4))
        if n_classes == 2:
            kinds.append("bools")
        own = source.draw(data(n_classes=n_classes))
        kind = source.draw(st.sampled_from(kinds))
        y = own.places == 1 if kind == "bools" else own.named(kind)
        estimator = drawn_estimator(source.draw, cls, own)
        note(f"{estimator}, {kind}")
        before = kept(y)
        one = fitted(estimator, own.X, own.places)
        other = fitted(clone(estimator), own.X, y)
        assert np.array_equal(np.asarray(before), np.asarray(y))
        same_bits(said(other, own.X), said(one, own.X))
        names = np.unique(np.asarray(y))
        if hasattr(other, "classes_"):
            assert other.classes_.dtype == names.dtype
            assert other.classes_.tolist() == names.tolist()
        if condensed_of(one) is not None:
            renamed = names[condensed_of(one).labels]
            assert np.asarray(condensed_of(other).y).tolist() == renamed.tolist()

    holds(check, cls, examples)


@examples
@every_estimator
def test_parameters_come_back(cls, examples):
    def check(source: Any) -> None:
        own = source.draw(data())
        estimator = drawn_estimator(source.draw, cls, own)
        params = estimator.get_params(deep=False)
        assert clone(estimator).get_params(deep=False).keys() == params.keys()
        assert repr(clone(estimator)) == repr(estimator) == repr(cls().set_params(**params))
        assert all(vars(estimator)[name] is value for name, value in params.items())
        again = cls(**params)
        assert all(again.get_params(deep=False)[name] is value for name, value in params.items())

    holds(check, cls, examples)


@examples
@pytest.mark.parametrize("cls", [NetworkClassifier, CondensedClassifier], ids=name_of)
def test_probabilities(cls, examples):
    def check(source: Any) -> None:
        own = source.draw(data())
        estimator = fitted(drawn_estimator(source.draw, cls, own), own.X, own.places)
        shares = estimator.predict_proba(own.X)
        assert shares.shape == (len(own.X), len(own.sizes))
        assert ((shares >= 0) & (shares <= 1)).all()
        rounding = 8 * np.finfo(shares.dtype).eps
        np.testing.assert_allclose(shares.sum(1), 1, rtol=rounding)
        told = shares[np.arange(len(shares)), estimator.predict(own.X)]
        np.testing.assert_allclose(told, shares.max(1), rtol=rounding)  # there may be ties

    holds(check, cls, examples)
