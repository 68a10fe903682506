"""Several processes, or one: who has which classes, and what they tell one another.

Classes are independent given the network. So every rank makes every draw and every network of
the run, all from one seed, and the gradient of its own classes alone: what has to travel is
their rows, at the end and whenever somebody wants them all.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

__all__ = ["ALONE", "Alone", "Ranks", "Share", "ranks", "share_out", "sharing"]

T = TypeVar("T")


class Alone:
    """One process: nobody to ask."""

    rank, size, local = 0, 1, 0

    def agree(self, value: Any) -> Any:
        """The first rank's value, on every rank; any object that pickles."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """Everybody's values, in the order of their ranks."""
        return [value]

    def together(self, call: Callable[[], T]) -> T:
        """The result of a call that every rank makes; if one fails, all do."""
        return call()

    def add_(self, tensor: Tensor) -> Tensor:
        """The sum of everybody's tensors, in place of each."""
        return tensor

    def exchange_(self, tensor: Tensor, places: Sequence[slice]) -> None:
        """Fill each rank's places of a tensor, along its first axis, from that rank."""


class Ranks(Alone):
    """The processes of torch's default group.

    Raises
    ------
    RuntimeError
        By every method, if another process has stopped or does not answer in time.
    """

    def __init__(self, timeout: float) -> None:
        self.rank, self.size, self.timeout = dist.get_rank(), dist.get_world_size(), timeout
        self.local = int(os.environ.get("LOCAL_RANK", self.rank))

    def agree(self, value: Any) -> Any:
        box = [value]
        with self._answered():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def collect(self, value: Any) -> list[Any]:
        values = [None] * self.size
        with self._answered():
            dist.all_gather_object(values, value)
        return values

    def together(self, call: Callable[[], T]) -> T:
        failure = None
        try:
            value = call()
        except Exception as error:
            failure = error
        said = self.collect(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        for rank, text in enumerate(said):
            if text is not None:
                raise RuntimeError(f"rank {rank} of {self.size} failed with {text}")
        return value

    def add_(self, tensor: Tensor) -> Tensor:
        with self._answered():
            dist.all_reduce(tensor)
        return tensor

    def exchange_(self, tensor: Tensor, places: Sequence[slice]) -> None:
        with self._answered():
            for rank, place in enumerate(places):
                part = tensor[place].contiguous()
                if part.numel():
                    dist.broadcast(part, src=rank)
                    tensor[place] = part

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} of {self.size} has no answer from the others: one of them has "
                f"stopped, or took longer than {self.timeout:g} seconds, the timeout. A run with "
                "a checkpoint can go on from its last one."
            ) from error


_ranks: ContextVar[Alone] = ContextVar("ranks", default=Alone())  # noqa: B039 - it has no state


def ranks() -> Alone:
    """Those that share what is computed here: one, outside :func:`sharing`."""
    return _ranks.get()


@contextmanager
def sharing(timeout: float) -> Iterator[Alone]:
    """Share what is computed inside with the processes of torch's default group."""
    token = _ranks.set(Ranks(timeout))
    try:
        yield ranks()
    finally:
        _ranks.reset(token)


def share_out(costs: Sequence[float], size: int) -> list[slice]:
    """Neighbouring pieces of work for each rank, in their order.

    Each goes to the rank in whose part of all costs its middle lies: no rank has more than
    its part and one piece, and some may have none.

    Examples
    --------
    >>> from m3d_sklearn.core.distributed import share_out
    >>> share_out([1, 1, 1, 1, 4], 2)
    [slice(0, 4, None), slice(4, 5, None)]
    """
    total = sum(costs)
    middles = [end - cost / 2 for end, cost in zip(accumulate(costs), costs, strict=True)]
    owners = [min(int(middle * size / total), size - 1) for middle in middles]
    cuts = [bisect_left(owners, rank) for rank in range(size + 1)]
    return [slice(first, last) for first, last in pairwise(cuts)]


@dataclass(frozen=True)
class Share:
    """Which classes of a run, and which of its stored rows, each rank has.

    Attributes
    ----------
    ranks : Alone or Ranks
    classes, rows : list of slice
        Of each rank.
    steady : bool
        Whether every rank needs all rows after each iteration.
    """

    ranks: Alone
    classes: list[slice]
    rows: list[slice]
    steady: bool = False

    @classmethod
    def of(
        cls, ranks: Alone, counts: Sequence[int], costs: Sequence[float], *, steady: bool = False
    ) -> Share:
        """Classes with so many stored rows, and of such costs, over the ranks."""
        classes = share_out(costs, ranks.size)
        starts = [0, *accumulate(counts)]
        rows = [slice(starts[own.start], starts[own.stop]) for own in classes]
        return cls(ranks, classes, rows, steady)

    @classmethod
    def whole(cls, ranks: Alone, counts: Sequence[int]) -> Share:
        """Every rank has all of them, for classes that depend on one another."""
        # All of them compute the same, and the first one's rows count.
        rows = [slice(0, sum(counts)), *[slice(0, 0)] * (ranks.size - 1)]
        return cls(ranks, [slice(0, len(counts))] * ranks.size, rows)

    @property
    def own(self) -> slice:
        """This rank's classes."""
        return self.classes[self.ranks.rank]

    @property
    def divided(self) -> bool:
        """Whether ranks have different classes."""
        return any(own != self.classes[0] for own in self.classes)

    def gather_(self, tensor: Tensor) -> None:
        """Give every rank all of a tensor whose first axis is the stored rows."""
        if self.ranks.size > 1:
            self.ranks.exchange_(tensor, self.rows)

    def mean(self, losses: Tensor) -> Tensor:
        """Over all classes, of this rank's."""
        if not self.divided:
            return losses.mean()
        return self.ranks.add_(losses.sum()) / self.classes[-1].stop


ALONE = Share(Alone(), [slice(None)], [slice(None)])
"""All classes, whatever their number, in one process."""
