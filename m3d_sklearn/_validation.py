"""Checks of data and parameters: the only file that uses scikit-learn's private helpers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import _param_validation as parameters
from sklearn.utils import check_array, check_consistent_length, column_or_1d, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, validate_data

from m3d_sklearn.labels import check_labels
from m3d_sklearn.layout import Layout, Target, Units
from m3d_sklearn.layout_choice import choose_layout
from m3d_sklearn.naming import check_numbers, column_names
from m3d_sklearn.row_source import ArraySource, DatasetSource, LazyRows, as_source, measure

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9 has no callbacks; we go without

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn 1.9's mixin of the same name."""


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Integral",
    "Interval",
    "Real",
    "StrOptions",
    "TrainingData",
    "check_new_rows",
    "check_parameters",
    "check_soft_labels",
    "check_training_data",
    "fit_context",
    "input_attributes",
    "take_attributes",
    "validate_params",
]

SUM_TOLERANCE = 1e-3  # of distributions, which may be in half precision
Function = TypeVar("Function", bound=Callable[..., Any])


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Function], Function]:
    """scikit-learn's decorator of ``fit``; type checkers see what it decorates."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def validate_params(
    constraints: dict[str, Any], *, prefer_skip_nested_validation: bool
) -> Callable[[Function], Function]:
    """scikit-learn's check of a function's parameters; type checkers see the function."""
    return parameters.validate_params(
        constraints, prefer_skip_nested_validation=prefer_skip_nested_validation
    )


@dataclass(frozen=True)
class TrainingData:
    """Checked training data in canonical form.

    Attributes
    ----------
    rows : ndarray or LazyRows of shape (n, c, h, w) or (n, d)
    labels : ndarray of int64, shape (n,)
        Places in `classes`.
    classes : ndarray
    layout : Layout
    target : Target
    attributes : dict
        What ``fit`` has to set: ``n_features_in_`` and so on.
    """

    rows: np.ndarray | LazyRows
    labels: np.ndarray
    classes: np.ndarray
    layout: Layout
    target: Target
    attributes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def units(self) -> Units:
        """Scale and statistics of the rows; of rows that are not in memory, one pass."""
        return measure(self.rows)


def check_training_data(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    image_shape: tuple[int, ...] | None = None,
    channel_axis: str | int | None = "auto",
) -> TrainingData:
    """Check X and y without touching the estimator.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words for tables; naming X, y, image_shape or channel_axis, what
        is allowed and what came, for images.
    """
    probe = copy.copy(estimator)  # validate_data writes attributes before it checks
    X, y = to_numpy(X), to_numpy(y)
    source = as_source(X)
    rows = None if source is None else _read_rows(probe, source, image_shape, channel_axis)
    if y is None and rows is not None and isinstance(source, DatasetSource):
        y = _labels_of(rows, source)
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target "
            "y is None."
        )
    check_labels(y)
    columns = column_names(X)
    if rows is not None or _ndim(X) > 2:
        X = _check_images(probe, X, y, reset=True) if rows is None else source
        check_consistent_length(np.empty((X.shape[0], 0)), y)
        labels = column_or_1d(y, warn=True)
        if labels.dtype.kind in "fc":
            assert_all_finite(labels, input_name="y")
    else:
        X, labels = _check_table(probe, X, y, ensure_min_samples=1)
    check_classification_targets(labels)
    classes, labels = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        n = X.shape[0]
        raise ValueError(
            f"y must have at least 2 classes; got {len(classes)} class, {classes.tolist()}, "
            f"in {n} sample{'s' if n > 1 else ''}."
        )
    attributes = {
        "n_features_in_": probe.n_features_in_,
        "feature_names_in_": getattr(probe, "feature_names_in_", None),
        "sample_shape_in_": tuple(X.shape[1:]),
    }
    kept: np.ndarray | LazyRows
    if rows is None:
        layout = choose_layout(X.shape, X.dtype, image_shape, channel_axis, columns)
        kept = layout.to_rows(X)
    else:
        layout, kept = rows.layout, rows
    return TrainingData(kept, labels.astype(np.int64), classes, layout, _target(y), attributes)


def _check_table(estimator: Any, X: Any, *y: Any, **how: Any) -> Any:
    """scikit-learn's check of a table and its labels, which lets dates through as numbers."""
    check_numbers(X)
    dtypes = list(getattr(X, "dtypes", [getattr(X, "dtype", None)]))  # of columns, or the one
    times = [dtype for dtype in dtypes if getattr(dtype, "kind", "") in ("m", "M")]
    if times:
        raise ValueError(f"X must hold real numbers; got dtype {times[0]}.")
    checked = validate_data(estimator, X, *y, dtype="numeric", **how)
    found = checked[0] if y else checked
    if found.dtype.kind not in "biuf":  # text in a frame of another library than pandas
        raise ValueError(f"X must hold real numbers; got dtype {found.dtype}.")
    return checked


def _read_rows(
    probe: Any,
    source: ArraySource | DatasetSource,
    image_shape: tuple[int, ...] | None,
    channel_axis: str | int | None,
) -> LazyRows:
    """Check the form of rows by the first of them; values are checked when all are read."""
    first = source[:1]
    if first.ndim > 2:
        first = _check_images(probe, first, None, reset=True)
    else:
        first = _check_table(probe, first, ensure_min_samples=1)
    if first.dtype != source.dtype:
        raise ValueError(f"X must hold real numbers; got dtype {source.dtype}.")

    layout = choose_layout(source.shape, source.dtype, image_shape, channel_axis)

    def check(block: np.ndarray) -> None:
        assert_all_finite(block, input_name="X")

    return LazyRows(source, layout, check)


def _labels_of(rows: LazyRows, source: DatasetSource) -> np.ndarray:
    """A data set's own labels, with what else one pass over its items finds."""
    if source.targets() is None:
        rows.scan  # noqa: B018 - reads all items, and their labels
    return source.labels()


def check_rows(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """Check rows by themselves, and give them as an array in the caller's layout.

    With `reset` the estimator remembers their columns, as in ``fit``, else they have to be those.
    """
    X = to_numpy(X)
    source = as_source(X)
    X = X if source is None else source[:]
    if _ndim(X) > 2:
        return _check_images(estimator, X, None, reset=reset)
    return _check_table(estimator, X, reset=reset)


def check_new(estimator: Any, X: Any) -> np.ndarray:
    """Check rows for a fitted estimator, and give them as an array in the caller's layout."""
    X = check_rows(estimator, X, reset=False)
    expected = estimator.sample_shape_in_
    if X.shape[1:] != expected:
        raise ValueError(
            f"X has samples of shape {X.shape[1:]}, but {type(estimator).__name__} was "
            f"fitted on samples of shape {expected}."
        )
    return X


def check_new_rows(estimator: Any, X: Any) -> np.ndarray:
    """Check rows for a fitted estimator, and give them in canonical form."""
    return estimator._layout.to_rows(check_new(estimator, X))


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters, as its ``fit`` would.

    Raises
    ------
    ValueError
    """
    estimator._validate_params()


def check_soft_labels(values: Any, n_rows: int, n_classes: int) -> np.ndarray:
    """Check a distribution over the classes for each row to train on, and give them in float32.

    Raises
    ------
    ValueError
    """
    found = np.asarray(to_numpy(values))
    if found.dtype.kind != "f" or found.shape != (n_rows, n_classes):
        raise ValueError(
            f"soft_labels must be floats of shape ({n_rows}, {n_classes}), a row for each decoded "
            f"row and a column for each class; got {found.dtype} of shape {found.shape}."
        )
    sums = found.sum(1, dtype=np.float64)
    wrong = ~((found >= 0).all(1) & (np.abs(sums - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            "soft_labels must be 0 or more and sum to 1 along each row; row "
            f"{row} has the least value {found[row].min()} and the sum {sums[row]}."
        )
    return found.astype(np.float32)


def input_attributes(data: TrainingData) -> dict[str, Any]:
    """What a fitted estimator keeps of its training data's form."""
    known = {name: value for name, value in data.attributes.items() if value is not None}
    return known | {"classes_": data.classes, "_layout": data.layout}


def take_attributes(estimator: Any, data: TrainingData) -> None:
    """Set on the estimator what the check of its training data found."""
    for name in data.attributes:
        vars(estimator).pop(name, None)  # names of columns that an earlier X had
    for name, value in input_attributes(data).items():
        setattr(estimator, name, value)


def adopt_attributes(estimator: Any, inner: Any) -> None:
    """Take over what an inner estimator learnt of its input."""
    for name in ("n_features_in_", "feature_names_in_", "sample_shape_in_"):
        if hasattr(inner, name):
            setattr(estimator, name, getattr(inner, name))
        elif hasattr(estimator, name):
            delattr(estimator, name)


def takes_images(estimator: Any) -> bool:
    """Whether a classifier takes arrays of more than two axes, or hands them on to one that does.

    Tags of searches and pipelines do not say: the estimator inside, or all steps, do.
    """
    if get_tags(estimator).input_tags.three_d_array:
        return True
    if hasattr(estimator, "steps"):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return all(takes_images(step) or get_tags(step).no_validation for step in steps)
    inner = getattr(estimator, "estimator", None)
    return hasattr(inner, "fit") and takes_images(inner)


@contextmanager
def propagated_callbacks(owner: Any, inner: Any, X: Any, y: Any) -> Iterator[None]:
    """Pass an estimator's callbacks on to the one it fits inside this context."""
    if not hasattr(owner, "_skl_callbacks"):
        yield
        return
    root = owner._init_callback_context(max_subtasks=1)
    root.call_on_fit_task_begin(estimator=owner, X=X, y=y)
    task = root.subcontext(task_name="condense")
    with task.propagate_callback_context(inner):
        task.call_on_fit_task_begin(estimator=owner, X=X, y=y)
        yield
        task.call_on_fit_task_end(estimator=owner, X=X, y=y)
    root.call_on_fit_task_end(estimator=owner, X=X, y=y)


def to_numpy(values: Any) -> Any:
    """Torch tensors as numpy arrays, from any device; anything else as it is.

    Raises
    ------
    TypeError
        For a tensor that numpy cannot hold: sparse, quantised, or without values.
    """
    if not (hasattr(values, "detach") and hasattr(values, "cpu")):
        return values
    try:
        values = values.detach().cpu()
        # numpy has no bfloat16
        return values.float().numpy() if str(values.dtype) == "torch.bfloat16" else values.numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            "tensors in X and y must be dense, of a dtype that numpy has, and hold values; got "
            f"{values.layout}, {values.dtype}, on {values.device}."
        ) from error


def _ndim(X: Any) -> int:
    if hasattr(X, "ndim"):
        return int(X.ndim)
    try:
        return np.asarray(X).ndim
    except ValueError as error:
        raise ValueError(f"X must be an array whose rows have one shape; got {error}.") from error


def _target(y: Any) -> Target:
    if type(y).__module__.partition(".")[0] != "pandas":
        return Target()
    if hasattr(y, "columns"):
        y = y.iloc[:, 0]
    return Target(name=getattr(y, "name", None), pandas_dtype=y.dtype)


def _check_images(estimator: Any, X: Any, y: Any, reset: bool) -> np.ndarray:
    """Check an array of 3 or more axes; its flattened rows count as the features."""
    X = np.asarray(X)
    if X.ndim > 4:
        raise ValueError(
            "X must have 2 axes (n, d), 3 (n, h, w) or 4 (n, h, w, c) or (n, c, h, w); got "
            f"shape {X.shape}."
        )
    if X.dtype.kind not in "biuf":
        kind = "Complex data not supported" if X.dtype.kind == "c" else "Unsupported data"
        raise ValueError(f"{kind}: images in X must be real numbers; got dtype {X.dtype}.")
    X = check_array(X, allow_nd=True, dtype=None, input_name="X", estimator=estimator)
    if 0 in X.shape:
        raise ValueError(f"X must hold images of at least 1×1 pixels; got shape {X.shape}.")
    form = np.broadcast_to(np.zeros((), X.dtype), (len(X), math.prod(X.shape[1:])))
    validate_data(estimator, form, reset=reset, skip_check_array=True)
    return X
