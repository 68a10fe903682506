"""Stored rows of each class: what `ipc` comes to for the classes that y has."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from m3d_sklearn._validation import TrainingData

__all__ = ["clamp_ipc", "resolve_ipc"]


def resolve_ipc(
    ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any],
    data: TrainingData,
) -> np.ndarray:
    """Stored rows of each class, in the order of ``data.classes``.

    Raises
    ------
    ValueError
        If a class is missing or unknown, or a count is not a whole number of 1 or more.
    """
    names = data.classes.tolist()
    if callable(ipc):
        ipc = _as_dict(ipc(data.classes[data.labels]))
    if isinstance(ipc, Mapping):
        if set(ipc) != set(names):
            raise ValueError(
                f"ipc as a dict must name every class, {names}, and no other; got {list(ipc)}."
            )
        counts = [ipc[name] for name in names]
    else:
        counts = [ipc] * len(names)
    if not all(isinstance(c, Integral) and c >= 1 for c in counts):
        raise ValueError(f"ipc must hold whole numbers of 1 or more; got {ipc!r}.")
    return np.array(counts, dtype=np.int64)


def _as_dict(counts: Any) -> dict[Any, Any]:
    """What a callable gave, of any kind that makes a dict, such as a Series."""
    try:
        return dict(counts)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "ipc as a callable must give a dict of class to count, or a Series; it gave "
            f"{type(counts).__name__}."
        ) from error


def clamp_ipc(ipc: np.ndarray, data: TrainingData, owner: str, rows: str = "rows") -> np.ndarray:
    """At most as many rows as a class has; a UserWarning says where that bites.

    `rows` is what the labels of `data` were counted of.
    """
    sizes = np.bincount(data.labels)
    short = ipc > sizes
    if short.any():
        names = data.classes[short].tolist()
        warnings.warn(
            f"{owner} was asked for more {rows} than the classes {names} have; it takes all of "
            "theirs.",
            UserWarning,
            stacklevel=3,
        )
    return np.minimum(ipc, sizes)
