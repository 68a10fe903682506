"""One run of the loop: what it needs, and how its rows become a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from m3d_sklearn.base import Result, Task
from m3d_sklearn.condensers._identity import identity, words
from m3d_sklearn.core import formation
from m3d_sklearn.core.distributed import Share
from m3d_sklearn.core.keeper import Unkept
from m3d_sklearn.core.loop import Outcome, condense
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.soft_labels import soft_labels
from m3d_sklearn.core.sources import NetworkSource
from m3d_sklearn.core.step import Objective

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """One run of the loop.

    Attributes
    ----------
    task : Task
    recipe : Recipe
    params : dict
        Parameters with every "auto" resolved.
    start : Tensor
        Rows to start from, in units, on the device.
    given : Tensor or None
        Those rows, where the caller gave them.
    pools, objective, source
        As for :func:`~m3d_sklearn.core.loop.condense`.
    network : nn.Module
        One of the source's.
    share : Share
    labelled : bool
        Whether the result has soft labels, where networks have learnt.
    """

    task: Task
    recipe: Recipe
    params: dict[str, Any]
    start: Tensor
    given: Tensor | None
    pools: ClassPools
    objective: Objective
    source: NetworkSource
    network: nn.Module
    share: Share
    labelled: bool

    def __call__(self, watch: Callable[[Progress], bool] | None, keeper: Unkept) -> Outcome:
        return condense(
            self.start,
            self.pools,
            self.recipe,
            self.objective,
            self.source,
            self.task.stream,
            watch,
            keeper,
            self.share,
        )

    def identity(self, method: str) -> dict[str, Any]:
        """What a checkpoint must have been written by."""
        return identity(method, self.params, self.task, self.network, self.given)

    def words(self) -> dict[str, str]:
        """What errors say of the identity's values that the caller has not seen."""
        return words(self.params, self.task)

    def result(self, rows: Tensor, losses: list[float], n_iter: int) -> Result:
        """What rows in units come to, at the end or on the way."""
        values = self.task.units.to_values(rows.detach().cpu().numpy())
        labels = np.repeat(np.arange(len(self.task.ipc)), self.task.ipc)
        attributes = {"loss_curve_": np.array(losses), "n_iter_": n_iter}
        return Result(
            values, labels, self.params, self.recipe.factor, attributes, self._soft_labels(rows)
        )

    def _soft_labels(self, rows: Tensor) -> np.ndarray | None:
        if not self.labelled:
            return None
        decoded = formation.decode(rows.detach(), self.recipe.factor)
        teachers: Any = self.source  # one without them was refused
        found = soft_labels(teachers, decoded, self.pools.scale)
        return None if found is None else found.numpy()
