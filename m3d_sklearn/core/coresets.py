"""Coreset rules over a feature matrix, in memory that grows with n and not n²."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["centre", "herd", "k_center"]


def centre(features: Tensor) -> Tensor:
    """Rows less their mean; the second pass takes away what rounding left of a far one."""
    centred = features - features.mean(0)
    centred -= centred.mean(0)
    return centred


def squared_norms(rows: Tensor) -> Tensor:
    """Of each row, without a second matrix of their squares."""
    return torch.linalg.vector_norm(rows, dim=1).square()


def herd(features: Tensor, k: int) -> Tensor:
    """Herding (Welling, ICML-09): chosen rows whose running mean follows the mean.

    Step k takes the unchosen x that minimises ‖(k + 1)·μ − Σ chosen − x‖, the arg*min*.

    Parameters
    ----------
    features : Tensor of shape (n, d)
    k : int
        At most n.

    Returns
    -------
    Tensor of shape (k,)
        Row numbers in the order of selection.

    Notes
    -----
    Centred rows have μ = 0, so the target is −Σ chosen. O(k·n·d) time; one centred
    copy of the features, and O(n) memory beside it.
    """
    centred = centre(features)
    squares = squared_norms(centred)
    target = torch.zeros_like(centred[0])
    chosen = torch.empty(k, dtype=torch.long, device=features.device)
    for step in range(k):
        nearest = (squares - 2 * (centred @ target)).argmin()
        chosen[step] = nearest
        target = target - centred[nearest]
        squares[nearest] = torch.inf
    return chosen


def k_center(features: Tensor, k: int) -> Tensor:
    """Greedy k-center (Gonzalez, 1985): each further row is the farthest from those chosen.

    The first is the row nearest the mean.

    Parameters
    ----------
    features : Tensor of shape (n, d)
    k : int
        At most n.

    Returns
    -------
    Tensor of shape (k,)
        Row numbers in the order of selection.

    Notes
    -----
    Keeps each row's distance to its nearest centre alone: O(k·n·d) time; one centred
    copy of the features, and O(n) memory beside it.
    """
    centred = centre(features)
    squares = squared_norms(centred)
    chosen = torch.empty(k, dtype=torch.long, device=features.device)
    distances = torch.full_like(squares, torch.inf)
    latest = squares.argmin()
    for step in range(k):
        chosen[step] = latest
        to_latest = squares + squares[latest] - 2 * (centred @ centred[latest])
        distances = torch.minimum(distances, to_latest.clamp_min(0))
        distances[latest] = -1.0  # below any distance, so no row is taken twice
        latest = distances.argmax()
    return chosen
