"""The settings of one run of the loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from m3d_sklearn.core.augmentation import Policy

__all__ = ["LOSS_EVERY", "MAX_DECODED", "UNLIMITED", "Recipe", "decoded_counts"]

MAX_DECODED = 200  # decoded rows of a class in one step, as published
UNLIMITED = 10**9  # iterations: something else ends the run
LOSS_EVERY = 10  # iterations between two looks at the whole loss


@dataclass(frozen=True)
class Recipe:
    """Resolved settings of one run: no "auto" left.

    Attributes
    ----------
    counts : list of int
        Stored rows of each class.
    factor : int
    policy : sequence of augmentation operations
    batch_real : int
        Real rows drawn of each class, fewer where a class has fewer.
    optimizer : {"adam", "sgd"}
    learning_rate : float
        In units of :class:`~m3d_sklearn.core.sampling.Scale`.
    momentum : float
        Of SGD, or Adam's β₁.
    schedule : {"cosine", "constant", "step"}
    max_iter : int
    max_time : float or None
        Seconds.
    tol : float or None
        Stop when the mean loss of `n_iter_no_change` iterations is not below the best
        such mean by this fraction of it.
    n_iter_no_change : int
        At least LOSS_EVERY, so that a window holds a loss.
    precision : torch.dtype
        Of the network's passes; all else is in the rows' own.
    iterations_per_draw : int
        Iterations between two draws of real rows, augmentation and decoded rows.
    coupled : bool
        Whether a class's loss depends on the other classes: they all go through together.
    random_passes : bool
        Whether passes through the network draw numbers (dropout): then real rows go through
        in every iteration, and processes do not share classes out.
    """

    counts: list[int]
    factor: int
    policy: Policy
    batch_real: int
    optimizer: str
    learning_rate: float
    momentum: float
    schedule: str
    max_iter: int
    max_time: float | None = None
    tol: float | None = None
    n_iter_no_change: int = 100
    precision: torch.dtype = torch.float32
    iterations_per_draw: int = 1
    coupled: bool = False
    random_passes: bool = False


def decoded_counts(recipe: Recipe) -> list[int]:
    """Decoded rows of each class that take part in a step."""
    return [min(count * recipe.factor**2, MAX_DECODED) for count in recipe.counts]
