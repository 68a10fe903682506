"""Networks that are replaced or trained as their accuracy says (CAFE, CVPR-22)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m3d_sklearn.core.networks import generators_for
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.sources.fresh import FreshNetworks
from m3d_sklearn.core.sources.stored import NetworksOfStoredRows
from m3d_sklearn.core.training import TrainingRecipe

__all__ = ["BilevelNetworks"]

WINDOW = 10  # accuracies that are looked at
OUTER, INNER = 0.04, 0.03  # a window that spans less has settled
MOST_EPOCHS = 100  # of one training, should it never settle


class BilevelNetworks(NetworksOfStoredRows):
    """A network until the rows have nothing more to learn from it, trained while they have.

    After each step of the rows the network's accuracy on a query set of real rows is noted.
    When its last 10 lie within 0.04 a fresh network takes its place; until then it is trained
    on the stored rows, until 10 epochs' accuracies lie within 0.03. So a network stays for 10
    steps or more, and each but its last is followed by 10 epochs or more. The branches need
    the accuracies, so the device is waited for at each.

    Parameters
    ----------
    fresh : FreshNetworks
        Kind of network and stream.
    decode, labels, recipe
        As for :class:`NetworksOfStoredRows`; one epoch is the recipe's unit.
    query : callable
        Gives normalised real rows and their labels, the same ones at every call.
    """

    def __init__(
        self,
        fresh: FreshNetworks,
        decode: Callable[[Tensor], Tensor],
        labels: Tensor,
        recipe: TrainingRecipe,
        query: Callable[[], tuple[Tensor, Tensor]],
    ) -> None:
        super().__init__(fresh, decode, labels, recipe, epochs=1)
        self.query = query
        self.window: deque[float] = deque(maxlen=WINDOW)

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]:
        network = self.fresh.network
        if not progress.n_iter:
            return network, True
        self.window.append(self._accuracy())
        if len(self.window) == WINDOW and _span(self.window) < OUTER:
            self.fresh.redraw()
            self.window.clear()
        else:
            self._train_until_settled(progress.rows)
        return network, True

    def _train_until_settled(self, stored: Tensor) -> None:
        seen: deque[float] = deque(maxlen=WINDOW)
        for _ in range(MOST_EPOCHS):
            self._train(stored)
            seen.append(self._accuracy())
            if len(seen) == WINDOW and _span(seen) < INNER:
                return

    @torch.no_grad()
    def _accuracy(self) -> float:
        """Of the network on the query set, as a fraction; waits for the device."""
        rows, labels = self.query()
        network = self.fresh.network
        with generators_for(network, self.fresh.stream):
            return float((network(rows).argmax(1) == labels).float().mean())

    def state_dict(self) -> dict[str, Any]:
        """The network's weights, and the window of its accuracies."""
        return super().state_dict() | {"window": list(self.window)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with saved weights and accuracies."""
        super().load_state_dict(state)
        self.window = deque(map(float, state["window"]), maxlen=WINDOW)


def _span(window: deque[float]) -> float:
    return max(window) - min(window)
