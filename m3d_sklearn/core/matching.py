"""What methods that match features share: class means, and how well a network knows a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_sklearn.core.mmd import stack_classes
from m3d_sklearn.core.networks import classify
from m3d_sklearn.core.sampling import range_numbers
from m3d_sklearn.core.step import Batch

__all__ = ["class_means", "cross_entropies", "mean_distances"]


def class_means(values: Tensor, counts: list[int]) -> Tensor:
    """Mean of each class's rows, (sum(counts), ...) to (C, d)."""
    stacked, weights = stack_classes(values.flatten(1), counts)
    return torch.einsum("cn,cnd->cd", weights, stacked)


def mean_distances(real: Tensor, synthetic: Tensor, batch: Batch) -> Tensor:
    """‖mean f(real) − mean f(synthetic)‖² of each class, (C,), from features (DM, eq. 4)."""
    target = class_means(real.detach(), batch.real_counts)
    return (target - class_means(synthetic, batch.synthetic_counts)).square().sum(1)


def cross_entropies(network: nn.Module, features: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of each class's synthetic rows under the network's head, (C,)."""
    classes = range_numbers(batch.synthetic_counts, features.device)
    losses = F.cross_entropy(classify(network, features), classes + batch.first, reduction="none")
    return class_means(losses[:, None], batch.synthetic_counts)[:, 0]
