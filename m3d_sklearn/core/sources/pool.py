"""A pool of networks that learn from the real rows while a run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m3d_sklearn.core.gpu.graphs import Graphs
from m3d_sklearn.core.many import together
from m3d_sklearn.core.networks import build
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources.fresh import FreshNetworks
from m3d_sklearn.core.state import (
    StatefulOptimizer,
    load_module,
    module_state,
    put_,
    whole_number,
)
from m3d_sklearn.core.training import TrainingRecipe, make_optimizer, run_epochs

__all__ = ["TrainedNetworks"]


class TrainedNetworks:
    """Networks between random and trained weights, another every few iterations.

    A few networks are trained on the real rows, some steps per turn, for the first part of the
    run: it begins at once, under random networks as the paper has them, and its later part
    sees what the classes differ in. A turn's embedding lies at a random place between the
    first and the present weights of one of them (as in DANCE, IJCAI-24, whose networks are
    trained before the run): the present ones alone are too few, and cost accuracy on MNIST.

    Parameters
    ----------
    fresh : FreshNetworks
        Kind of network, turns and stream.
    take : callable
        Row numbers to normalised rows.
    labels : integer Tensor of shape (n,)
    recipe : TrainingRecipe
        Without its `steps`.
    size : int
        Networks.
    rate : float
        Training steps of each network per turn, taken at its start.
    until : float
        Fraction of the run after which nothing is trained.
    most : int
        Training steps of each network in all.
    """

    def __init__(
        self,
        fresh: FreshNetworks,
        take: Callable[[Tensor], Tensor],
        labels: Tensor,
        recipe: TrainingRecipe,
        *,
        size: int,
        rate: float,
        until: float,
        most: int,
    ) -> None:
        self.network, self.every, self.stream = fresh.network, fresh.every, fresh.stream
        self.shape, self.take, self.labels, self.recipe = fresh.input_shape, take, labels, recipe
        self.rate, self.until, self.most = rate, until, most
        self.due, self.steps = 0.0, 0
        device = self.stream.device
        self.streams = [Stream(self.stream.seed(), device) for _ in range(size)]
        made = (build(fresh.spec, self.shape, fresh.n_outputs, own) for own in self.streams)
        self.pool = [network.train() for network in made]
        self.first = [[p.detach().clone() for p in own.parameters()] for own in self.pool]
        self.together = together(self.pool, self.streams, device)
        self.optimizer = make_optimizer(self.together, recipe)
        self.graphs = Graphs(device)

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]:
        new = progress.n_iter % self.every == 0
        if new:
            if progress.n_iter and progress.done < self.until:
                self.due = min(self.due + self.rate, self.most)
                self._train(int(self.due) - self.steps)
            self._move()
        return self.network, new

    @torch.no_grad()
    def _move(self) -> None:
        """Put the run's network at a random place between one's first and present weights."""
        chosen, share = self.stream.choice(len(self.pool)), self.stream.fraction()
        line = zip(self.first[chosen], self.pool[chosen].parameters(), strict=True)
        for weights, (first, now) in zip(self.network.parameters(), line, strict=True):
            weights.copy_(torch.lerp(first, now, share))

    def _train(self, steps: int) -> None:
        if not steps:
            return
        recipe = dataclasses.replace(self.recipe, steps=steps)
        rows = self.stream.integers(0, len(self.labels), steps * recipe.batch_size)
        run_epochs(
            self.together,
            self.optimizer,
            lambda places: self.take(rows[places]),
            self.labels[rows],
            recipe,
            self.streams,
            self.shape[1:],
            graphs=self.graphs,
        )
        self.together.write_back()
        self.steps += steps

    def teachers(self) -> Iterator[tuple[nn.Module, float]]:
        """The pool at its present weights, alike in weight, once it has been trained."""
        if self.steps:
            yield from ((network, 1.0) for network in self.pool)

    def state_dict(self) -> dict[str, Any]:
        """Weights, first and present ones, their optimiser, streams, and how far they are."""
        return {
            "network": module_state(self.network),
            "first": self.first,
            "together": module_state(self.together),
            "optimizer": StatefulOptimizer(self.optimizer).state_dict(),
            "streams": [stream.state_dict() for stream in self.streams],
            "due": self.due,
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with saved weights."""
        load_module(self.network, state["network"])
        for own, saved in zip(self.first, state["first"], strict=True):
            for tensor, first in zip(own, saved, strict=True):
                put_(tensor, first, "first")
        load_module(self.together, state["together"])
        self.together.write_back()
        StatefulOptimizer(self.optimizer).load_state_dict(state["optimizer"])
        for stream, saved in zip(self.streams, state["streams"], strict=True):
            stream.load_state_dict(saved)
        self.due = float(state["due"])
        self.steps = whole_number(state["steps"], self.most, "steps")
