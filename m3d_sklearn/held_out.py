"""Held-out rows and their labels: do they fit what a network was trained on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn._validation import to_numpy
from m3d_sklearn.layout import row_blocks
from m3d_sklearn.naming import check_columns
from m3d_sklearn.row_source import ArraySource, DatasetSource, LazyRows, as_source

if TYPE_CHECKING:
    from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["check_held_out", "class_places", "held_out"]


def held_out(
    condensed: CondensedSet, X_test: Any, y_test: Any
) -> tuple[np.ndarray | LazyRows, np.ndarray]:
    """Test rows in canonical form, and their places in the classes (−1 for unknown ones)."""
    layout = condensed.layout
    columns = getattr(X_test, "columns", None)
    check_columns(columns, layout.columns, "X_test", "the condensed set")
    X, y = check_held_out(X_test, y_test, layout.sample_shape)
    places = class_places(y, condensed.classes)
    return layout.to_rows(X) if isinstance(X, np.ndarray) else LazyRows(X, layout), places


def check_held_out(
    X_test: Any, y_test: Any, sample_shape: tuple[int, ...]
) -> tuple[np.ndarray | ArraySource | DatasetSource, np.ndarray]:
    """Check test rows against the shape of a training row; give them, and a label for each."""
    source = as_source(X_test)
    X = np.asarray(to_numpy(X_test)) if source is None else source
    if X.shape[1:] != sample_shape:
        raise ValueError(
            f"X_test must have rows of shape {sample_shape}, as the condensed set has; got X_test "
            f"of shape {X.shape}."
        )
    _check_values(X)
    if y_test is None and isinstance(source, DatasetSource):
        y_test = source.labels()
    y, n = np.asarray(to_numpy(y_test)), len(X)
    if y.ndim == 0 or n != len(y) or n == 0:
        raise ValueError(
            f"X_test and y_test must have the same number of rows, 1 or more; got {n} "
            f"and {len(y) if y.ndim else y_test!r}."
        )
    if y.shape not in ((n,), (n, 1)):
        raise ValueError(f"y_test must hold a label per row, ({n},); got shape {y.shape}.")
    return X, y.reshape(-1)


def class_places(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of labels among the classes, −1 for unknown ones, which may not be all."""
    places = np.full(len(y), -1)
    for place, name in enumerate(classes):
        places[y == name] = place
    if (places < 0).all():
        raise ValueError(
            f"y_test must hold classes of the condensed set, {classes.tolist()}; got "
            f"{y[:3].tolist()} and so on."
        )
    return places


def _check_values(X: np.ndarray | ArraySource | DatasetSource) -> None:
    wanted = "X_test must hold finite real numbers; got"
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{wanted} {X.dtype}.")
    if X.dtype.kind == "f" and not all(np.isfinite(block).all() for block in row_blocks(X)):
        raise ValueError(f"{wanted} NaN or infinity.")
