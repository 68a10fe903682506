"""Real rows on the device, drawn class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from m3d_sklearn.core.devices import upload
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.state import put_, whole_number

__all__ = ["ClassPools", "Scale", "range_numbers", "ranges"]

RANDOM_KEYS = 2**40  # of the keys that shuffle: two alike are too rare to matter


@dataclass(frozen=True)
class Scale:
    """What one unit is, and what a network sees of it.

    Optimisation happens in *units*, where one learning rate fits all data: images are
    mapped to [0, 1] by the range seen in X, columns of a table to mean 0 and variance 1.
    Networks see ``(units − mean) / std``, per channel for images.

    Attributes
    ----------
    shift, width : Tensor
        units = (X − shift) / width; scalars for images, (d,) for tables.
    low, high : Tensor
        The range seen in X, in units.
    mean, std : Tensor
        Of the units: (c, 1, 1) for images, scalars 0 and 1 for tables.
    """

    shift: Tensor
    width: Tensor
    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor

    def to_units(self, raw: Tensor) -> Tensor:
        return (raw.to(self.shift.dtype) - self.shift) / self.width

    def normalise(self, units: Tensor) -> Tensor:
        return (units - self.mean) / self.std

    def clamp_(self, units: Tensor) -> Tensor:
        return units.clamp_(self.low, self.high)

    def to(self, device: torch.device, dtype: torch.dtype) -> Scale:
        values = {k: v.to(device=device, dtype=dtype) for k, v in vars(self).items()}
        return Scale(**values)


class ClassPools:
    """The training rows, as they came, with the row numbers of each class.

    Parameters
    ----------
    rows : Tensor of shape (n, c, h, w) or (n, d)
        Any real dtype; integers stay integers until they are drawn.
    labels : integer Tensor of shape (n,)
    n_classes : int
    scale : Scale

    Notes
    -----
    A class is shuffled once per pass over it, so a draw costs what it draws, whatever n.
    All classes are drawn at once: launches do not grow with their number.
    """

    def __init__(self, rows: Tensor, labels: Tensor, n_classes: int, scale: Scale) -> None:
        self.rows = rows
        self.labels = labels
        self.scale = scale
        self.members = torch.argsort(labels, stable=True).to(self.place)
        self.sizes: list[int] = torch.bincount(labels, minlength=n_classes).tolist()
        self._first = list(accumulate(self.sizes, initial=0))[:-1]
        self._shuffled = self.members.clone()
        self._used = list(self.sizes)  # so that the first draw shuffles

    def only(self, classes: slice) -> None:
        """Say whose rows will be taken, of those that are drawn; the draws stay the same."""

    @property
    def place(self) -> torch.device:
        """Where row numbers are kept."""
        return self.rows.device

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.rows.shape[1:])

    def batch_counts(self, batch: int) -> list[int]:
        """How many rows of each class a draw of `batch` gives."""
        return [min(batch, size) for size in self.sizes]

    def draw(self, batch: int, stream: Stream) -> Tensor:
        """Row numbers, class after class, without repeats within a pass over a class."""
        counts = self.batch_counts(batch)
        # A class that is taken whole needs no order.
        partly = [c for c, size in enumerate(self.sizes) if counts[c] < size]
        over = [c for c in partly if self._used[c] + counts[c] > self.sizes[c]]
        if over:
            self._shuffle(over, stream)
        starts = list(self._first)
        for c in partly:
            starts[c] += self._used[c]
            self._used[c] += counts[c]
        return self._shuffled[ranges(starts, counts, self.place)]

    def _shuffle(self, classes: list[int], stream: Stream) -> None:
        """Put the members of some classes in a new random order."""
        sizes = [self.sizes[c] for c in classes]
        places = ranges([self._first[c] for c in classes], sizes, self.place)
        keys = stream.integers(0, RANDOM_KEYS, len(places)).to(self.place)
        keys += range_numbers(sizes, self.place) * RANDOM_KEYS  # a class stays together
        self._shuffled[places] = self.members[places[keys.argsort()]]
        for c in classes:
            self._used[c] = 0

    def pick(self, counts: list[int], stream: Stream) -> Tensor:
        """`counts[c]` rows of each class, with repeats only where a class is too small."""
        picked = []
        for first, size, count in zip(self._first, self.sizes, counts, strict=True):
            passes = -(-count // size)
            order = torch.cat([stream.permutation(size) for _ in range(passes)])
            picked.append(self.members[first + order[:count].to(self.place)])
        return torch.cat(picked)

    def state_dict(self) -> dict[str, Any]:
        """Order of each class's rows, and how many of it have been drawn."""
        return {"order": self._shuffled, "used": list(self._used)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in a saved order.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is no order of these rows, class by class.
        """
        order, used = self._shuffled.clone(), state["used"]
        put_(order, state["order"], "order")
        if not torch.equal(order.sort().values, self.members.sort().values) or not torch.equal(
            self.labels[order], self.labels[self.members]
        ):
            raise ValueError("order must hold every row once, class by class")
        pairs = zip(used, self.sizes, strict=True)
        self._used = [whole_number(number, size, "used") for number, size in pairs]
        self._shuffled.copy_(order)

    def take(self, index: Tensor) -> Tensor:
        """Rows by number, in units."""
        return self.scale.to_units(self.rows[index])


def range_numbers(counts: list[int], device: torch.device) -> Tensor:
    """0, 0, ..., 1, 1, ...: the number of the range that each place belongs to."""
    if len(set(counts)) == 1:
        return torch.arange(len(counts), device=device).repeat_interleave(counts[0])
    sizes = upload(counts, device)
    return torch.arange(len(counts), device=device).repeat_interleave(
        sizes, output_size=sum(counts)
    )


def ranges(starts: list[int], counts: list[int], device: torch.device) -> Tensor:
    """starts[0], starts[0] + 1, ... of counts[0] numbers, then those of the next range."""
    total = sum(counts)
    before = accumulate(counts, initial=0)
    shifts = upload([s - b for s, b in zip(starts, before, strict=False)], device)
    return torch.arange(total, device=device) + shifts[range_numbers(counts, device)]
