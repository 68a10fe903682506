"""Scores of a condensed set: accuracy of what is trained on it, and its MMD to the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone

from m3d_sklearn.benchmark.cells import Settings
from m3d_sklearn.benchmark.measure import measured
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.mmd import mmd2, stack_classes
from m3d_sklearn.core.networks import auto_network, build, embed
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.device_rows import device_rows
from m3d_sklearn.evaluation import evaluate, held_out

__all__ = ["mmd_to_data", "score_models"]

MMD_NETWORKS = 3
MMD_REAL_ROWS = 200  # of each class


def score_models(
    condensed: CondensedSet,
    X_test: np.ndarray,
    y_test: np.ndarray,
    settings: Settings,
    seed: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Train every model of the settings on a set and score it on the test rows.

    Returns
    -------
    list of dict
        A network has one score a protocol and augmentation, a classifier one in all.
    """
    scores = []
    for name, model in settings.models.items():
        if isinstance(model, BaseEstimator):
            scores.append(_score_estimator(name, model, condensed, X_test, y_test, seed))
            continue
        for protocol in settings.protocols:
            for augmentation in settings.augmentations:
                plain = augmentation == "none"
                with measured(device) as cost:
                    result = evaluate(
                        condensed,
                        X_test,
                        y_test,
                        network=model,
                        n_networks=settings.n_networks,
                        protocol=protocol,
                        max_steps=settings.max_steps,
                        augmentation=None if plain else "auto",
                        cutmix=0.0 if plain else "auto",
                        device=device,
                        random_state=seed,
                    )
                scores.append(
                    {
                        "model": result.network if name == "auto" else name,
                        "kind": "network",
                        "protocol": protocol,
                        "augmentation": augmentation,
                        "accuracy": result.mean,
                        "std": result.std,
                        "scores": result.scores.tolist(),
                        "epochs": result.epochs,
                        "steps": result.steps,
                        "width": result.width,
                        "seconds": cost.seconds,
                        "peak_mb": cost.peak_mb,
                    }
                )
    return scores


def _score_estimator(
    name: str,
    estimator: BaseEstimator,
    condensed: CondensedSet,
    X_test: np.ndarray,
    y_test: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """A classifier on decoded rows, flat, scaled by the statistics of the training data."""
    X, labels = (tensor.numpy() for tensor in condensed.to_torch())
    test, test_labels = held_out(condensed, X_test, y_test)
    units = condensed.units
    test = ((units.to_units(test) - units.mean) / units.std).astype(np.float32)
    model = clone(estimator)
    for parameter, value in model.get_params().items():
        if value is None and parameter.split("__")[-1] == "random_state":
            model.set_params(**{parameter: seed})
    with measured(torch.device("cpu")) as cost:
        model.fit(X.reshape(len(X), -1), labels)
        accuracy = float((model.predict(test.reshape(len(test), -1)) == test_labels).mean())
    return {
        "model": name,
        "kind": "estimator",
        "protocol": None,
        "augmentation": None,
        "accuracy": accuracy,
        "std": 0.0,
        "scores": [accuracy],
        "epochs": None,
        "steps": None,
        "width": None,
        "seconds": cost.seconds,
        "peak_mb": cost.peak_mb,
    }


@torch.no_grad()
def mmd_to_data(
    condensed: CondensedSet, X: np.ndarray, y: np.ndarray, device: torch.device
) -> float:
    """MMD² between decoded rows and the data, mean over classes and fixed random networks.

    The same networks, the same (at most 200) real rows per class and the "rbf" kernel for
    every set of a data set, so that the figures compare with one another and nothing else.
    """
    rows, labels = held_out(condensed, X, y)
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(labels == place) for place in range(len(condensed.classes))]
    kept = [np.sort(rng.permutation(m)[:MMD_REAL_ROWS]) for m in members]
    real, scale = device_rows(
        np.ascontiguousarray(rows[np.concatenate(kept)]), condensed.units, device
    )
    real = scale.normalise(scale.to_units(real))
    decoded, decoded_labels = condensed.to_torch()
    decoded = decoded.to(device)
    counts = torch.bincount(decoded_labels, minlength=len(kept)).tolist()
    kernel, shape = make_kernel("rbf", "mean"), condensed.layout.canonical_shape
    values = []
    for seed in range(MMD_NETWORKS):
        network = build(auto_network(shape), shape, len(kept), Stream(seed, device))
        real_features, real_weights = stack_classes(embed(network, real), list(map(len, kept)))
        features, weights = stack_classes(embed(network, decoded), counts)
        values.append(mmd2(real_features, features, kernel, real_weights, weights).mean())
    return float(torch.stack(values).mean())
