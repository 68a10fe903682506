"""Where the stored rows start from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core import formation
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.naming import check_columns, few

__all__ = ["drawn_rows", "given_rows"]


def drawn_rows(init: str, pools: ClassPools, recipe: Recipe, stream: Stream) -> Tensor:
    """A start drawn from the data or from noise, in units."""
    if init == "noise":
        shape = (sum(recipe.counts), *pools.sample_shape)
        is_image = len(shape) == 4
        noise = stream.uniform(*shape) if is_image else stream.normal(*shape)
        return pools.scale.clamp_(noise)
    each = recipe.factor**2 if init == "mix" else 1
    rows = pools.take(pools.pick([count * each for count in recipe.counts], stream))
    return formation.mix(rows, recipe.factor) if init == "mix" else rows


def given_rows(init: Any, task: Task, factor: int) -> Tensor:
    """A start from a set, a fitted estimator or arrays, in units, class by class."""
    init = _unfitted(init)
    X, y = _arrays(init, task)
    classes = task.data.classes
    laid = getattr(init, "factor", 1)
    of_classes = [np.flatnonzero(y == name) for name in classes]
    counts = np.array([len(rows) for rows in of_classes])
    mosaic = laid == 1 and factor > 1 and (counts == task.ipc * factor**2).all()
    if laid not in (1, factor) or not (mosaic or (counts == task.ipc).all()):
        order = np.concatenate(of_classes)
        if len(order) < len(y):
            others = dict.fromkeys(np.delete(y, order).tolist())
            raise ValueError(
                f"init must be labelled by y's classes, {few(classes.tolist())}; got {few(others)}."
            )
        raise ValueError(
            f"init must hold, of each class, {task.ipc.tolist()} stored rows of factor {factor}"
            + (f", or {(task.ipc * factor**2).tolist()} plain ones" if factor > 1 else "")
            + f"; got {counts.tolist()} of factor {laid}."
        )
    if isinstance(init, CondensedSet):
        _warn_of_range(init, task)
    values = task.data.layout.to_rows(X[np.concatenate(of_classes)])
    values = np.clip(values, task.units.low, task.units.high)
    rows = torch.from_numpy(task.units.to_units(values))
    return formation.mix(rows, factor) if mosaic else rows


def _unfitted(init: Any) -> Any:
    """The set of a fitted estimator; anything else as it is."""
    if not hasattr(init, "fit"):
        return init
    if not hasattr(init, "condensed_"):
        raise NotFittedError(
            f"init must be a fitted selector or condenser; got {type(init).__name__} without "
            "condensed_. Inside a meta-estimator, which clones, give its condensed_ instead."
        )
    return init.condensed_


def _arrays(init: Any, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the layout of X, and a label for each."""
    layout = task.data.layout
    try:
        given, y = init
        X, y = np.asarray(given), np.asarray(y)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "init must be 'auto', 'mix', 'real', 'noise', a fitted selector or condenser, a "
            f"CondensedSet, or a pair (X, y); got {type(init).__name__}."
        ) from error
    if X.shape[1:] != layout.sample_shape or X.dtype.kind not in "biuf":
        raise ValueError(
            f"init must hold rows of shape {layout.sample_shape}, as X does; got {X.shape[1:]} "
            f"of {X.dtype}."
        )
    known = init.layout.columns if isinstance(init, CondensedSet) else None
    check_columns(getattr(given, "columns", known), layout.columns, "init", "X")
    if y.shape != (len(X),):
        raise ValueError(f"init must hold a label for each of its {len(X)} rows; got {y.shape}.")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError("init must hold finite values; got NaN or infinity.")
    return X, y


def _warn_of_range(init: CondensedSet, task: Task) -> None:
    """Warn where a set's images and X's have less than half of their ranges in common.

    Splits of one data set have nearly the same range; [0, 1], [-1, 1] and bytes do not.
    """
    if not task.data.layout.is_image:
        return
    ranges = [(float(u.low.min()), float(u.high.max())) for u in (init.units, task.units)]
    (low, high), (low_X, high_X) = ranges
    common = min(high, high_X) - max(low, low_X)
    whole = max(high, high_X) - min(low, low_X)
    if whole == 0 or common > whole / 2:
        return
    warnings.warn(
        f"init was made from images whose values are {low:g} to {high:g}, and X's are {low_X:g} to "
        f"{high_X:g}: its rows start as they are, clipped to X's range. Bring both to one range.",
        stacklevel=7,
    )
