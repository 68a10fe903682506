"""BaseCondenser: everything that condensers and selectors share.

A method writes ``_condense`` alone: from a checked :class:`Task` to a :class:`Result`.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field
from typing import Any, Self, overload

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from m3d_sklearn import __about__
from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral, Interval, StrOptions, TrainingData
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.distributed import ranks
from m3d_sklearn.core.host_rows import HostRows, StreamedPools
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.device_rows import held_or_read
from m3d_sklearn.ipc import resolve_ipc
from m3d_sklearn.layout import BLOCK, Units
from m3d_sklearn.row_source import fingerprint_of
from m3d_sklearn.storage import plain

__all__ = ["BaseCondenser", "Result", "Task", "make_pools", "versions"]

BLOCK_ROWS = 4096  # rows of X that transform turns into units at a time
SMALLEST = float(np.finfo(np.float64).tiny ** 0.5)  # that a mean squared distance may be


@dataclass(frozen=True)
class Task:
    """What a method is given: checked data, their scale, and resolved choices."""

    X: Any
    y: Any
    data: TrainingData
    ipc: np.ndarray
    device: torch.device
    stream: Stream

    @property
    def units(self) -> Units:
        return self.data.units


@dataclass(frozen=True)
class Result:
    """What a method gives back.

    Attributes
    ----------
    values : ndarray
        Canonical rows in X's own values, class by class.
    labels : ndarray
    params : dict
        Parameters with every "auto" resolved.
    factor : int
    attributes : dict
        Further fitted attributes.
    soft_labels : ndarray or None
        Of the decoded rows, where the method was asked for them.
    """

    values: np.ndarray
    labels: np.ndarray
    params: dict[str, Any]
    factor: int = 1
    attributes: dict[str, Any] = field(default_factory=dict)
    soft_labels: np.ndarray | None = None


class _TransformWithoutRows:
    """Lets ``transform()`` without rows give the set to train on.

    scikit-learn wraps ``transform`` for ``set_output``, and its wrapper needs X. A class
    that comes before scikit-learn's mixins wraps it once more.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "transform" not in vars(cls):
            return
        similarities = vars(cls)["transform"]

        @functools.wraps(similarities)
        def transform(self: Any, X: Any = None) -> Any:
            if X is None:
                check_is_fitted(self)
                return self.condensed_.decode()
            return similarities(self, X)

        cls.transform = transform  # type: ignore[attr-defined]


class BaseCondenser(
    _TransformWithoutRows,
    validation.CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base of all condensers and selectors; not for direct use."""

    _parameter_constraints: dict[str, list[Any]] = {
        "ipc": [Interval(Integral, 1, None, closed="left"), dict, callable],
        "image_shape": [tuple, list, None],
        "channel_axis": [StrOptions({"auto"}), Integral, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    condensed_: CondensedSet
    classes_: np.ndarray
    ipc_: dict[Any, int]
    params_: dict[str, Any]
    bandwidth_: float
    n_features_in_: int
    feature_names_in_: np.ndarray
    sample_shape_in_: tuple[int, ...]

    @validation.fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Make the condensed set.

        Parameters
        ----------
        X : array-like, DataFrame, Tensor or Dataset
            (n, d), (n, h, w), (n, h, w, c) or (n, c, h, w); any real dtype. Memory maps,
            arrays in files and map-style data sets of PyTorch are not read whole.
        y : array-like of shape (n,)
            Class labels: integers, strings or categories. None takes a data set's own.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Before any work, with an earlier fit left whole: the parameter or input, what
            is allowed and what came.
        """
        device = resolve_device(self.device)
        others = ranks()
        data = others.together(
            lambda: validation.check_training_data(
                self, X, y, image_shape=self.image_shape, channel_axis=self.channel_axis
            )
        )
        if others.size > 1:
            own = {"X and y": fingerprint_of(data.rows, data.labels), **self._shared_params()}
            _check_same(others.collect(own))
        ipc = self._stored_rows(resolve_ipc(self.ipc, data), data)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        seed = others.agree(seed)
        task = Task(X, y, data, ipc, device, Stream(seed, device))
        result = self._condense(task)
        fitted = self._fitted(task, result)
        validation.take_attributes(self, data)
        for name, value in fitted.items():
            setattr(self, name, value)
        return self

    def _shared_params(self) -> dict[str, Any]:
        """Parameters that processes of one fit must have alike, those that can be compared."""
        own = {"device", "random_state", "verbose"}
        plain = (bool, int, float, str, type(None))
        return {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in own and isinstance(value, plain)
        }

    def _condense(self, task: Task) -> Result:
        raise NotImplementedError  # pragma: no cover - a method writes this

    def _stored_rows(self, ipc: np.ndarray, data: TrainingData) -> np.ndarray:
        """Stored rows of each class, with a UserWarning where they are no fewer than X's.

        Selectors take fewer where a class is small.
        """
        stored, given = int(ipc.sum()), len(data.rows)
        if stored >= given:
            warnings.warn(
                f"the condensed set has {stored} rows and X {given}; a smaller ipc condenses it.",
                stacklevel=4,
            )
        return ipc

    def _params(self, task: Task) -> dict[str, Any]:
        """Every parameter of the estimator, with what "auto" came to for all methods."""
        return self.get_params(deep=False) | {
            "ipc": dict(zip(task.data.classes.tolist(), task.ipc.tolist(), strict=True)),
            "device": str(task.device),
            "random_state": plain(self.random_state),
        }

    def _fitted(self, task: Task, result: Result) -> dict[str, Any]:
        """Fitted attributes that a result comes to."""
        data, given = task.data, self.random_state
        params = result.params | {"channel_axis": data.layout.array_channel_axis}
        condensed = CondensedSet(
            data.layout.from_rows(result.values),
            data.target.restore(data.classes[result.labels]),
            data.classes,
            data.layout,
            task.units,
            data.target,
            factor=result.factor,
            method=type(self).__name__,
            params=params,
            random_state=int(given) if isinstance(given, Integral) else None,
            fingerprint=fingerprint_of(data.rows, data.labels),
            versions=versions(),
            soft_labels=result.soft_labels,
        )
        decoded = _decoded_rows(condensed)
        return {
            "condensed_": condensed,
            "ipc_": dict(zip(data.classes.tolist(), task.ipc.tolist(), strict=True)),
            "params_": params,
            "bandwidth_": _spread(condensed.units, decoded),
            "_n_features_out": len(decoded),
            **result.attributes,
        }

    @overload
    def transform(self) -> tuple[Any, Any]: ...

    @overload
    def transform(self, X: Any) -> np.ndarray: ...

    def transform(self, X: Any = None) -> Any:
        """Similarities of X's rows to the condensed rows; without X, the set to train on.

        Parameters
        ----------
        X : array-like of shape (n, ...), optional
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n, n_decoded), or (X_c, y_c)
            ``exp(−‖u − v‖² / bandwidth_)`` of u, a row of X, and v, a decoded condensed
            row, both in units (images: [0, 1]; tables: standardised). Without X, the pair
            ``condensed_.decode()``.

        Raises
        ------
        NotFittedError, ValueError
        """
        check_is_fitted(self)
        X = validation.to_numpy(X)
        rows = validation.check_new_rows(self, X)
        dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
        units = self.condensed_.units
        decoded = _flat_units(units, _decoded_rows(self.condensed_))
        blocks = [
            rbf_kernel(_flat_units(units, rows[i : i + BLOCK_ROWS]), decoded, 1 / self.bandwidth_)
            for i in range(0, len(rows), BLOCK_ROWS)
        ]
        return np.concatenate(blocks).astype(dtype, copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def make_pools(task: Task, cache: int | str = "auto") -> ClassPools:
    """The training rows: on the device if `cache` holds them, else read as they are drawn.

    8-bit images as they came, the rest in units.
    """
    rows, scale = held_or_read(task.data.rows, task.units, task.device, cache)
    labels = torch.from_numpy(task.data.labels).to(task.device)
    kind: Any = StreamedPools if isinstance(rows, HostRows) else ClassPools
    return kind(rows, labels, len(task.data.classes), scale)


def _check_same(given: list[dict[str, Any]]) -> None:
    """Whether all processes have the same data and parameters; every one of them can tell."""
    for name, value in given[0].items():
        differing = [rank for rank, own in enumerate(given) if own.get(name) != value]
        if differing:
            raise ValueError(
                f"{name} must be the same in all processes of distributed(); the ranks "
                f"{differing} have others than rank 0."
            )


def _spread(units: Units, rows: np.ndarray) -> float:
    """Mean of ‖u − v‖² over pairs of different rows, in units, in float64, block by block."""
    step = max(1, BLOCK // rows[0].size)
    starts = range(0, len(rows), step)
    mean = sum(_flat_units(units, rows[i : i + step]).sum(0) for i in starts) / len(rows)
    scatter = sum(np.square(_flat_units(units, rows[i : i + step]) - mean).sum() for i in starts)
    # Identical rows have no scale of their own: any positive one makes them alike.
    return max(float(2 * scatter / (len(rows) - 1)), SMALLEST)


def _decoded_rows(condensed: CondensedSet) -> np.ndarray:
    X, _ = condensed.decode()
    return condensed.layout.to_rows(np.asarray(X))


def _flat_units(units: Units, rows: np.ndarray) -> np.ndarray:
    """Units in float64, (n, d): single precision would show in scikit-learn's checks."""
    return ((rows.astype(np.float64, order="C") - units.shift) / units.width).reshape(len(rows), -1)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "m3d_sklearn": __about__.__version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
