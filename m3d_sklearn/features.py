"""Features of rows, for coresets: pixels, a trained network's, or the user's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from torch import Tensor

from m3d_sklearn._validation import to_numpy
from m3d_sklearn.classifier import NetworkClassifier, rebuild
from m3d_sklearn.core.coresets import PassedRows
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.networks import embed
from m3d_sklearn.device_rows import device_rows
from m3d_sklearn.layout import BLOCK, Units
from m3d_sklearn.row_source import LazyRows

__all__ = ["given_features", "network_features", "pixel_features"]

BATCH = 256
HELD = 2**26  # values of a class that are held, 256 MB, where X is not in memory


def pixel_features(
    rows: np.ndarray | LazyRows, units: Units, device: torch.device, members: np.ndarray
) -> Tensor | PassedRows:
    """Units of some rows, flat: held, or block by block where they are many and not in memory."""
    width = math.prod(rows.shape[1:])

    def of(numbers: np.ndarray) -> Tensor:
        own = units.to_units(rows[numbers])
        return torch.from_numpy(own.reshape(len(own), width)).to(device)

    if not isinstance(rows, LazyRows) or len(members) * width <= HELD:
        return of(members)
    step = max(1, BLOCK // width)
    return PassedRows(
        lambda: (of(members[i : i + step]) for i in range(0, len(members), step)),
        lambda place: of(members[place : place + 1])[0],
    )


def given_features(features: Any, n: int) -> np.ndarray:
    """Check what a user's callable gave, and scale it so that float32 keeps its distances.

    Raises
    ------
    ValueError
        Unless it is (n, d) finite real numbers.
    """
    try:
        features = check_array(to_numpy(features), dtype=np.float64, input_name="features")
    except (TypeError, ValueError) as error:
        raise ValueError(f"features as a callable must give ({n}, d) numbers; {error}") from error
    if len(features) != n:
        raise ValueError(
            f"features as a callable must give ({n}, d) numbers; it gave shape {features.shape}."
        )
    for _ in range(2):  # before centring against overflow, and after it to fill the range
        features = features / (np.abs(features).max() or 1.0)
        features = features - features.mean(0)
    return features.astype(np.float32)


def network_features(
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    data: str = "",
    network: str,
    epochs: str | int,
    seed: int,
    device: str,
    verbose: int = 0,
) -> np.ndarray:
    """Train a network on canonical rows and give its last features.

    Parameters
    ----------
    rows : ndarray or LazyRows of shape (n, c, h, w) or (n, d)
    labels : ndarray of shape (n,)
    data : str
        Names rows and labels in joblib's cache, which looks at neither.
    network : str
    epochs : int or "auto"
    seed : int
    device : str
    verbose : int

    Returns
    -------
    ndarray of float32, shape (n, d)

    Notes
    -----
    What joblib's cache looks at, and gives back, is names, numbers and numpy arrays alone.
    """
    classifier = NetworkClassifier(
        network=network,
        max_iter=epochs,
        channel_axis=1 if rows.ndim == 4 else "auto",
        device=device,
        random_state=seed,
        verbose=verbose,
    ).fit(rows, labels)
    place = resolve_device(device)
    module = rebuild(classifier, place)
    features = []
    for start in range(0, len(rows), BATCH):
        part, scale = device_rows(rows[start : start + BATCH], classifier._units, place)
        with torch.no_grad():
            features.append(embed(module, scale.normalise(scale.to_units(part))).cpu())
    return torch.cat(features).numpy()
