"""Fits that an interrupted grid goes on with."""

from __future__ import annotations

import contextlib
from pathlib import Path

from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.core import checkpoint
from m3d_sklearn.datasets import Dataset

__all__ = ["fit_keeping"]


def fit_keeping(condenser: BaseCondenser, data: Dataset, path: Path | None) -> float:
    """Fit, with a checkpoint where the method knows of any; seconds of the fit that it goes on.

    An interrupted fit leaves its checkpoint, one that fails does not. One that no longer fits,
    of another version say, is removed, and the fit begins anew.

    Parameters
    ----------
    condenser : BaseCondenser
    data : Dataset
    path : Path or None
        Of the checkpoint; the caller removes it when the result is safe.
    """
    rows = data.X_train, data.y_train
    if path is None or "checkpoint" not in condenser.get_params(deep=False):
        condenser.fit(*rows)
        return 0.0
    path.parent.mkdir(parents=True, exist_ok=True)
    goes_on, before = path.exists(), _seconds_in(path)
    try:
        try:
            condenser.set_params(checkpoint=path).fit(*rows)
        except checkpoint.CheckpointError:
            # What is there is of another fit; or a part of the method cannot be kept.
            path.unlink(missing_ok=True)
            condenser.set_params(checkpoint=path if goes_on else None).fit(*rows)
            before = 0.0
    except Exception:
        path.unlink(missing_ok=True)
        raise
    return before


def _seconds_in(path: Path) -> float:
    """What was spent on a fit until its checkpoint; 0 without one that can be read."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return float(checkpoint.read(path)["run"]["progress"]["seconds"])
    return 0.0
