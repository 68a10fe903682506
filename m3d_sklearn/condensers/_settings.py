"""What "auto" comes to, and M3D's published settings; other methods begin from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.networks import SIZED

__all__ = [
    "defaults",
    "frugal",
    "in_units",
    "is_dear",
    "mosaics",
    "need_images",
    "published",
]

POOL = 4  # networks that learn
CALIBRATION, CALIBRATED = 0.03, 1.2  # the most, and that times the decoded rows of a class
WIDE, NARROW = 128, 64  # channels
FRUGAL_ITERATIONS = 1000
FEW_REAL, MANY_REAL = 64, 256  # rows of a class, where a pass is dear
GREY = (("crop", "scale", "rotate"),)
LARGE = 28  # pixels a side from which an image can hold mosaics, as in the paper
WHOLE_FROM = 20  # stored rows per class from which grey images are worth their own resolution


def is_large(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape[1:]) >= LARGE


def is_dear(shape: tuple[int, ...], device: torch.device) -> bool:
    """Whether a pass through the network takes long: large images on a CPU."""
    return is_large(shape) and not is_accelerator(device)


def mosaics(shape: tuple[int, ...], ipc: np.ndarray) -> int:
    """M3D's factor: four small images for one, until there are enough whole ones."""
    whole = shape[0] == 1 and ipc.mean() >= WHOLE_FROM
    return 2 if is_large(shape) and not whole else 1


def defaults(
    shape: tuple[int, ...],
    ipc: np.ndarray,
    device: torch.device,
    network: Any,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Our own settings: safe whatever the size and scale of X.

    Parameters
    ----------
    shape : tuple of int
        Of a canonical row: (c, h, w) or (d,).
    ipc : ndarray of shape (n_classes,)
    device : torch.device
    network : str or callable
        As the user gave it.
    given : mapping
        Parameters that the user has set, on which others depend.
    """
    large = is_large(shape)
    factor = given.get("factor", 2 if large else 1)
    optimizer = given.get("optimizer", "adam")
    pool = POOL if large and isinstance(network, str) else 0
    weight = weight_for_long(ipc, factor) if large else CALIBRATION
    return {
        "width": width_of(network, WIDE),
        "factor": factor,
        "augmentation": (GREY if shape[0] == 1 else MATCHING) if large else (),
        "init": "mix" if factor > 1 else "real",
        "max_iter": default_iterations(shape, device),
        "iterations_per_network": 5,
        "iterations_per_draw": 1,
        "pool": pool,
        "calibration": weight if given.get("pool", pool) else 0.0,
        "batch_real": FEW_REAL if is_dear(shape, device) else 128,
        "optimizer": optimizer,
        **steps(optimizer, ipc),
    }


def frugal(
    shape: tuple[int, ...],
    ipc: np.ndarray,
    network: Any,
    labelled: bool,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """What M3D does otherwise where :func:`is_dear` says so: more iterations in the same time.

    Networks are narrow, and for grey images random, where no pool is needed to label the set:
    learning takes a quarter of the time, and brings those nothing. Calibration does not fall
    with the rows: it is what few iterations gain most by. A draw stays with its network, so
    that its real rows go through once, and they are as many as cost what the stored rows do.
    """
    every = given.get("iterations_per_network", 5)
    kept = given.get("iterations_per_draw", every)
    # Rows a class while a draw is kept, a backward pass counting twice.
    stored = min(every, kept) * 3 * int(ipc.max()) * given.get("factor", 2) ** 2
    learns = isinstance(network, str) and (shape[0] > 1 or labelled)
    pool = POOL if learns else 0
    return {
        "width": width_of(network, NARROW),
        "max_iter": FRUGAL_ITERATIONS,
        "pool": pool,
        "calibration": CALIBRATION if given.get("pool", pool) else 0.0,
        "iterations_per_draw": kept,
        "batch_real": min(max(FEW_REAL, stored // FEW_REAL * FEW_REAL), MANY_REAL),
    }


def weight_for_long(ipc: np.ndarray, factor: int) -> float:
    """Calibration of a long run: the more rows, the smaller their MMD² beside the entropy."""
    return min(CALIBRATION, CALIBRATED / (float(ipc.mean()) * factor**2))


def published(
    shape: tuple[int, ...], ipc: np.ndarray, network: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    """M3D's settings in the published code; for images, as :func:`need_images` says."""
    need_images(shape)
    factor = given.get("factor", 2)
    optimizer = given.get("optimizer", "sgd")
    return {
        "width": width_of(network, WIDE),
        "factor": factor,
        "augmentation": MATCHING,
        "init": "mix" if factor > 1 else "real",
        "max_iter": 10_000,
        "iterations_per_network": 5,
        "iterations_per_draw": 1,
        "pool": 0,
        "calibration": 0.0,
        "batch_real": 128,
        "optimizer": optimizer,
        **steps(optimizer, ipc),
    }


def width_of(network: Any, convnet: int) -> int | None:
    """Width of a network as the user gave it, `convnet` of that; None where it has none."""
    if network in ("auto", "convnet"):
        return convnet
    return WIDE if isinstance(network, str) and network in SIZED else None


def need_images(shape: tuple[int, ...]) -> None:
    """No method has published settings for tables."""
    if len(shape) != 3:
        raise ValueError(
            "preset='paper' is for images, and X is a table; give image_shape, or preset=None."
        )


def in_units(rate: float, std: np.ndarray) -> float:
    """A rate that was published for normalised images, for images in units."""
    return rate * float(np.mean(np.square(std)))


def steps(optimizer: str, ipc: np.ndarray) -> dict[str, Any]:
    """Rate, momentum and schedule of an optimiser.

    The published SGD steps one momentum buffer of ½ class after class: that is SGD of each
    class alone with momentum ½^C and 2·(1 − ½^C) times the rate, which is 1·ipc.
    """
    if optimizer == "adam":
        return {"learning_rate": 0.03, "momentum": 0.9, "schedule": "cosine"}
    shared = 0.5 ** len(ipc)
    rate = float(ipc.mean()) * 2 * (1 - shared)
    return {"learning_rate": rate, "momentum": shared, "schedule": "constant"}


def default_iterations(shape: tuple[int, ...], device: torch.device) -> int:
    """What ``max_iter="auto"`` comes to."""
    if len(shape) != 3:
        return 500
    if not is_large(shape):
        return 150
    return 3000 if is_accelerator(device) else 300
