"""Where the stored rows start from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from m3d_sklearn.base import Task
from m3d_sklearn.core import formation
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools

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
    if hasattr(init, "fit"):
        if not hasattr(init, "condensed_"):
            raise NotFittedError(
                f"init must be a fitted selector or condenser; got {type(init).__name__} without "
                "condensed_. Inside a meta-estimator, which clones, give its condensed_ instead."
            )
        init = init.condensed_
    try:
        X, y = init
        X, y = np.asarray(X), np.asarray(y)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "init must be 'auto', 'mix', 'real', 'noise', a fitted selector or condenser, a "
            f"CondensedSet, or a pair (X, y); got {type(init).__name__}."
        ) from error
    layout, classes = task.data.layout, task.data.classes
    if X.shape[1:] != layout.sample_shape or X.dtype.kind not in "biuf":
        raise ValueError(
            f"init must hold rows of shape {layout.sample_shape}, as X does; got {X.shape[1:]} "
            f"of {X.dtype}."
        )
    if y.shape != (len(X),):
        raise ValueError(f"init must hold a label for each of its {len(X)} rows; got {y.shape}.")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError("init must hold finite values; got NaN or infinity.")
    laid = getattr(init, "factor", 1)
    counts = np.array([(y == name).sum() for name in classes])
    mosaic = laid == 1 and factor > 1 and (counts == task.ipc * factor**2).all()
    if laid not in (1, factor) or not (mosaic or (counts == task.ipc).all()):
        raise ValueError(
            f"init must hold, of each class, {task.ipc.tolist()} stored rows of factor {factor}"
            + (f", or {(task.ipc * factor**2).tolist()} plain ones" if factor > 1 else "")
            + f"; got {counts.tolist()} of factor {laid}."
        )
    order = np.concatenate([np.flatnonzero(y == name) for name in classes])
    values = np.clip(layout.to_rows(X[order]), task.units.low, task.units.high)
    rows = torch.from_numpy(task.units.to_units(values))
    return formation.mix(rows, factor) if mosaic else rows
