"""A queue of part-trained networks that grows while the run goes on (IDM, CVPR-23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m3d_sklearn.core.gpu.graphs import Graphs
from m3d_sklearn.core.many import Separate
from m3d_sklearn.core.networks import build, generators_for
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.redraw import as_built, redraw_
from m3d_sklearn.core.sources.fresh import FreshNetworks
from m3d_sklearn.core.state import put_
from m3d_sklearn.core.training import TrainingRecipe, make_optimizer, run_epochs

__all__ = ["ACCURACY", "NetworkQueue"]

FIRST, WORKERS = 3, 2  # networks at the start, and networks trained an iteration
MEMORY = 0.5  # of the running accuracy
ACCURACY = "_running_accuracy"  # a name that no module of a user's has


class NetworkQueue:
    """Networks of all ages: fresh ones join, the oldest leave, two learn after each iteration.

    An iteration's network is one of the queue, picked at random, in evaluation mode. Its
    buffer of the name ACCURACY is its running accuracy in percent on the real rows that it
    was about to be trained on, 0 before it has seen any.

    Parameters
    ----------
    fresh : FreshNetworks
        Kind of network and stream; its module takes the weights of whatever is picked.
    take : callable
        Row numbers to normalised rows.
    labels : integer Tensor of shape (n,)
    recipe : TrainingRecipe
        Of one burst of training; its `steps` are the burst's. Momentum starts anew with each.
    push_every : int
        Iterations between two networks that join.
    size : int
        Most networks in the queue.
    """

    def __init__(
        self,
        fresh: FreshNetworks,
        take: Callable[[Tensor], Tensor],
        labels: Tensor,
        recipe: TrainingRecipe,
        *,
        push_every: int,
        size: int,
    ) -> None:
        self.stream, self.shape = fresh.stream, fresh.input_shape
        self.take, self.labels, self.recipe = take, labels, recipe
        self.push_every, self.size = push_every, size
        self.network = fresh.network.eval()
        self.network.register_buffer(ACCURACY, torch.zeros((), device=labels.device))
        make = (fresh.spec, fresh.input_shape, fresh.n_outputs, self.stream)
        self.workers = [build(*make).train() for _ in range(WORKERS)]
        self.built = as_built(self.workers[0])
        self.streams = [self.stream] * WORKERS
        self.together = Separate(self.workers, self.streams)
        self.graphs = Graphs(labels.device)
        self.queue: list[list[Tensor]] = []
        self.accuracy: list[Tensor] = []
        for _ in range(min(FIRST, size)):
            self._push()

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]:
        if progress.n_iter:
            self._train()
            if progress.n_iter % self.push_every == 0:
                self._push()
        chosen = self.stream.choice(len(self.queue))
        _copy(self.queue[chosen], weights_of(self.network))
        getattr(self.network, ACCURACY).copy_(self.accuracy[chosen])
        return self.network, True

    def _push(self) -> None:
        """Let a fresh network join, and the oldest leave where there are too many."""
        redraw_(self.workers[0], self.stream, self.built)
        self.queue.append([w.detach().clone() for w in weights_of(self.workers[0])])
        self.accuracy.append(torch.zeros((), device=self.labels.device))
        del self.queue[: -self.size], self.accuracy[: -self.size]

    def _train(self) -> None:
        """A burst of training for two of the queue (for one, where there is but one)."""
        if not self.recipe.steps:
            return
        n = len(self.queue)
        first = self.stream.choice(n)
        places = [first, (first + 1 + self.stream.choice(max(1, n - 1))) % n]
        for worker, place in zip(self.workers, places, strict=True):
            _copy(self.queue[place], weights_of(worker))
        rows = self.stream.integers(0, len(self.labels), self.recipe.steps * self.recipe.batch_size)
        self._note_accuracy(places, rows[: self.recipe.batch_size])
        run_epochs(
            self.together,
            make_optimizer(self.together, self.recipe),
            lambda numbers: self.take(rows[numbers]),
            self.labels[rows],
            self.recipe,
            self.streams,
            self.shape[1:],
            graphs=self.graphs,
        )
        for worker, place in zip(self.workers, places, strict=True):
            _copy(weights_of(worker), self.queue[place])

    @torch.no_grad()
    def _note_accuracy(self, places: list[int], rows: Tensor) -> None:
        """Move the running accuracies towards those on rows to be trained on; nothing waits."""
        images, wanted = self.take(rows), self.labels[rows]
        for worker, place in zip(self.workers, places, strict=True):
            with generators_for(worker, self.stream):
                hits = 100 * (worker(images).argmax(1) == wanted).float().mean()
            # In place: the first burst of a network sets its accuracy, later ones move it.
            known = self.accuracy[place]
            known.copy_(torch.where(known == 0, hits, torch.lerp(known, hits, 1 - MEMORY)))

    def teachers(self) -> Iterator[tuple[nn.Module, float]]:
        """Each of the queue in the run's network, weighted by its accuracy: 0 for a fresh one."""
        for weights, accuracy in zip(self.queue, self.accuracy, strict=True):
            if accuracy:
                _copy(weights, weights_of(self.network))
                yield self.network, float(accuracy)

    def state_dict(self) -> dict[str, Any]:
        """Weights and running accuracy of each network of the queue."""
        return {"queue": self.queue, "accuracy": self.accuracy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a saved queue.

        Raises
        ------
        ValueError, KeyError, TypeError
        """
        saved = list(zip(state["queue"], state["accuracy"], strict=True))
        if not 1 <= len(saved) <= self.size:
            raise ValueError(f"queue must hold 1 to {self.size} networks; got {len(saved)}")
        first = self.queue[0]
        self.queue = [[torch.empty_like(tensor) for tensor in first] for _ in saved]
        self.accuracy = [torch.empty_like(self.accuracy[0]) for _ in saved]
        for own, known, (weights, accuracy) in zip(self.queue, self.accuracy, saved, strict=True):
            put_(known, accuracy, "accuracy")
            for tensor, value in zip(own, weights, strict=True):
                put_(tensor, value, "weights")


def weights_of(network: nn.Module) -> list[Tensor]:
    """Parameters and running statistics."""
    buffers = [b for name, b in network.named_buffers() if name != ACCURACY]
    return [*network.parameters(), *buffers]


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for new, own in zip(source, target, strict=True):
        own.copy_(new)
