"""Embedding networks that learn from the real rows while a run goes on."""

from __future__ import annotations

import torch

from m3d_sklearn.core.networks import classify, embed
from m3d_sklearn.core.randomness import borrowed_global_generators
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks, TrainedNetworks
from m3d_sklearn.core.training import PROTOCOLS, TrainingRecipe

__all__ = ["check_outputs", "trained_networks"]

PART = 1 / 3  # of a run, its first, in which training takes as much arithmetic as matching
MOST_STEPS = 8000  # of a network
BATCH = 64


def trained_networks(
    fresh: FreshNetworks, pools: ClassPools, *, size: int, rows: float, precision: torch.dtype
) -> TrainedNetworks:
    """A pool of `size` networks, whose training adds a third to a run of so many iterations.

    Parameters
    ----------
    fresh : FreshNetworks
    pools : ClassPools
    size : int
    rows : float
        That an iteration sends through a network, a backward pass counting twice.
    precision : torch.dtype
        Of the training's passes.

    Raises
    ------
    ValueError
        If the network does not give an output per class.
    """
    check_outputs(fresh, "pool above 0", "Use pool=0, or another network.")
    shape = fresh.input_shape
    grey = len(shape) == 3 and shape[0] == 1
    policy = PROTOCOLS["m3d"].policies[0 if grey else 1] if len(shape) == 3 else ()
    step = 3 * BATCH * size  # rows that one step of all of them sends through
    return TrainedNetworks(
        fresh,
        lambda index: pools.scale.normalise(pools.take(index)),
        pools.labels,
        TrainingRecipe(steps=0, batch_size=BATCH, policy=policy, precision=precision),
        size=size,
        rate=fresh.every * rows / step,
        until=PART,
        most=MOST_STEPS,
    )


def check_outputs(fresh: FreshNetworks, needs: str, advice: str = "Use another network.") -> None:
    """Raise a ValueError unless a network gives an output per class, which training needs."""
    network = fresh.network
    rows = torch.zeros(2, *fresh.input_shape, device=fresh.stream.device)
    with torch.no_grad(), borrowed_global_generators(fresh.stream):
        outputs = network(rows), classify(network, embed(network, rows))
    for given, how in zip(outputs, ("", "by its embed and head "), strict=True):
        if tuple(given.shape) != (2, fresh.n_outputs):
            raise ValueError(
                f"{needs} needs a network with {fresh.n_outputs} outputs per row, one per class; "
                f"{how}it gave {tuple(given.shape)} for 2 rows. {advice}"
            )
