"""What the loop asks of a source of networks."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from m3d_sklearn.core.progress import Progress

__all__ = ["NetworkSource"]


class NetworkSource(Protocol):
    """Gives the network of an iteration, frozen, and says whether it is a new one."""

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]: ...
