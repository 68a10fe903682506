r"""Distance between the gradients that real and synthetic rows give a network's weights.

.. math:: D = \sum_{l} \sum_{o} \Bigl(1 -
          \frac{\langle g_{lo}, \hat g_{lo} \rangle}{\|g_{lo}\| \, \|\hat g_{lo}\|}\Bigr)

over layers l and their output units o, with g and ĝ the gradients of the mean cross-entropy
of one class's real and synthetic rows (DC, ICLR-21, eq. 10). Biases and norms are left out.
One value per class, the gradients of all classes in one mapped pass; class after class for
images on a CPU, and where a row's output depends on the rows beside it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from m3d_sklearn.core.devices import autocast, is_accelerator
from m3d_sklearn.core.mmd import stack_classes
from m3d_sklearn.core.networks import ByModules, sees_batches
from m3d_sklearn.core.step import Batch

__all__ = ["class_gradients", "gradient_distance", "unit_distances"]

SMALLEST = 1e-24  # of a squared norm: a unit without gradient is at distance 1, and stays there


def gradient_distance(network: nn.Module, batch: Batch) -> Tensor:
    """The objective of DC and DSA: D of each class, (C,)."""
    with torch.no_grad():
        real = class_gradients(network, batch.real, batch.real_counts, batch)
    synthetic = class_gradients(network, batch.synthetic, batch.synthetic_counts, batch)
    return unit_distances(real, synthetic)


def class_gradients(
    network: nn.Module, rows: Tensor, counts: list[int], batch: Batch
) -> dict[str, Tensor]:
    """Gradient of each class's mean cross-entropy by every matrix of weights.

    Parameters
    ----------
    network : nn.Module
        Its outputs are logits. Made of operations that can be differentiated twice.
    rows : Tensor of shape (sum(counts), ...)
        Class after class, from ``batch.first`` on.
    counts : list of int
    batch : Batch
        For the first class's number and the precision.

    Returns
    -------
    dict of str to Tensor of shape (C, ...)
        By the weights' names, those of two axes and more.
    """
    module = ByModules(network)
    weights = {n: p.detach() for n, p in module.named_parameters() if p.ndim > 1}
    rest = {n: p.detach() for n, p in module.named_parameters() if p.ndim <= 1}
    rest |= dict(module.named_buffers())
    labels = torch.arange(len(counts), device=rows.device) + batch.first

    def loss(weights: dict[str, Tensor], own: Tensor, share: Tensor, label: Tensor) -> Tensor:
        with autocast(own.device, batch.effort.precision):
            logits = functional_call(module, weights | rest, (own,)).to(own.dtype)
        losses = F.cross_entropy(logits, label.expand(len(own)), reduction="none")
        return (share * losses).sum()

    # Mapped convolutions are grouped ones, which a CPU does at half the speed; and mapped
    # classes have as many rows each, some of them padding that a norm of batches would count.
    if (rows.ndim == 4 and not is_accelerator(rows.device)) or sees_batches(network):
        own = rows.split(counts)
        means = [part.new_full((len(part),), 1 / len(part)) for part in own]
        each = map(partial(grad(loss), weights), own, means, labels)
        return {name: torch.stack(own) for name, own in _by_name(list(each)).items()}
    stacked, shares = stack_classes(rows.flatten(1), counts)
    stacked = stacked.unflatten(2, rows.shape[1:])
    mapped = vmap(grad(loss), in_dims=(None, 0, 0, 0), randomness="different")
    return mapped(weights, stacked, shares, labels)


def _by_name(each: list[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
    return {name: [own[name] for own in each] for name in each[0]}


def unit_distances(real: dict[str, Tensor], synthetic: dict[str, Tensor]) -> Tensor:
    """1 − cosine, summed over layers and output units; (C,)."""
    total: Any = 0.0
    for name, target in real.items():
        a, b = target.flatten(2), synthetic[name].flatten(2)  # (C, out, in)
        lengths = [(own.square().sum(2) + SMALLEST).sqrt() for own in (a, b)]
        total = total + (1 - (a * b).sum(2) / (lengths[0] * lengths[1])).sum(1)
    return total
