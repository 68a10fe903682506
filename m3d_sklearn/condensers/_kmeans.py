"""Centres of k-means, fitted to each class alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from m3d_sklearn._validation import Integral, Interval, TrainingData
from m3d_sklearn.base import BaseCondenser, Result, Task
from m3d_sklearn.ipc import clamp_ipc

__all__ = ["KMeansCenters"]


class KMeansCenters(BaseCondenser):
    """Condense each class into the centres of its k-means clusters.

    The centres are means of rows, and so no rows of X: of images they are blurred. At
    ``ipc=1`` the centre is the mean of the class.

    .. warning::
       A condenser is a transformer, so in a plain pipeline the next step is trained on all
       rows of X; see :class:`M3DCondenser`.

    Parameters
    ----------
    ipc : int, dict or callable, default=10
        Centres of each class: a number, a dict naming every class, or a callable from y to
        such a dict or Series. A class with fewer distinct rows gives all of those, with a
        UserWarning.
    n_init : int, default=3
        Runs of k-means for each class, of which the one with the least inertia counts.
    max_iter : int, default=300
        Most iterations of a run.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels.
    device : str or torch.device, default="auto"
        Checked, for the interface; k-means runs on the CPU.
    random_state : int, RandomState or None, default=None
        Decides where the runs begin. The same number gives the same bits.

    Attributes
    ----------
    condensed_ : CondensedSet
        The centres: unpacks as ``X_c, y_c``.
    inertia_ : float
        Sum of squared distances, in units, from each row of X to the nearest centre of its
        class.
    n_iter_ : int
        Most iterations of the runs that counted, one per class.
    classes_ : ndarray of shape (n_classes,)
    ipc_ : dict
        Centres of each class.
    params_ : dict
        Parameters, with what each "auto" came to.
    bandwidth_ : float
        Of the similarities that ``transform(X)`` gives.
    n_features_in_ : int
        Values in a row of X.
    feature_names_in_ : ndarray
        Column names, where X was a DataFrame of string names.
    sample_shape_in_ : tuple of int
        Shape of a row of X.

    See Also
    --------
    Herding, KCenter : Coresets, which keep rows of X.
    M3DCondenser : Matches more of a class than where its rows are.

    Notes
    -----
    scikit-learn's ``KMeans`` on the units of each class (images in [0, 1], columns
    standardised), in float64 and on one thread: sums over several threads differ in the
    last digits from run to run, and a tie can turn on them.

    O(`n_init`·`max_iter`·ipc·n·d) time at most, and memory for the float64 values of the
    largest class. Centres of integer images are rounded after all.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import KMeansCenters
    >>> X, y = load_iris(return_X_y=True)
    >>> X_c, y_c = KMeansCenters(ipc=1, random_state=0).fit(X, y).condensed_
    >>> X_c.round(2).tolist()[0], X[y == 0].mean(0).round(2).tolist()
    ([5.01, 3.43, 1.46, 0.25], [5.01, 3.43, 1.46, 0.25])
    """

    _parameter_constraints: dict[str, list[Any]] = BaseCondenser._parameter_constraints | {
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any] = 10,
        *,
        n_init: int = 3,
        max_iter: int = 300,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.ipc = ipc
        self.n_init = n_init
        self.max_iter = max_iter
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.device = device
        self.random_state = random_state

    def _stored_rows(self, ipc: np.ndarray, data: TrainingData) -> np.ndarray:
        """No more than a class has distinct rows: further centres would be repeats."""
        distinct = [
            _count_distinct((data.rows[i : i + 1] for i in np.flatnonzero(data.labels == c)), count)
            for c, count in enumerate(ipc)
        ]
        of_distinct = replace(data, labels=np.repeat(np.arange(len(ipc)), distinct))
        return clamp_ipc(ipc, of_distinct, type(self).__name__, "distinct rows")

    def _condense(self, task: Task) -> Result:
        with threadpool_limits(1):
            fitted = [self._fit_class(task, c) for c in range(len(task.ipc))]
        centres = np.concatenate([own.centres for own in fitted])
        values = task.units.to_values(centres.reshape(-1, *task.data.layout.canonical_shape))
        attributes = {
            "inertia_": float(sum(own.inertia for own in fitted)),
            "n_iter_": max(own.n_iter for own in fitted),
        }
        labels = np.repeat(np.arange(len(task.ipc)), task.ipc)
        return Result(values, labels, self._params(task), attributes=attributes)

    def _fit_class(self, task: Task, c: int) -> _Centres:
        rows = task.data.rows[np.flatnonzero(task.data.labels == c)]
        units = task.units.to_units(rows, np.float64).reshape(len(rows), -1)
        seed = task.stream.seed() % 2**32
        if task.ipc[c] == 1:
            mean = units.mean(0, keepdims=True)
            return _Centres(mean, float(np.square(units - mean).sum()), 1)
        k_means = KMeans(
            int(task.ipc[c]),
            n_init=self.n_init,
            max_iter=self.max_iter,
            copy_x=False,
            random_state=seed,
        ).fit(units)
        return _Centres(k_means.cluster_centers_, k_means.inertia_, k_means.n_iter_)


class _Centres(NamedTuple):
    """What k-means finds in one class; its mean, where one centre is asked for."""

    centres: np.ndarray
    inertia: float
    n_iter: int


def _count_distinct(rows: Iterable[np.ndarray], enough: int) -> int:
    """Count distinct rows, and look no further once there are enough."""
    seen: set[bytes] = set()
    for row in rows:
        seen.add((row + 0.0).tobytes())  # −0.0 and 0.0 are one number
        if len(seen) == enough:
            break
    return len(seen)
