"""A block on many channels: 3×3 convolution, instance norm, ReLU and 2×2 mean pooling.

Activations are (n, h, w, c) and written in place where nobody needs them again: a fresh
one costs a CPU more than the arithmetic on it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from m3d_sklearn.core.cpu import winograd
from m3d_sklearn.core.cpu.pooling import rectified_pool, rectified_pool_gradient
from m3d_sklearn.core.cpu.weights import EPSILON, BlockWeights

__all__ = ["KeptWide", "wide_block", "wide_block_gradient"]


class KeptWide(NamedTuple):
    """What the gradient needs: the input, the centred convolution, and 1/deviation."""

    x: Tensor
    centred: Tensor
    inverse: Tensor


def _convolve(x: Tensor, weights: BlockWeights) -> Tensor:
    if weights.transformed is not None:
        return winograd.convolve(x, weights.transformed)
    rows = x.to(weights.convolution.dtype).permute(0, 3, 1, 2)
    y = F.conv2d(rows, weights.convolution, padding=weights.padding)
    return y.permute(0, 2, 3, 1).to(x.dtype).contiguous()


def _input_gradient(dy: Tensor, x: Tensor, weights: BlockWeights) -> Tensor:
    if weights.turned is not None:
        return winograd.convolve(dy, weights.turned)
    shape = x.permute(0, 3, 1, 2).shape
    rows = dy.to(weights.convolution.dtype).permute(0, 3, 1, 2)
    dx = conv2d_input(shape, weights.convolution, rows, padding=weights.padding)
    return dx.permute(0, 2, 3, 1).to(dy.dtype).contiguous()


def _weight_gradient(dy: Tensor, x: Tensor, weights: BlockWeights) -> Tensor:
    if weights.transformed is not None:
        return winograd.weight_gradient(x, dy)
    kind, shape = weights.convolution.dtype, weights.convolution.shape
    rows, by_rows = (values.to(kind).permute(0, 3, 1, 2) for values in (x, dy))
    found = conv2d_weight(rows, shape, by_rows, padding=weights.padding)
    return found.to(dy.dtype)


def wide_block(x: Tensor, weights: BlockWeights) -> tuple[Tensor, KeptWide]:
    """(n, h, w, c) to (n, h/2, w/2, c'), and what the gradient needs."""
    centred = _convolve(x, weights)
    centred -= centred.mean((1, 2), keepdim=True)
    work = centred.square()
    inverse = (work.mean((1, 2), keepdim=True) + EPSILON).rsqrt()
    torch.addcmul(weights.shift, centred, inverse * weights.scale, out=work)
    return rectified_pool(work), KeptWide(x, centred, inverse)


def wide_block_gradient(
    gradient: Tensor, kept: KeptWide, weights: BlockWeights, by_input: bool, by_weights: bool
) -> tuple[Tensor | None, tuple[Tensor, Tensor, Tensor] | None]:
    """Gradients by the input, and by convolution, scale and shift."""
    x, centred, inverse = kept
    places = centred.shape[1] * centred.shape[2]
    factor = inverse * weights.scale
    g = rectified_pool_gradient(gradient, torch.addcmul(weights.shift, centred, factor))
    total = g.sum((1, 2), keepdim=True)
    along = (g * centred).sum((1, 2), keepdim=True) * inverse
    g -= total / places
    g.addcmul_(centred, along * inverse / places, value=-1)
    g *= factor
    dx = _input_gradient(g, x, weights) if by_input else None
    if not by_weights:
        return dx, None
    by_parameters = _weight_gradient(g, x, weights), along.sum((0, 1, 2)), total.sum((0, 1, 2))
    return dx, by_parameters
