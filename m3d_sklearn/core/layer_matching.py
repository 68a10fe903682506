r"""Matching every layer's features, and telling real rows by synthetic centres (CAFE, CVPR-22).

.. math:: L_c = \sum_l w_l \, \| \mu_l(T_c) - \mu_l(S_c) \|^2 + \frac{0.01}{|T_c|}
          \sum_{x \in T_c} \mathrm{CE}(f(x) \cdot [\mu(S_1) \dots \mu(S_C)], c)

with μ_l the mean of layer l's features and f the last ones. Weights w are 0.1 but for the
last block and its pooled output, which count 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_sklearn.core.devices import autocast
from m3d_sklearn.core.matching import class_means
from m3d_sklearn.core.networks import MLP, ConvNet, embed
from m3d_sklearn.core.sampling import range_numbers
from m3d_sklearn.core.step import Batch

__all__ = ["layer_distances", "layer_features"]

EARLY, DISCRIMINATION = 0.1, 0.01


def layer_distances(network: nn.Module, batch: Batch) -> Tensor:
    """The objective of CAFE, a value per class, (C,).

    Centres are of the classes that go through together: all of them, unless their
    activations do not fit into memory.
    """
    with torch.no_grad():
        real = layer_features(network, batch.real, batch)
    synthetic = layer_features(network, batch.synthetic, batch)
    total: Tensor | float = 0.0
    for weight, target, own in zip(weights_of(network, len(real)), real, synthetic, strict=True):
        gap = class_means(target, batch.real_counts) - class_means(own, batch.synthetic_counts)
        total = total + weight * gap.square().sum(1)
    centres = class_means(synthetic[-1], batch.synthetic_counts)
    classes = range_numbers(batch.real_counts, centres.device)
    losses = F.cross_entropy(real[-1].flatten(1) @ centres.t(), classes, reduction="none")
    return total + DISCRIMINATION * class_means(losses[:, None], batch.real_counts)[:, 0]


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
