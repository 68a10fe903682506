"""ReLU and 2×2 mean pooling, channels last, and their gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["rectified_pool", "rectified_pool_gradient"]


def rectified_pool(x: Tensor) -> Tensor:
    """Mean of max(x, 0) over 2×2 places; (n, h, w, c) to (n, ⌊h/2⌋, ⌊w/2⌋, c). Writes to x."""
    return F.avg_pool2d(x.relu_().permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def rectified_pool_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """Gradient by x, from that by the pooled places. May write to x."""
    h, w = x.shape[1] // 2, x.shape[2] // 2
    inside = x[:, : 2 * h, : 2 * w]  # an odd edge is not pooled
    cells = inside.unflatten(2, (w, 2)).unflatten(1, (h, 2))
    spread = (gradient * 0.25)[:, :, None, :, None].expand_as(cells)
    if inside.shape == x.shape and not torch.compiler.is_compiling():
        torch.ops.aten.threshold_backward.grad_input(spread, cells, 0, grad_input=cells)
        return x
    g = torch.ops.aten.threshold_backward(spread, cells, 0).flatten(1, 2).flatten(2, 3)
    return F.pad(g, (0, 0, 0, x.shape[2] - 2 * w, 0, x.shape[1] - 2 * h))
