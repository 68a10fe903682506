"""Soft labels: what networks that learnt from the real rows make of the stored ones.

A one-hot label says what a row was made for. The outputs of trained networks also say what
else it looks like, which is knowledge of the real rows that its pixels alone do not hold
(Hinton et al., 2015; for condensed sets Sucholutsky & Schonlau, 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from m3d_sklearn.core.networks import Effort, classify, embed
from m3d_sklearn.core.sampling import Scale

__all__ = ["Teachers", "soft_labels"]

IN_MEMORY = Effort(rows=1024)  # images at a time on an accelerator


class Teachers(Protocol):
    """A source whose networks are trained on the real rows."""

    def teachers(self) -> Iterator[tuple[nn.Module, float]]:
        """Networks that have learnt, each with its weight; one is valid until the next."""
        ...


@torch.no_grad()
def soft_labels(source: Teachers, rows: Tensor, scale: Scale) -> Tensor | None:
    """Mean of the class probabilities that trained networks give rows, by their weights.

    Nothing is drawn, and the networks are left as they were.

    Parameters
    ----------
    source : Teachers
    rows : Tensor of shape (n, c, h, w) or (n, d)
        Decoded rows, in units, without augmentation.
    scale : Scale

    Returns
    -------
    Tensor of shape (n, n_classes) or None
        float32 on the CPU, each row a distribution. None where no network has learnt yet.
    """
    rows, total, weights = scale.normalise(rows), torch.zeros(()), 0.0
    for network, weight in source.teachers():
        training = network.training
        network.eval()
        logits = classify(network, embed(network, rows, IN_MEMORY))
        network.train(training)
        total = total + weight * logits.cpu().double().softmax(1)  # not all devices have float64
        weights += weight
    return (total / weights).float() if weights else None
