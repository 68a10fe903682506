"""CondensedSampler: a condenser as a step of imbalanced-learn's pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import check_random_state

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import HasMethods
from m3d_sklearn.condensed_classifier import check_condenser, seeded
from m3d_sklearn.condensers import M3DCondenser

__all__ = ["CondensedSampler"]


class CondensedSampler(MetaEstimatorMixin, BaseEstimator):
    """Replace the training rows by a condensed set, in imbalanced-learn's pipelines.

    ``imblearn.pipeline.make_pipeline(CondensedSampler(M3DCondenser(ipc=10)), SVC())`` trains
    the SVC on the condensed rows. Scikit-learn's own pipelines take no step that changes
    the number of rows: use :class:`CondensedClassifier` there. imbalanced-learn is not
    needed to import or use this class.

    Parameters
    ----------
    condenser : condenser or selector, default=None
        Cloned before use. None is ``M3DCondenser()``. A nested parameter, such as
        ``condenser__ipc``, needs a condenser that is given.
    random_state : int, RandomState or None, default=None
        Seeds the condenser where its own ``random_state`` is None.

    Attributes
    ----------
    condenser_ : fitted condenser
        Of the last ``fit_resample``.
    sampling_strategy_ : dict
        Rows of each class in the result: stored rows times factor².
    n_features_in_ : int
        Values in a row of X.
    feature_names_in_ : ndarray
        Column names, where X was a DataFrame of string names.
    sample_shape_in_ : tuple of int
        Shape of a row of X.

    See Also
    --------
    CondensedClassifier : Condenser and classifier in one estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import CondensedSampler, KCenter
    >>> X, y = load_iris(return_X_y=True)
    >>> X_c, y_c = CondensedSampler(KCenter(ipc=3)).fit_resample(X, y)
    >>> X_c.shape
    (9, 4)
    """

    _estimator_type = "sampler"
    _sampling_type = "bypass"
    _parameter_constraints: dict[str, list[Any]] = {
        "condenser": [HasMethods(["fit", "transform"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self, condenser: Any = None, *, random_state: int | np.random.RandomState | None = None
    ) -> None:
        self.condenser = condenser
        self.random_state = random_state

    @validation.fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any) -> CondensedSampler:
        """Fit the condenser; :meth:`fit_resample` gives its set as well.

        Parameters
        ----------
        X : array-like, DataFrame or Tensor
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        condenser = seeded(self.condenser, M3DCondenser, check_random_state(self.random_state))
        condenser.fit(X, y)
        check_condenser(condenser)
        _, y_c = condenser.transform()
        self.condenser_ = condenser
        names, counts = np.unique(np.asarray(y_c), return_counts=True)
        self.sampling_strategy_ = dict(zip(names.tolist(), counts.tolist(), strict=True))
        validation.adopt_attributes(self, condenser)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Condense X and y.

        Parameters
        ----------
        X : array-like, DataFrame or Tensor
            As for the condenser, images too.
        y : array-like of shape (n,)

        Returns
        -------
        X_c, y_c
            The set ready to train on (mosaics decoded), in X's and y's containers.
        """
        return self.fit(X, y).condenser_.transform()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "sampler"
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags
