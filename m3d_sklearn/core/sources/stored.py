"""Networks that are trained on the stored rows while these move (DC, ICLR-21)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m3d_sklearn.core.gpu.graphs import Graphs
from m3d_sklearn.core.many import together
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.sources.fresh import FreshNetworks
from m3d_sklearn.core.training import TrainingRecipe, make_optimizer, run_epochs

__all__ = ["NetworksOfStoredRows"]


class NetworksOfStoredRows:
    """A fresh network every few iterations, trained on the stored rows between them.

    After each step of the rows but the last under a network, it is trained for some epochs on
    the rows as they then are: so they are matched along a training on themselves.

    Parameters
    ----------
    fresh : FreshNetworks
        Kind of network, iterations under each, and stream.
    decode : callable
        Stored rows to normalised rows to train on.
    labels : integer Tensor
        Of those.
    recipe : TrainingRecipe
        Without its `steps`, and without momentum: nothing is kept between two trainings.
    epochs : int
        After each step; 0 leaves the networks random.
    """

    sees_rows = True

    def __init__(
        self,
        fresh: FreshNetworks,
        decode: Callable[[Tensor], Tensor],
        labels: Tensor,
        recipe: TrainingRecipe,
        epochs: int,
    ) -> None:
        self.fresh, self.decode, self.labels = fresh, decode, labels
        self.recipe = recipe_of(recipe, len(labels), epochs)
        self.streams = [fresh.stream]
        self.together = together([fresh.network], self.streams, labels.device)
        self.graphs = Graphs(labels.device)

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]:
        network, new = self.fresh(progress)
        if not new and self.recipe.steps:
            self._train(progress.rows)
        return network, new or self.recipe.steps > 0

    def _train(self, stored: Tensor) -> None:
        with torch.no_grad():
            rows = self.decode(stored)
        self.fresh.network.requires_grad_(True)
        run_epochs(
            self.together,
            make_optimizer(self.together, self.recipe),
            rows.__getitem__,
            self.labels,
            self.recipe,
            self.streams,
            tuple(rows.shape[2:]),
            graphs=self.graphs,
        )
        self.fresh.network.requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """The network's weights: nothing else is kept between two trainings."""
        return self.fresh.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with saved weights."""
        self.fresh.load_state_dict(state)


def recipe_of(recipe: TrainingRecipe, n: int, epochs: int) -> TrainingRecipe:
    """The same training for so many epochs over n rows."""
    steps = epochs * math.ceil(n / recipe.batch_size)
    return dataclasses.replace(recipe, steps=steps)
