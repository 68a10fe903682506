"""ConvNet's block by torch's functions, and by the fused kernel where that is at home."""

from __future__ import annotations

import functools
import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_sklearn.core.devices import runs_triton

__all__ = ["block"]

MOST_PLACES = 1024  # pooled places of an image: more do not fit in registers
FUSED = (torch.float32, torch.bfloat16, torch.float16)


def block(
    x: Tensor,
    convolution: tuple[Tensor, Tensor],
    norm: tuple[Tensor, Tensor],
    padding: tuple[int, int],
    groups: int = 1,
) -> Tensor:
    """Convolution, instance norm, ReLU and 2×2 average pooling.

    Parameters
    ----------
    x : Tensor of shape (n, c, h, w)
    convolution : (Tensor, Tensor)
        Kernels and bias. The fused kernel leaves out the bias: the norm takes it away again.
    norm : (Tensor, Tensor)
        Scale and shift of each channel.
    padding : (int, int)
    groups : int
        Networks side by side.

    Returns
    -------
    Tensor of shape (n, c', h', w')
    """
    weight, bias = convolution
    height, width = (
        side + 2 * own - kernel + 1
        for side, own, kernel in zip(x.shape[2:], padding, weight.shape[2:], strict=True)
    )
    if _fuses(x, height, width):
        from m3d_sklearn.core.gpu.norm_pool import norm_relu_pool

        y = F.conv2d(x, weight, padding=padding, groups=groups)
        return norm_relu_pool(y, *norm)
    y = F.conv2d(x, weight, bias, padding=padding, groups=groups)
    return F.avg_pool2d(F.relu(F.group_norm(y, len(norm[0]), *norm)), 2)


def _fuses(x: Tensor, height: int, width: int) -> bool:
    even = height % 2 == 0 and width % 2 == 0 and height * width <= 4 * MOST_PLACES
    return even and x.dtype in FUSED and runs_triton(x.device) and _has_triton()


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
