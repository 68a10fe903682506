"""One block's parameters, as the passes want them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from m3d_sklearn.core.cpu import winograd

__all__ = ["EPSILON", "FEW_CHANNELS", "BlockWeights", "few_channels", "prepared"]

EPSILON = 1e-5  # added to the variance, as nn.GroupNorm does
FEW_CHANNELS = 4


class BlockWeights(NamedTuple):
    """One block's parameters.

    The convolution's bias is lost in the norm, and left out. A Winograd convolution's
    weights come with their transform and that of its gradient. One in bfloat16 is computed
    in that, all else in float32.
    """

    convolution: Tensor
    scale: Tensor
    shift: Tensor
    padding: int
    transformed: Tensor | None = None
    turned: Tensor | None = None


def few_channels(weights: BlockWeights) -> bool:
    """Whether the block's input is an image, whose patches are smaller than its output."""
    return weights.convolution.shape[1] <= FEW_CHANNELS


def prepared(
    blocks: Sequence[BlockWeights],
    size: Sequence[int],
    differentiable: bool,
    precision: torch.dtype = torch.float32,
) -> tuple[BlockWeights, ...]:
    """Weights for all chunks: Winograd's transforms, where they pay for images of `size`.

    In bfloat16 wide convolutions take the direct sum: the processors that have units for it
    do it faster than the transforms.
    """
    ready = []
    height, width = size
    for own in blocks:
        weight = own.convolution.detach()
        own = own._replace(convolution=weight, scale=own.scale.detach(), shift=own.shift.detach())
        c_out, c_in = weight.shape[:2]
        if precision == torch.bfloat16 and not few_channels(own):
            weight = weight.to(precision, memory_format=torch.channels_last)
            own = own._replace(convolution=weight)
        elif own.padding == 1 and winograd.pays(c_in, c_out, height, width):
            own = own._replace(transformed=winograd.transform_weights(weight))
            if differentiable:
                turned = weight.flip(2, 3).transpose(0, 1)
                own = own._replace(turned=winograd.transform_weights(turned))
        ready.append(own)
        height, width = ((side + 2 * own.padding - 2) // 2 for side in (height, width))
    return tuple(ready)
