r"""A block on images of few channels: its instance norm is worked out on the patches.

The convolution is :math:`y_{pc} = \sum_k P_{pk} W_{kc}` over the 9·channels values of each
place's neighbourhood, so with centred patches

.. math:: \mathrm{var}_c = W_c^T \, \mathrm{Cov}(P) \, W_c, \qquad
          z = P W \mathrm{diag}(s) + \beta, \qquad s_c = \gamma_c / \sqrt{\mathrm{var}_c + ε}

and the widest activation of the network is written once, already normed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_sklearn.core.cpu.pooling import rectified_pool, rectified_pool_gradient
from m3d_sklearn.core.cpu.weights import EPSILON, BlockWeights

__all__ = ["KeptPatches", "output_size", "patch_block", "patch_block_gradient"]


class KeptPatches(NamedTuple):
    """What the gradient needs.

    `patches` (n, k + 1, h·w) are centred, with a last row of ones that carries the shift;
    `spread` is Cov·W, (n, k, c); `inverse` is 1/deviation, (n, c).
    """

    patches: Tensor
    spread: Tensor
    inverse: Tensor


def _matrix(weights: BlockWeights) -> Tensor:
    """W of the module's docstring, (k, c)."""
    return weights.convolution.flatten(1).t()


def _normed(
    kept: KeptPatches, weights: BlockWeights, size: Sequence[int], room: Tensor | None
) -> Tensor:
    """z of the module's docstring, (n, h, w, c), for images of `size`; in `room` if given."""
    scaled = _matrix(weights) * (kept.inverse * weights.scale)[:, None]
    shift = weights.shift.expand(len(scaled), 1, -1)
    out = None if room is None else room[: len(scaled)]
    z = torch.matmul(kept.patches.transpose(1, 2), torch.cat([scaled, shift], 1), out=out)
    return z.unflatten(1, output_size(size, weights.padding))


def output_size(size: Sequence[int], padding: int) -> tuple[int, int]:
    """Of the convolution, for images of `size`."""
    return size[0] + 2 * padding - 2, size[1] + 2 * padding - 2


def patch_block(
    x: Tensor, weights: BlockWeights, room: Tensor | None = None
) -> tuple[Tensor, KeptPatches]:
    """(n, channels, h, w) to (n, h/2, w/2, c), and what the gradient needs.

    `room` (n or more, places, c) is written to: memory that is used again and again is in
    cache, where a fresh activation is not.
    """
    columns = F.unfold(x, 3, padding=weights.padding)
    columns = columns - columns.mean(2, keepdim=True)
    matrix = _matrix(weights)
    spread = (columns @ columns.transpose(1, 2)) @ matrix / columns.shape[2]
    variance = (spread * matrix).sum(1).clamp_min(0)
    patches = F.pad(columns, (0, 0, 0, 1), value=1.0)
    kept = KeptPatches(patches, spread, (variance + EPSILON).rsqrt())
    return rectified_pool(_normed(kept, weights, x.shape[2:], room)), kept


def patch_block_gradient(
    gradient: Tensor,
    kept: KeptPatches,
    weights: BlockWeights,
    size: Sequence[int],
    by_input: bool,
    by_weights: bool,
    room: Tensor | None = None,
) -> tuple[Tensor | None, tuple[Tensor, Tensor, Tensor] | None]:
    """Gradients by the images (n, channels, h, w), of `size`, and by the parameters."""
    g = rectified_pool_gradient(gradient, _normed(kept, weights, size, room)).flatten(1, 2)
    met = kept.patches @ g  # Σ over places of patch and gradient, (n, k + 1, c)
    met, total = met[:, :-1], met[:, -1]
    matrix, scale = _matrix(weights), kept.inverse * weights.scale
    along = (met * matrix).sum(1) * kept.inverse  # Σ over places of g and what is normed
    image = None
    if by_input:
        shrink = matrix * (scale * along * kept.inverse / g.shape[1])[:, None]
        by_patches = (matrix * scale[:, None]) @ g.transpose(1, 2)
        by_patches = by_patches - (shrink @ matrix.t()) @ kept.patches[:, :-1]
        by_patches = by_patches - by_patches.mean(2, keepdim=True)
        image = F.fold(by_patches, tuple(size), 3, padding=weights.padding)
    if not by_weights:
        return image, None
    shrunk = kept.spread * (scale * along * kept.inverse)[:, None]
    by_matrix = (met * scale[:, None] - shrunk).sum(0)
    return image, (by_matrix.t().reshape_as(weights.convolution), along.sum(0), total.sum(0))
