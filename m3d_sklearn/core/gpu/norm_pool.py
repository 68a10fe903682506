r"""Instance norm, ReLU and 2×2 average pooling in one kernel, on a GPU.

torch's own modules read and write a block's largest activation seven times, in float32 and
in two layouts. Here it is read once going forward, and once going backward:

.. math:: o_{ij} = \tfrac14 \sum_{q \in 2 \times 2} \max(0, w \hat y_q + b), \qquad
          \hat y = (y - \mathrm{mean}) / \sqrt{\mathrm{var} + \epsilon}

with mean and variance over the places of one image's channel. A program holds the four
places of every pooled one for some channels of one image, in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from m3d_sklearn.core.devices import on_device

__all__ = ["norm_relu_pool"]

VALUES = 8192  # of each of the four tiles that a program holds
LEAST_CHANNELS = 32  # of a program
A_WARP = 512  # values of a tile


@triton.jit
def _tile(place, n, i, j, channel, H, W, C, Q: tl.constexpr):
    """Addresses of the Q-th of the four places of each pooled one, (places, channels)."""
    row = (n * H + 2 * i + Q // 2) * W + 2 * j + Q % 2
    return place + row[:, None] * C + channel[None, :]


@triton.jit
def _forward(
    y, weight, bias, out, mean, rstd, H, W, C, eps, PLACES: tl.constexpr, CHANNELS: tl.constexpr
):
    n = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    pooled = tl.arange(0, PLACES)
    i, j = pooled // (W // 2), pooled % (W // 2)
    inside = (pooled < (H // 2) * (W // 2))[:, None] & (channel < C)[None, :]
    y0 = tl.load(_tile(y, n, i, j, channel, H, W, C, 0), mask=inside, other=0.0).to(tl.float32)
    y1 = tl.load(_tile(y, n, i, j, channel, H, W, C, 1), mask=inside, other=0.0).to(tl.float32)
    y2 = tl.load(_tile(y, n, i, j, channel, H, W, C, 2), mask=inside, other=0.0).to(tl.float32)
    y3 = tl.load(_tile(y, n, i, j, channel, H, W, C, 3), mask=inside, other=0.0).to(tl.float32)
    centre = tl.sum(y0 + y1 + y2 + y3, 0) / (H * W)
    y0 = tl.where(inside, y0 - centre[None, :], 0.0)
    y1 = tl.where(inside, y1 - centre[None, :], 0.0)
    y2 = tl.where(inside, y2 - centre[None, :], 0.0)
    y3 = tl.where(inside, y3 - centre[None, :], 0.0)
    scale = tl.rsqrt(tl.sum(y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3, 0) / (H * W) + eps)
    w = tl.load(weight + channel, mask=channel < C, other=0.0).to(tl.float32) * scale
    b = tl.load(bias + channel, mask=channel < C, other=0.0).to(tl.float32)
    total = tl.maximum(y0 * w[None, :] + b[None, :], 0.0)
    total += tl.maximum(y1 * w[None, :] + b[None, :], 0.0)
    total += tl.maximum(y2 * w[None, :] + b[None, :], 0.0)
    total += tl.maximum(y3 * w[None, :] + b[None, :], 0.0)
    there = out + (n * (H // 2) * (W // 2) + pooled[:, None]) * C + channel[None, :]
    tl.store(there, (total * 0.25).to(out.dtype.element_ty), mask=inside)
    tl.store(mean + n * C + channel, centre, mask=channel < C)
    tl.store(rstd + n * C + channel, scale, mask=channel < C)


@triton.jit
def _backward(
    y,
    weight,
    bias,
    mean,
    rstd,
    by_out,
    by_y,
    by_weight,
    by_bias,
    H,
    W,
    C,
    PLACES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    n = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    pooled = tl.arange(0, PLACES)
    i, j = pooled // (W // 2), pooled % (W // 2)
    inside = (pooled < (H // 2) * (W // 2))[:, None] & (channel < C)[None, :]
    centre = tl.load(mean + n * C + channel, mask=channel < C, other=0.0)[None, :]
    scale = tl.load(rstd + n * C + channel, mask=channel < C, other=0.0)
    w = tl.load(weight + channel, mask=channel < C, other=0.0).to(tl.float32)
    b = tl.load(bias + channel, mask=channel < C, other=0.0).to(tl.float32)[None, :]
    there = by_out + (n * (H // 2) * (W // 2) + pooled[:, None]) * C + channel[None, :]
    g = tl.load(there, mask=inside, other=0.0).to(tl.float32) * 0.25
    y0 = tl.load(_tile(y, n, i, j, channel, H, W, C, 0), mask=inside, other=0.0).to(tl.float32)
    y1 = tl.load(_tile(y, n, i, j, channel, H, W, C, 1), mask=inside, other=0.0).to(tl.float32)
    y2 = tl.load(_tile(y, n, i, j, channel, H, W, C, 2), mask=inside, other=0.0).to(tl.float32)
    y3 = tl.load(_tile(y, n, i, j, channel, H, W, C, 3), mask=inside, other=0.0).to(tl.float32)
    y0 = tl.where(inside, (y0 - centre) * scale[None, :], 0.0)
    y1 = tl.where(inside, (y1 - centre) * scale[None, :], 0.0)
    y2 = tl.where(inside, (y2 - centre) * scale[None, :], 0.0)
    y3 = tl.where(inside, (y3 - centre) * scale[None, :], 0.0)
    g0 = tl.where(y0 * w[None, :] + b > 0, g, 0.0)
    g1 = tl.where(y1 * w[None, :] + b > 0, g, 0.0)
    g2 = tl.where(y2 * w[None, :] + b > 0, g, 0.0)
    g3 = tl.where(y3 * w[None, :] + b > 0, g, 0.0)
    plain = tl.sum(g0 + g1 + g2 + g3, 0)
    along = tl.sum(g0 * y0 + g1 * y1 + g2 * y2 + g3 * y3, 0)
    tl.store(by_bias + n * C + channel, plain, mask=channel < C)
    tl.store(by_weight + n * C + channel, along, mask=channel < C)
    plain, along = (plain / (H * W))[None, :], (along / (H * W))[None, :]
    w = (w * scale)[None, :]
    kind = by_y.dtype.element_ty
    r0 = ((g0 - plain - y0 * along) * w).to(kind)
    r1 = ((g1 - plain - y1 * along) * w).to(kind)
    r2 = ((g2 - plain - y2 * along) * w).to(kind)
    r3 = ((g3 - plain - y3 * along) * w).to(kind)
    tl.store(_tile(by_y, n, i, j, channel, H, W, C, 0), r0, mask=inside)
    tl.store(_tile(by_y, n, i, j, channel, H, W, C, 1), r1, mask=inside)
    tl.store(_tile(by_y, n, i, j, channel, H, W, C, 2), r2, mask=inside)
    tl.store(_tile(by_y, n, i, j, channel, H, W, C, 3), r3, mask=inside)


def _launch(shape: torch.Size) -> tuple[tuple[int, int], dict[str, int]]:
    """Grid and block sizes: about VALUES values a tile, 64 registers a thread for the four.

    ``benchmarks/fused_kernel.py`` compares others.
    """
    n, channels, height, width = shape
    places = triton.next_power_of_2((height // 2) * (width // 2))
    block = max(LEAST_CHANNELS, min(VALUES // places, triton.next_power_of_2(channels)))
    warps = max(1, min(16, places * block // A_WARP))
    sizes = {"PLACES": places, "CHANNELS": block, "num_warps": warps}
    return (n, triton.cdiv(channels, block)), sizes


class _NormReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, channels, height, width = y.shape
        out = torch.empty(
            (n, channels, height // 2, width // 2),
            dtype=y.dtype,
            device=y.device,
            memory_format=torch.channels_last,
        )
        mean, rstd = y.new_empty((2, n, channels), dtype=torch.float32).unbind()
        grid, sizes = _launch(y.shape)
        _forward[grid](y, weight, bias, out, mean, rstd, height, width, channels, eps, **sizes)
        ctx.save_for_backward(y, weight, bias, mean, rstd)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        y, weight, bias, mean, rstd = ctx.saved_tensors
        n, channels, height, width = y.shape
        by_out = by_out.contiguous(memory_format=torch.channels_last)
        by_y = torch.empty_like(y)
        by_weight, by_bias = mean.new_empty((2, n, channels)).unbind()
        grid, sizes = _launch(y.shape)
        known, made = (y, weight, bias, mean, rstd, by_out), (by_y, by_weight, by_bias)
        _backward[grid](*known, *made, height, width, channels, **sizes)
        own = [
            part.sum(0).to(values.dtype) if needed else None
            for part, values, needed in zip(
                (by_weight, by_bias), (weight, bias), ctx.needs_input_grad[1:3], strict=True
            )
        ]
        return by_y, *own, None


def norm_relu_pool(y: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance norm with affine weights, ReLU, and the mean of every 2×2 places.

    Parameters
    ----------
    y : Tensor of shape (n, c, h, w)
        Even sides, small enough for registers; float32 or a shorter float.
    weight, bias : Tensor of shape (c,)
    eps : float

    Returns
    -------
    Tensor of shape (n, c, h/2, w/2)
        Of y's dtype, channels last. Can be differentiated once.
    """
    y = y.contiguous(memory_format=torch.channels_last)
    with on_device(y.device):
        return _NormReluPool.apply(y, weight, bias, eps)
