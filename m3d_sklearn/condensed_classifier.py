"""CondensedClassifier: any classifier, trained on a condensed set."""

from __future__ import annotations

import copy
from typing import Any

import joblib
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    clone,
    is_classifier,
)
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, check_memory, has_fit_parameter

from m3d_sklearn import __about__
from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import HasMethods
from m3d_sklearn.classifier import SEEDS, NetworkClassifier
from m3d_sklearn.condensers import M3DCondenser

__all__ = ["CondensedClassifier", "check_condenser", "seeded"]


def _final_has(method: str) -> Any:
    def check(self: CondensedClassifier) -> bool:
        # raises the AttributeError that names it
        getattr(getattr(self, "estimator_", _chosen(self.estimator)), method)
        return True

    return available_if(check)


def _chosen(estimator: Any) -> Any:
    # An ensemble that is not fitted has no truth value.
    return NetworkClassifier() if estimator is None else estimator


def _fit_condenser(condenser: Any, X: Any, y: Any, version: str, watched: Any) -> Any:
    """Fit `watched`, the condenser with its callbacks.

    `condenser` and `version`, of this package, are what the cache looks at beside the data.
    """
    fitted = copy.copy(watched.fit(X, y))
    for name in ("_skl_callbacks", "_parent_callback_ctx"):
        vars(fitted).pop(name, None)
    return fitted


class CondensedClassifier(
    validation.CallbackSupportMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Condense, then train a classifier on the condensed rows alone.

    The way to use a condenser in a ``Pipeline``, in ``GridSearchCV`` (``condenser__ipc``,
    ``estimator__C``) and ``cross_val_score``.

    Parameters
    ----------
    condenser : condenser or selector, default=None
        Cloned before use. None is ``M3DCondenser()``. A nested parameter, such as
        ``condenser__ipc``, needs a condenser that is given, and so with the estimator.
    estimator : classifier, default=None
        Cloned before use. Images are flattened for it unless it takes them as they are.
        None is ``NetworkClassifier()``. One whose ``fit`` takes `soft_labels`, as that
        does, gets the set's where it has them.
    memory : str or joblib.Memory, default=None
        Caches fitted condensers, so that a grid over the estimator's parameters condenses
        each fold once. Results stay the same; time falls. Give the condenser a
        ``random_state``.
    random_state : int, RandomState or None, default=None
        Seeds the condenser and the estimator where their own ``random_state`` is None.

    Attributes
    ----------
    condenser_ : fitted condenser
    estimator_ : fitted classifier
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
        Values in a row of X.
    feature_names_in_ : ndarray
        Column names, where X was a DataFrame of string names.
    sample_shape_in_ : tuple of int
        Shape of a row of X.

    See Also
    --------
    CondensedSampler : The same for imbalanced-learn's pipelines.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from m3d_sklearn import CondensedClassifier, Herding
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = CondensedClassifier(Herding(ipc=10), LogisticRegression(max_iter=1000))
    >>> bool(cross_val_score(classifier, X, y, cv=3).mean() > 0.85)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "condenser": [HasMethods(["fit", "transform"]), None],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "memory": [str, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        condenser: Any = None,
        estimator: Any = None,
        *,
        memory: str | joblib.Memory | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.condenser = condenser
        self.estimator = estimator
        self.memory = memory
        self.random_state = random_state

    @validation.fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> CondensedClassifier:
        """Condense X and y, and train the estimator on the result.

        Parameters
        ----------
        X : array-like, DataFrame, Tensor or Dataset
            As for the condenser.
        y : array-like of shape (n,)

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As the condenser and the estimator do, and where the estimator is no classifier.
        """
        random_state = check_random_state(self.random_state)
        condenser = seeded(self.condenser, M3DCondenser, random_state)
        estimator = seeded(self.estimator, NetworkClassifier, random_state)
        if not is_classifier(estimator):
            raise TypeError(f"estimator must be a classifier; got {type(estimator).__name__}.")
        fit_condenser = check_memory(self.memory).cache(_fit_condenser, ignore=["watched"])
        watched = copy.copy(condenser)
        with validation.propagated_callbacks(self, watched, X, y):
            condenser = fit_condenser(condenser, X, y, __about__.__version__, watched)
        check_condenser(condenser)
        X_c, y_c = condenser.transform()
        soft, more = condenser.condensed_.soft_labels, {}
        if soft is not None and has_fit_parameter(estimator, "soft_labels"):
            more = {"soft_labels": soft}
        estimator.fit(_for_estimator(estimator, X_c), y_c, **more)
        self.condenser_, self.estimator_ = condenser, estimator
        self.classes_ = condenser.classes_
        validation.adopt_attributes(self, condenser)
        return self

    def _call(self, method: str, X: Any) -> Any:
        check_is_fitted(self)
        X = validation.to_numpy(X)
        rows = validation.check_new(self, X)
        if not hasattr(X, "columns"):  # a DataFrame goes on as one, with its names
            X = rows
        return getattr(self.estimator_, method)(_for_estimator(self.estimator_, X))

    @_final_has("predict")
    def predict(self, X: Any) -> np.ndarray:
        """Labels, by the trained estimator."""
        return self._call("predict", X)

    @_final_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, where the estimator gives them."""
        return self._call("predict_proba", X)

    @_final_has("predict_proba")
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, where the estimator gives those."""
        check_is_fitted(self)
        if hasattr(self.estimator_, "predict_log_proba"):
            return self._call("predict_log_proba", X)
        return np.log(self.predict_proba(X))

    @_final_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values, where the estimator gives them."""
        return self._call("decision_function", X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = validation.takes_images(_chosen(self.estimator))
        return tags


def seeded(estimator: Any, default: type, random_state: np.random.RandomState) -> Any:
    """A clone, or the default, whose random_state is set where it was None."""
    estimator = default() if estimator is None else clone(estimator)
    open_seeds = [
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    estimator.set_params(**{name: int(random_state.randint(SEEDS)) for name in open_seeds})
    return estimator  # a frozen estimator's set_params gives None


def check_condenser(condenser: Any) -> None:
    """Raise a TypeError unless a fitted estimator has a condensed set."""
    if not hasattr(condenser, "condensed_"):
        raise TypeError(
            "condenser must be a condenser or selector, which sets condensed_ in fit; got "
            f"{type(condenser).__name__}."
        )


def _for_estimator(estimator: Any, X: Any) -> Any:
    """X as it is where the estimator takes images, else a row of numbers each."""
    if np.ndim(X) <= 2 or validation.takes_images(estimator):
        return X
    return np.asarray(X).reshape(len(X), -1)
