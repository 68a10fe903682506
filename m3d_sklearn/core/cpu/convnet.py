"""ConvNet's features on a CPU, chunk by chunk, eagerly or compiled.

Rows go through in chunks whose activations stay in cache. Compiled, a chunk always has the
same number of rows, padded with zeros, so that the code meets one shape alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from m3d_sklearn.core.compiling import Compiled
from m3d_sklearn.core.cpu.patch_block import output_size, patch_block, patch_block_gradient
from m3d_sklearn.core.cpu.weights import BlockWeights, few_channels, prepared
from m3d_sklearn.core.cpu.wide_block import wide_block, wide_block_gradient

__all__ = ["Passes", "compiled_passes", "features"]

Weights = tuple[BlockWeights, ...]


def forward(
    x: Tensor, weights: Weights, room: Tensor | None = None
) -> tuple[Tensor, tuple[Any, ...]]:
    """All blocks, (n, c, h, w) to (n, h', w', c'), and what their gradients need."""
    everything: list[Any] = []
    kept: Any
    for place, own in enumerate(weights):
        if place == 0 and few_channels(own):
            x, kept = patch_block(x, own, room)
        else:
            x, kept = wide_block(x if place else x.permute(0, 2, 3, 1).contiguous(), own)
        everything.append(kept)
    return x, tuple(everything)


def backward(
    gradient: Any,
    everything: tuple[Any, ...],
    weights: Weights,
    size: Sequence[int],
    by_input: bool,
    by_weights: bool,
    room: Tensor | None = None,
) -> tuple[Tensor | None, tuple[Tensor, ...]]:
    """Gradients by the images and by every block's convolution, scale and shift."""
    by_parameters: tuple[Tensor, ...] = ()
    for place in reversed(range(len(weights))):
        kept, own = everything[place], weights[place]
        if place == 0 and few_channels(own):
            gradient, mine = patch_block_gradient(
                gradient, kept, own, size, by_input, by_weights, room
            )
        else:
            further = by_input or place > 0
            gradient, mine = wide_block_gradient(gradient, kept, own, further, by_weights)
            if place == 0 and gradient is not None:
                gradient = gradient.permute(0, 3, 1, 2)
        by_parameters = (mine or ()) + by_parameters
    return gradient, by_parameters


class Passes(NamedTuple):
    """The two functions above, as they are or compiled."""

    forward: Callable[..., Any] = forward
    backward: Callable[..., Any] = backward
    whole_chunks: bool = False


@functools.cache
def compiled_passes() -> Passes:
    """Compiled once a process and shape."""
    return Passes(Compiled(forward), Compiled(backward), True)


class _Features(torch.autograd.Function):
    """All chunks of a batch through all blocks; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        chunk: int,
        passes: Passes,
        paddings: tuple[int, ...],
        grad_mode: bool,
        precision: torch.dtype,
        *values: Tensor,
    ) -> Tensor:
        parts = [values[i : i + 3] for i in range(0, len(values), 3)]
        blocks = [BlockWeights(w, g, b, p) for (w, g, b), p in zip(parts, paddings, strict=True)]
        differentiable = grad_mode and any(ctx.needs_input_grad)
        weights = prepared(blocks, x.shape[2:], differentiable, precision)
        chunks = _chunks(x.detach(), chunk, passes.whole_chunks)
        room = _room(x, weights, chunk, passes)
        if not differentiable:
            return torch.cat([passes.forward(part, weights, room)[0] for part in chunks])[: len(x)]
        outputs, ctx.kept = [], []
        for part in chunks:
            output, kept = passes.forward(part, weights, room)
            outputs.append(output)
            ctx.kept.append(kept)
        ctx.settings = x.shape, chunk, passes, weights, room
        ctx.save_for_backward(*values)
        return torch.cat(outputs)[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        shape, chunk, passes, weights, room = ctx.settings
        _ = ctx.saved_tensors  # raises where a weight was changed since
        by_input, by_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[6:])
        images: list[Any] = []
        totals: Any = None
        parts = _chunks(gradient, chunk, passes.whole_chunks)
        for part, kept in zip(parts, ctx.kept, strict=True):
            image, own = passes.backward(
                part, kept, weights, tuple(shape[2:]), by_input, by_weights, room
            )
            images.append(image)
            totals = own if totals is None else [a + b for a, b in zip(totals, own, strict=True)]
        by_x = torch.cat(images)[: shape[0]] if by_input else None
        by_values = totals if by_weights else [None] * (3 * len(weights))
        return by_x, None, None, None, None, None, *by_values


def _room(x: Tensor, weights: Weights, chunk: int, passes: Passes) -> Tensor | None:
    """Memory for the first block's activation, for all chunks; compiled code has its own."""
    first = weights[0]
    if passes.whole_chunks or not few_channels(first):
        return None
    height, width = output_size(tuple(x.shape[2:]), first.padding)
    return x.new_empty(min(chunk, len(x)), height * width, first.convolution.shape[0])


def _chunks(rows: Tensor, chunk: int, whole: bool) -> list[Tensor]:
    """Contiguous chunks of rows, the last filled up with zeros where `whole` is asked for."""
    parts = [part.contiguous() for part in rows.split(chunk)]
    missing = chunk - len(parts[-1])
    if whole and missing:
        parts[-1] = F.pad(parts[-1], (0, 0, 0, 0, 0, 0, 0, missing))
    return parts


def features(x: Tensor, blocks: Sequence[BlockWeights], chunk: int, passes: Passes) -> Tensor:
    """Features of images after all blocks.

    Parameters
    ----------
    x : Tensor of shape (n, c, h, w)
    blocks : sequence of BlockWeights
    chunk : int
        Rows that go through together.
    passes : Passes

    Returns
    -------
    Tensor of shape (n, c'·h'·w')
        In the order of ``flatten`` of (n, c', h', w'). Differentiable once, by images and
        weights. Under autocast wide convolutions are in its precision, all else is in the
        weights' own.
    """
    values = [value for own in blocks for value in own[:3]]
    paddings = tuple(own.padding for own in blocks)
    cast = torch.is_autocast_enabled("cpu")
    precision = torch.get_autocast_dtype("cpu") if cast else x.dtype
    x = x.to(values[0].dtype) if cast else x
    with torch.autocast("cpu", enabled=False):
        how = chunk, passes, paddings, torch.is_grad_enabled(), precision
        maps = _Features.apply(x, *how, *values)
    return maps.permute(0, 3, 1, 2).flatten(1)
