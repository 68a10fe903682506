"""Coreset rules over a feature matrix, in memory that grows with n and not n²."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["PassedRows", "herd", "k_center"]


class CentredRows(Protocol):
    """Feature rows less their mean, (n, d).

    Attributes
    ----------
    squares : Tensor of shape (n,)
        Squared norm of each row.
    """

    squares: Tensor

    def row(self, place: Tensor) -> Tensor: ...

    def times(self, vector: Tensor) -> Tensor: ...


class HeldRows:
    """Centred rows in memory: one copy of the features."""

    def __init__(self, features: Tensor) -> None:
        self.rows = centre(features)
        self.squares = squared_norms(self.rows)

    def row(self, place: Tensor) -> Tensor:
        return self.rows[place]

    def times(self, vector: Tensor) -> Tensor:
        return self.rows @ vector


class PassedRows:
    """Centred rows that come block by block, again for every look at all of them.

    Parameters
    ----------
    blocks : callable
        Gives an iterator over the features in float32, block after block, always the same;
        the blocks are written to.
    row : callable
        Place of a row to its features.
    """

    def __init__(
        self, blocks: Callable[[], Iterator[Tensor]], row: Callable[[int], Tensor]
    ) -> None:
        self._blocks, self._row = blocks, row
        n = 0
        total: Any = 0.0  # a list of the blocks' sums would leave holes in memory
        for block in blocks():
            n, total = n + len(block), total + block.double().sum(0)
        mean = total / n
        # In two parts, so that nothing of it is lost in the features' own precision.
        self._mean = mean.float()
        self._rest = (mean - self._mean).float()
        self.squares = torch.cat([squared_norms(block) for block in self._centred()])

    def row(self, place: Tensor) -> Tensor:
        return self._row(int(place)) - self._mean - self._rest

    def times(self, vector: Tensor) -> Tensor:
        return torch.cat([block @ vector for block in self._centred()])

    def _centred(self) -> Iterator[Tensor]:
        for block in self._blocks():
            yield block.sub_(self._mean).sub_(self._rest)


def _centred(features: Tensor | PassedRows) -> CentredRows:
    return HeldRows(features) if isinstance(features, Tensor) else features


def centre(features: Tensor) -> Tensor:
    """Rows less their mean; the second pass takes away what rounding left of a far one."""
    centred = features - features.mean(0)
    centred -= centred.mean(0)
    return centred


def squared_norms(rows: Tensor) -> Tensor:
    """Of each row, without a second matrix of their squares."""
    return torch.linalg.vector_norm(rows, dim=1).square()


def herd(features: Tensor | PassedRows, k: int) -> Tensor:
    """Herding (Welling, ICML-09): chosen rows whose running mean follows the mean.

    Step k takes the unchosen x that minimises ‖(k + 1)·μ − Σ chosen − x‖, the arg*min*.

    Parameters
    ----------
    features : Tensor or PassedRows of shape (n, d)
    k : int
        At most n.

    Returns
    -------
    Tensor of shape (k,)
        Row numbers in the order of selection.

    Notes
    -----
    Centred rows have μ = 0, so the target is −Σ chosen. O(k·n·d) time; O(n) memory beside
    one centred copy of the features, which passed rows do without; after their norms they
    are gone through k − 1 times.
    """
    rows = _centred(features)
    squares = rows.squares.clone()
    chosen = torch.empty(k, dtype=torch.long, device=squares.device)
    nearest = squares.argmin()
    target: Tensor | None = None
    for step in range(k):
        if target is not None:
            nearest = (squares - 2 * rows.times(target)).argmin()
        chosen[step] = nearest
        row = rows.row(nearest)
        target = -row if target is None else target - row
        squares[nearest] = torch.inf
    return chosen


def k_center(features: Tensor | PassedRows, k: int) -> Tensor:
    """Greedy k-center (Gonzalez, 1985): each further row is the farthest from those chosen.

    The first is the row nearest the mean.

    Parameters
    ----------
    features : Tensor or PassedRows of shape (n, d)
    k : int
        At most n.

    Returns
    -------
    Tensor of shape (k,)
        Row numbers in the order of selection.

    Notes
    -----
    Keeps each row's distance to its nearest centre alone: O(k·n·d) time; O(n) memory beside
    one centred copy of the features, which passed rows do without; after their norms they
    are gone through k − 1 times.
    """
    rows = _centred(features)
    squares = rows.squares
    chosen = torch.empty(k, dtype=torch.long, device=squares.device)
    distances = torch.full_like(squares, torch.inf)
    latest = squares.argmin()
    for step in range(k):
        if step:
            to_latest = squares + squares[latest] - 2 * rows.times(rows.row(latest))
            distances = torch.minimum(distances, to_latest.clamp_min(0))
            distances[latest] = -1.0  # below any distance, so no row is taken twice
            latest = distances.argmax()
        chosen[step] = latest
    return chosen
