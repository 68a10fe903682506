"""What is trained on condensed sets: networks and scikit-learn's classifiers, by name."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from sklearn.base import BaseEstimator, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from m3d_sklearn.core.networks import NETWORKS, auto_network, build
from m3d_sklearn.core.randomness import Stream

__all__ = ["ESTIMATORS", "TRANSFER", "Model", "fitting", "resolve_models"]

ESTIMATORS: dict[str, Callable[[], BaseEstimator]] = {
    "knn": lambda: KNeighborsClassifier(1),
    "svm": SVC,
    "logistic": lambda: LogisticRegression(max_iter=1000),
}
TRANSFER = (*NETWORKS, *ESTIMATORS)

# A network's name, a factory of one, or a classifier.
Model: TypeAlias = str | Callable[..., Any] | BaseEstimator


def resolve_models(models: str | Iterable[str] | Mapping[str, Any]) -> dict[str, Model]:
    """Names and what they stand for.

    Parameters
    ----------
    models : str, list of str, or dict
        "auto", names of NETWORKS and of ESTIMATORS, "transfer" for all of these, or a dict of
        name to a network's name, a factory of a module, or a classifier.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, no model, or another object.
    """
    if isinstance(models, str):
        models = [models]
    if isinstance(models, (BaseEstimator, type)) or not isinstance(models, Iterable):
        raise TypeError(
            "models must be names, or a dict of name to a factory of a network or a classifier; "
            f"got {models!r}."
        )
    if not isinstance(models, Mapping):
        names = [n for name in models for n in (TRANSFER if name == "transfer" else (name,))]
        models = {name: name for name in names}
    chosen = {str(name): _resolve(value) for name, value in models.items()}
    if not chosen:
        raise ValueError("models must name at least one network or classifier; got none.")
    return chosen


def fitting(
    models: Mapping[str, Model], shape: tuple[int, ...], dataset: str, optional: Container[str] = ()
) -> dict[str, Model]:
    """The models that can take rows of a shape; the others are optional, or an error.

    "auto" is left out where the network that it stands for is there too.

    Parameters
    ----------
    models : dict
        Of :func:`resolve_models`.
    shape : tuple of int
        (c, h, w) or (d,).
    dataset : str
        For the error.
    optional : container of str
        Names that are left out where they do not fit.

    Raises
    ------
    ValueError
        Naming the model, the data set, and what the network needs.
    """
    chosen = {}
    stands_for = auto_network(shape)
    for name, model in models.items():
        if name == model == "auto" and models.get(stands_for) == stands_for:
            continue
        if not isinstance(model, BaseEstimator):
            spec = stands_for if model == "auto" else model
            try:
                build(spec, shape, 2, Stream(0, torch.device("cpu")))
            except ValueError as error:
                if name in optional:
                    continue
                raise ValueError(f"models: {name!r} cannot train on {dataset}: {error}") from error
        chosen[name] = model
    return chosen


def _resolve(value: Any) -> Model:
    if isinstance(value, str):
        if value in ESTIMATORS:
            return ESTIMATORS[value]()
        if value == "auto" or value in NETWORKS:
            return value
        raise ValueError(
            f"models must be of {['auto', *TRANSFER, 'transfer']}, or a dict of name to a factory "
            f"of a network or a classifier; got {value!r}."
        )
    if isinstance(value, BaseEstimator):
        if not is_classifier(value):
            raise TypeError(f"models must hold classifiers; got {type(value).__name__}.")
        return value
    if isinstance(value, type) and issubclass(value, BaseEstimator):
        raise TypeError(f"models must hold classifiers, not classes; got {value.__name__}.")
    if not callable(value):
        raise TypeError(
            "models must hold names, factories of a network, or classifiers; got "
            f"{type(value).__name__}."
        )
    return value
