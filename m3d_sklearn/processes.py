"""Several processes, or machines: what torchrun starts shares out a fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from m3d_sklearn.core.devices import group_backend, own_device
from m3d_sklearn.core.distributed import Alone, sharing

__all__ = ["distributed"]

NEEDED = "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"


@contextmanager
def distributed(*, timeout: float = 600.0) -> Iterator[Alone]:
    """Share out what is fitted and evaluated inside over the processes of torchrun.

    Every process runs the same script with the same data and parameters. A condenser that
    matches gives each of them a part of the classes, :func:`evaluate` a part of its networks;
    both give every process the whole result. All else runs whole in each process.

    Parameters
    ----------
    timeout : float, default=600
        Seconds that one process waits for the others before it gives up. Only read where torch's
        default group is not there yet: one that is, is used and left.

    Yields
    ------
    object with ``rank``, ``size`` and ``local``, the rank on this machine

    Raises
    ------
    ValueError
        Where neither the group nor torchrun's environment is there.

    Examples
    --------
    >>> from m3d_sklearn import M3DCondenser, distributed
    >>> def main(X, y):  # torchrun --nproc-per-node=4 script.py
    ...     with distributed() as ranks:
    ...         condenser = M3DCondenser(ipc=10, random_state=0).fit(X, y)
    ...         if ranks.rank == 0:
    ...             condenser.condensed_.save("condensed.npz")
    """
    begun = not (dist.is_available() and dist.is_initialized())
    if begun:
        _begin(timeout)
    try:
        with sharing(timeout) as ranks, own_device(ranks.local):
            yield ranks
    finally:
        if begun:
            dist.destroy_process_group()


def _begin(timeout: float) -> None:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise ValueError(
            "distributed() must run in processes that torchrun has started, as in "
            f"'torchrun --nproc-per-node=2 script.py'; got no {', '.join(missing)} in the "
            "environment."
        )
    dist.init_process_group(group_backend(), timeout=timedelta(seconds=timeout))
