"""A run of the loop as it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from m3d_sklearn.core.distributed import ALONE, Share
from m3d_sklearn.core.recipe import LOSS_EVERY, UNLIMITED
from m3d_sklearn.core.state import put_, whole_number

__all__ = ["Progress"]


@dataclass
class Progress:
    """The run so far, for whoever watches it or gives it networks.

    Attributes
    ----------
    rows : Tensor
        The stored rows, in units; of other ranks' classes as they were last gathered.
    n_iter : int
        Iterations done.
    done : float
        Fraction of the run that is over, by iterations or by time, whichever is more.
    losses : list of Tensor
        Mean over classes of the whole loss, every LOSS_EVERY iterations from the first.
    share : Share
        Which of the rows each process moves.
    """

    rows: Tensor
    n_iter: int = 0
    done: float = 0.0
    losses: list[Tensor] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    share: Share = ALONE

    def gather(self) -> None:
        """Get the rows of all ranks; every one of them has to call."""
        self.share.gather_(self.rows)

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def loss(self, last: int = 1) -> float:
        """Mean of the last few recorded losses; waits for the device."""
        return float(torch.stack(self.losses[-last:]).mean())

    def check(self) -> None:
        """Whether rows and the latest loss are finite; waits for the device.

        Raises
        ------
        FloatingPointError
        """
        finite = torch.isfinite(self.rows).all()
        if self.losses:
            finite = finite & torch.isfinite(self.losses[-1])
        if not finite:
            raise FloatingPointError(
                f"the loss or the stored rows are not finite after {self.n_iter} iterations. A "
                "lower learning_rate, precision='float32', or a network and a kernel whose "
                "values stay in range may help."
            )

    def state_dict(self) -> dict[str, Any]:
        """Rows of all ranks, iterations, losses, and the seconds spent.

        Raises
        ------
        FloatingPointError
            If rows or loss are not finite, so that a checkpoint never holds such.
        """
        self.gather()
        self.check()
        losses = torch.stack(self.losses) if self.losses else self.rows.new_zeros(0)
        return {
            "rows": self.rows,
            "n_iter": self.n_iter,
            "losses": losses,
            "seconds": self.seconds(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from saved rows; the seconds spent on them count.

        Raises
        ------
        ValueError, KeyError, TypeError
        """
        put_(self.rows, state["rows"], "rows")
        self.n_iter = whole_number(state["n_iter"], UNLIMITED, "n_iter")
        losses = self.rows.new_zeros(len(range(0, self.n_iter, LOSS_EVERY)))
        put_(losses, state["losses"], "losses")
        self.losses = list(losses)
        self.started = time.perf_counter() - float(state["seconds"])
