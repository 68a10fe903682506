"""Coresets: rows of X chosen by rule, behind the condensers' interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.utils.validation import check_memory
from torch import Tensor

from m3d_sklearn._validation import HasMethods, Integral, Interval, StrOptions, TrainingData
from m3d_sklearn.base import BaseCondenser, Result, Task
from m3d_sklearn.classifier import make_recipe
from m3d_sklearn.core.coresets import PassedRows, herd, k_center
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.networks import NETWORKS, auto_network, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.features import given_features, network_features, pixel_features
from m3d_sklearn.ipc import clamp_ipc
from m3d_sklearn.row_source import fingerprint_of

__all__ = ["Herding", "KCenter", "Random"]


class _Selector(BaseCondenser):
    """Base of selectors: a method writes ``_select`` alone."""

    sample_indices_: np.ndarray

    def _stored_rows(self, ipc: np.ndarray, data: TrainingData) -> np.ndarray:
        return clamp_ipc(ipc, data, type(self).__name__)

    def _condense(self, task: Task) -> Result:
        labels = task.data.labels
        features = self._features(task)
        chosen = []
        for c, count in enumerate(task.ipc):
            members = np.flatnonzero(labels == c)
            rows = None if features is None else features(members)
            chosen.append(members[self._select(rows, len(members), int(count), task)])
        indices = np.concatenate(chosen)
        params = self._params(task)
        return Result(
            task.data.rows[indices],
            labels[indices],
            params,
            attributes={"sample_indices_": indices},
        )

    def _features(self, task: Task) -> Callable[[np.ndarray], Tensor | PassedRows] | None:
        """Row numbers to (n, d) features, or None where the rule looks at none."""
        return None

    def _select(self, features: Any, n: int, count: int, task: Task) -> np.ndarray:
        """Places of the chosen among the n rows of one class, in the order of selection."""
        raise NotImplementedError  # pragma: no cover - a method writes this


class Random(_Selector):
    """Keep `ipc` rows of each class, drawn uniformly without replacement.

    .. warning::
       A selector is a transformer, so in a plain pipeline the next step is trained on all
       rows of X; see :class:`M3DCondenser`.

    Parameters
    ----------
    ipc : int, dict or callable, default=10
        Rows of each class: a number, a dict naming every class, or a callable from y to
        such a dict or Series. A smaller class gives all it has, with a UserWarning.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels.
    device : str or torch.device, default="auto"
        Checked, for the interface; drawing costs nothing.
    random_state : int, RandomState or None, default=None
        Decides the rows.

    Attributes
    ----------
    condensed_ : CondensedSet
        The chosen rows: unpacks as ``X_c, y_c``.
    sample_indices_ : ndarray of shape (sum(ipc_),)
        Their places in X, class by class.
    classes_ : ndarray of shape (n_classes,)
    ipc_ : dict
        Rows kept of each class.
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
    Herding, KCenter : Coresets that look at the rows.
    M3DCondenser : Makes new rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import Random
    >>> X, y = load_iris(return_X_y=True)
    >>> selector = Random(ipc=2, random_state=0).fit(X, y)
    >>> selector.sample_indices_.shape
    (6,)
    """

    def __init__(
        self,
        ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any] = 10,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.ipc = ipc
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.device = device
        self.random_state = random_state

    def _select(self, features: Any, n: int, count: int, task: Task) -> np.ndarray:
        return task.stream.permutation(n)[:count].cpu().numpy()


class _FeatureSelector(_Selector):
    """Base of selectors that follow distances between features."""

    _parameter_constraints: dict[str, list[Any]] = _Selector._parameter_constraints | {
        "features": [str, callable],
        "feature_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any] = 10,
        *,
        features: str | Callable[[Any], Any] = "pixels",
        feature_epochs: str | int = "auto",
        memory: str | joblib.Memory | None = None,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.ipc = ipc
        self.features = features
        self.feature_epochs = feature_epochs
        self.memory = memory
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @staticmethod
    def _rule(features: Tensor | PassedRows, k: int) -> Tensor:
        raise NotImplementedError  # pragma: no cover - a method writes this

    def _features(self, task: Task) -> Callable[[np.ndarray], Tensor | PassedRows]:
        if not callable(self.features) and self.features == "pixels":
            return partial(pixel_features, task.data.rows, task.units, task.device)
        features = self._of_all_rows(task)
        return lambda members: torch.from_numpy(features[members]).to(task.device)

    def _of_all_rows(self, task: Task) -> np.ndarray:
        data = task.data
        if callable(self.features):
            return given_features(self.features(task.X), len(data.rows))
        network, epochs = self._trained(task)
        cached = check_memory(self.memory).cache(
            network_features, ignore=["rows", "labels", "verbose"]
        )
        return cached(
            data.rows,
            data.labels,
            data="" if self.memory is None else fingerprint_of(data.rows, data.labels),
            network=network,
            epochs=epochs,
            seed=task.stream.seed() % 2**32,
            device=str(resolve_device(self.device)),
            verbose=self.verbose,
        )

    def _trained(self, task: Task) -> tuple[str, int]:
        """Name and epochs of the network that gives the features."""
        shape = task.data.layout.canonical_shape
        network = auto_network(shape) if self.features == "auto" else self.features
        if network not in NETWORKS:
            raise ValueError(
                f"features must be 'pixels', 'auto', one of {sorted(NETWORKS)} or a callable; got "
                f"{network!r}."
            )
        try:
            build(network, shape, 2, Stream(0, torch.device(task.device)))
        except ValueError as error:
            raise ValueError(f"features={network!r}: {error}") from error
        rows = len(task.data.rows)
        return network, make_recipe(shape, rows, protocol="m3d", epochs=self.feature_epochs)[1]

    def _params(self, task: Task) -> dict[str, Any]:
        params = super()._params(task)
        if not callable(self.features) and self.features != "pixels":
            params["features"], params["feature_epochs"] = self._trained(task)
        return params

    def _select(self, features: Any, n: int, count: int, task: Task) -> np.ndarray:
        return self._rule(features, count).cpu().numpy()


class Herding(_FeatureSelector):
    """Keep the rows whose running mean follows their class's mean.

    After k rows the next is the one that minimises ‖(k + 1)·μ − Σ chosen − f(x)‖ [1]_.

    .. warning::
       A selector is a transformer, so in a plain pipeline the next step is trained on all
       rows of X; see :class:`M3DCondenser`.

    Parameters
    ----------
    ipc : int, dict or callable, default=10
        Rows of each class: a number, a dict naming every class, or a callable from y to
        such a dict or Series. A smaller class gives all it has, with a UserWarning.
    features : str or callable, default="pixels"
        What distances are measured in. "pixels": X itself, images in [0, 1], columns
        standardised. A network's name ("auto", "convnet", "mlp", "resnet10", "resnet18",
        "densenet121"): its last features after training on all of X, as in the tables of
        the field. A callable gets X as given and returns (n, d) numbers.
    feature_epochs : int or "auto", default="auto"
        Epochs of that network's training; "auto" is as in :class:`NetworkClassifier`. Only
        read where `features` names a network.
    memory : str or joblib.Memory, default=None
        Caches the network's features, so that another ipc or rule trains it once. Only
        read where `features` names a network.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Seeds the network's training; without a network nothing is drawn.
    verbose : int, default=0
        Shows a progress bar of that training. Changes what is printed, not the result.

    Attributes
    ----------
    condensed_ : CondensedSet
        The chosen rows: unpacks as ``X_c, y_c``.
    sample_indices_ : ndarray of shape (sum(ipc_),)
        Their places in X, class by class, in the order of selection.
    classes_ : ndarray of shape (n_classes,)
    ipc_ : dict
        Rows kept of each class.
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
    KCenter : Covers a class instead of following its mean.
    M3DCondenser : Makes new rows.

    Notes
    -----
    O(ipc·n·d) time and O(n·d) memory. Of rows that are not in memory, pixels of a class that
    take more than 256 MB are read ipc + 1 times, block by block.

    References
    ----------
    .. [1] Welling. "Herding Dynamical Weights to Learn." ICML 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import Herding
    >>> X, y = load_iris(return_X_y=True)
    >>> Herding(ipc=1).fit(X, y).sample_indices_.tolist()
    [7, 71, 147]
    """

    _rule = staticmethod(herd)


class KCenter(_FeatureSelector):
    """Keep rows that cover their class: each is the farthest from those before it.

    The first is the row nearest the class's mean; greedy k-center [1]_.

    .. warning::
       A selector is a transformer, so in a plain pipeline the next step is trained on all
       rows of X; see :class:`M3DCondenser`.

    Parameters
    ----------
    ipc : int, dict or callable, default=10
        Rows of each class: a number, a dict naming every class, or a callable from y to
        such a dict or Series. A smaller class gives all it has, with a UserWarning.
    features : str or callable, default="pixels"
        What distances are measured in. "pixels": X itself, images in [0, 1], columns
        standardised. A network's name ("auto", "convnet", "mlp", "resnet10", "resnet18",
        "densenet121"): its last features after training on all of X, as in the tables of
        the field. A callable gets X as given and returns (n, d) numbers.
    feature_epochs : int or "auto", default="auto"
        Epochs of that network's training; "auto" is as in :class:`NetworkClassifier`. Only
        read where `features` names a network.
    memory : str or joblib.Memory, default=None
        Caches the network's features, so that another ipc or rule trains it once. Only
        read where `features` names a network.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Seeds the network's training; without a network nothing is drawn.
    verbose : int, default=0
        Shows a progress bar of that training. Changes what is printed, not the result.

    Attributes
    ----------
    condensed_ : CondensedSet
        The chosen rows: unpacks as ``X_c, y_c``.
    sample_indices_ : ndarray of shape (sum(ipc_),)
        Their places in X, class by class, in the order of selection.
    classes_ : ndarray of shape (n_classes,)
    ipc_ : dict
        Rows kept of each class.
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
    Herding : Follows the mean of a class instead of covering it.
    M3DCondenser : Makes new rows.

    Notes
    -----
    O(ipc·n·d) time and O(n·d) memory. Of rows that are not in memory, pixels of a class that
    take more than 256 MB are read ipc + 1 times, block by block.

    References
    ----------
    .. [1] Gonzalez. "Clustering to Minimize the Maximum Intercluster Distance." 1985.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import KCenter
    >>> X, y = load_iris(return_X_y=True)
    >>> KCenter(ipc=1).fit(X, y).sample_indices_.tolist()
    [7, 71, 147]
    """

    _rule = staticmethod(k_center)
