r"""Matching every layer's features, and telling real rows by synthetic centres (CAFE, CVPR-22).

.. math:: L_c = \sum_l w_l \, \| \mu_l(T_c) - \mu_l(S_c) \|^2 + 0.01
          \sum_{x \in T_c} \mathrm{CE}(f(x) \cdot [\mu(S_1) \dots \mu(S_C)], c)

with μ_l the mean of layer l's features and f the last ones. Weights w are 0.1 but for the
last block and its pooled output, which count 1. The cross-entropy is a sum over the real rows,
as in the published code: a mean of 256 rows would hardly count beside the distances.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m3d_sklearn.core.devices import autocast, upload
from m3d_sklearn.core.matching import class_means
from m3d_sklearn.core.networks import MLP, ConvNet, embed, sees_batches
from m3d_sklearn.core.sampling import range_numbers
from m3d_sklearn.core.step import Batch

__all__ = ["layer_distances", "layer_features"]

EARLY, DISCRIMINATION = 0.1, 0.01
CHUNK = 256  # rows on a CPU


def layer_distances(network: nn.Module, batch: Batch) -> Tensor:
    """The objective of CAFE, a value per class, (C,), of all classes together.

    Rows go through the network in chunks, of which each layer's sums stay: the activations of
    all would not fit into memory.
    """
    with torch.no_grad():
        real, last = layer_means(network, batch.real, batch.real_counts, batch)
    synthetic, _ = layer_means(network, batch.synthetic, batch.synthetic_counts, batch)
    total: Tensor | float = 0.0
    for weight, target, own in zip(weights_of(network, len(real)), real, synthetic, strict=True):
        total = total + weight * (target - own).square().sum(1)
    classes = range_numbers(batch.real_counts, last.device)
    losses = F.cross_entropy(last @ synthetic[-1].t(), classes, reduction="none")
    sizes = upload([float(count) for count in batch.real_counts], last.device)
    return total + DISCRIMINATION * sizes * class_means(losses[:, None], batch.real_counts)[:, 0]


def layer_means(
    network: nn.Module, x: Tensor, counts: list[int], batch: Batch
) -> tuple[list[Tensor], Tensor]:
    """Means of each class's rows in every layer, (C, d) each, and the last layer's rows, (n, d)."""
    classes = range_numbers(counts, x.device)
    rows = len(x) if sees_batches(network) else batch.effort.rows or CHUNK

    def sums(part: Tensor, of: Tensor) -> list[Tensor]:
        found = [values.flatten(1) for values in layer_features(network, part, batch)]
        zeros = (values.new_zeros(len(counts), values.shape[1]) for values in found)
        return [zero.index_add(0, of, v) for zero, v in zip(zeros, found, strict=True)] + found[-1:]

    again = torch.is_grad_enabled() and x.requires_grad and len(x) > rows  # in the gradient
    last: list[Tensor] = []
    total: list[Tensor] = []
    for part, of in zip(x.split(rows), classes.split(rows), strict=True):
        own = checkpoint(sums, part, of, use_reentrant=False) if again else sums(part, of)
        last.append(own.pop())
        total = [a + b for a, b in zip(total, own, strict=True)] if total else own
    sizes = upload([float(count) for count in counts], x.device)[:, None]
    return [values / sizes for values in total], torch.cat(last)


def weights_of(network: nn.Module, n_layers: int) -> list[float]:
    """Of each entry of :func:`layer_features`."""
    last = 2 if isinstance(network, ConvNet) else 1
    return [EARLY] * (n_layers - last) + [1.0] * last


def layer_features(network: nn.Module, x: Tensor, batch: Batch) -> list[Tensor]:
    """Features of every layer, the last ones last, in x's precision.

    Of a ConvNet each block's activations, and the last block's pooled ones; of an MLP each
    hidden layer; of another module what it embeds to.
    """
    if not isinstance(network, (ConvNet, MLP)):
        return [embed(network, x, batch.effort)]
    layers = network.blocks if isinstance(network, ConvNet) else network.layers
    found, values = [], x if isinstance(network, ConvNet) else x.flatten(1)
    with autocast(x.device, batch.effort.precision):
        for layer in layers:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                found.append(values.to(x.dtype))
    return [*found, values.to(x.dtype)] if isinstance(network, ConvNet) else found
