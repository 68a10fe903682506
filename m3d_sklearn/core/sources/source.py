"""What the loop asks of a source of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from m3d_sklearn.core.progress import Progress

__all__ = ["NetworkSource"]


class NetworkSource(Protocol):
    """Gives the network of an iteration, frozen, and says whether it is a new one.

    For checkpoints it is also :class:`~m3d_sklearn.core.state.Stateful`: its state is all that
    the networks to come depend on, but for the run's stream and progress. A source without
    the pair runs, and refuses `checkpoint`. One that reads the rows of ``progress`` says so by
    a true ``sees_rows``: processes that share the classes then exchange them every iteration.
    """

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
