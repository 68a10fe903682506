"""Embedding networks that learn from the real rows while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from m3d_sklearn.core.augmentation import Policy
from m3d_sklearn.core.networks import classify, embed
from m3d_sklearn.core.randomness import borrowed_global_generators
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks, TrainedNetworks
from m3d_sklearn.core.training import PROTOCOLS, TrainingRecipe

__all__ = ["check_outputs", "need_learning", "trained_networks"]

# Of a run, its first, in which training takes as much arithmetic as matching does with real
# rows that are drawn anew; about twice as much where draws are kept.
PART = 1 / 3
MOST_STEPS = 8000  # of a network
BATCH = 64


def trained_networks(
    fresh: FreshNetworks,
    pools: ClassPools,
    *,
    size: int,
    rows: float,
    policy: Policy | None,
    precision: torch.dtype,
) -> TrainedNetworks:
    """A pool of `size` networks, trained through the first part of a run.

    Parameters
    ----------
    fresh : FreshNetworks
    pools : ClassPools
    size : int
    rows : float
        That an iteration sends through a network, a backward pass counting twice.
    policy : augmentation operations, or None
        Of the training; None is the protocol's.
    precision : torch.dtype
        Of the training's passes.

    Raises
    ------
    ValueError
        If the network does not give an output per class.
    """
    check_outputs(fresh, "pool above 0", "Use pool=0, or another network.")
    if policy is None:
        policy = own_policy(fresh.input_shape)
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


def own_policy(shape: tuple[int, ...]) -> Policy:
    """Augmentation of the protocol "m3d"; none for tables."""
    if len(shape) != 3:
        return ()
    return PROTOCOLS["m3d"].policies[0 if shape[0] == 1 else 1]


def need_learning(wanted: Mapping[str, Any], learns: int, way: str) -> None:
    """Raise a ValueError for what is wanted of networks that learn, where there are none."""
    for name, value in wanted.items():
        if value and not learns:
            raise ValueError(f"{name}={value!r} needs networks that learn, {way}.")


def check_outputs(fresh: FreshNetworks, needs: str, advice: str = "Use another network.") -> None:
    """Raise a ValueError unless a network gives an output per class, which training needs."""
    network = fresh.network
    rows = torch.zeros(2, *fresh.input_shape, device=fresh.stream.device)
    with torch.no_grad(), borrowed_global_generators(fresh.stream) as drew:
        outputs = network(rows), classify(network, embed(network, rows))
        fresh.random_passes |= drew()
    for given, how in zip(outputs, ("", "by its embed and head "), strict=True):
        if tuple(given.shape) != (2, fresh.n_outputs):
            raise ValueError(
                f"{needs} needs a network with {fresh.n_outputs} outputs per row, one per class; "
                f"{how}it gave {tuple(given.shape)} for 2 rows. {advice}"
            )
