r"""Kernels between batches of feature vectors, one batch per class.

=========== ==============================================================
name        K(x, y), summed over the bandwidths b
=========== ==============================================================
rbf         exp(−‖x − y‖² / b);  rule: b = m·bw for m in ¼, ½, 1, 2, 4
laplace     exp(−√(‖x − y‖² + ε) / b);  rule: b = √bw
linear      xᵀy
polynomial  (xᵀy + 1)²
=========== ==============================================================

The mean-distance rule takes bw = Σ‖z_i − z_j‖² / (N² − N) over the N real and
synthetic rows z of a class (M3D, AAAI-24, and the multi-kernel MMD it builds on).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["KERNELS", "Kernel", "make_kernel", "mean_squared_distance", "squared_distances"]

# Doublings, so that four of the five Gaussians are repeated squares of the widest.
MULTIPLES = (4.0, 2.0, 1.0, 0.5, 0.25)
EPSILON = 1e-8


@dataclass(frozen=True)
class Kernel:
    """A kernel and what it needs to know of the rows.

    Attributes
    ----------
    function : callable ``(x, y, scale) -> Tensor``
        (C, N, D), (C, M, D) and the scale (C,) to (C, N, M).
    adaptive : bool
        Whether `scale` is the mean squared distance of the joint rows.
    shift_invariant : bool
        Whether K(x + t, y + t) − its MMD at least − stays the same, so that features
        may be centred first, which keeps float32 exact.
    """

    function: Callable[[Tensor, Tensor, Any], Tensor]
    adaptive: bool
    shift_invariant: bool

    def __call__(self, x: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        return self.function(x, y, scale)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² for (C, N, D) and (C, M, D), as (C, N, M)."""
    inner = x @ y.transpose(-1, -2)  # (C, N, M)
    squares = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
    return (squares - 2 * inner).clamp_min(0)


def mean_squared_distance(x: Tensor, counts: Tensor) -> Tensor:
    """Mean of ‖x_i − x_j‖² over ordered pairs i ≠ j of each class, without the matrix.

    Rows of `x` (C, N, D) that only pad must be zero; `counts` (C,) says how many do not.
    """
    total = 2 * (counts * x.square().sum((-2, -1)) - x.sum(-2).square().sum(-1))
    pairs = (counts * (counts - 1)).clamp_min(1)
    # Identical rows have no scale of their own: any positive one gives K = 1.
    return (total / pairs).clamp_min(torch.finfo(x.dtype).tiny ** 0.5)


def _gaussian_rule(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    power = torch.exp(-squared_distances(x, y) / (MULTIPLES[0] * scale)[:, None, None])
    total = power
    for _ in MULTIPLES[1:]:
        power = power.square()
        total = total + power
    return total


def _gaussian(x: Tensor, y: Tensor, _: None, *, bandwidths: Sequence[float]) -> Tensor:
    distances = squared_distances(x, y)
    return torch.stack([torch.exp(-distances / b) for b in bandwidths]).sum(0)


def _laplace_rule(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    # ε keeps the root's gradient finite where two rows coincide; it scales with the rows.
    distances = squared_distances(x, y) / scale[:, None, None]
    return torch.exp(-(distances + EPSILON).sqrt())


def _laplace(x: Tensor, y: Tensor, _: None, *, bandwidths: Sequence[float]) -> Tensor:
    distances = (squared_distances(x, y) + EPSILON).sqrt()
    return torch.stack([torch.exp(-distances / b) for b in bandwidths]).sum(0)


def _linear(x: Tensor, y: Tensor, _: None) -> Tensor:
    return x @ y.transpose(-1, -2)


def _polynomial(x: Tensor, y: Tensor, _: None) -> Tensor:
    return (x @ y.transpose(-1, -2) + 1).square()


def _custom(x: Tensor, y: Tensor, _: None, *, kernel: Callable[..., Tensor]) -> Tensor:
    expected = (len(x), x.shape[1], y.shape[1])
    try:
        K = kernel(x, y)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"kernel must take tensors of shape {tuple(x.shape)} and {tuple(y.shape)}; it failed "
            f"with: {error}"
        ) from error
    if not isinstance(K, Tensor) or tuple(K.shape) != expected:
        came = tuple(K.shape) if isinstance(K, Tensor) else type(K).__name__
        raise ValueError(f"kernel must give a tensor of shape {expected}; it gave {came}.")
    return K


KERNELS = {
    "rbf": Kernel(_gaussian_rule, adaptive=True, shift_invariant=True),
    "laplace": Kernel(_laplace_rule, adaptive=True, shift_invariant=True),
    "linear": Kernel(_linear, adaptive=False, shift_invariant=True),
    "polynomial": Kernel(_polynomial, adaptive=False, shift_invariant=False),
}
_WITH_BANDWIDTH = {"rbf": _gaussian, "laplace": _laplace}


def make_kernel(
    kernel: str | Callable[[Tensor, Tensor], Tensor],
    bandwidth: str | float | Sequence[float] = "mean",
) -> Kernel:
    """Look up or wrap a kernel.

    Parameters
    ----------
    kernel : {"rbf", "laplace", "linear", "polynomial"} or callable
        A callable gets (C, N, D) and (C, M, D) and gives (C, N, M), by operations that
        torch can differentiate. Its features are not centred.
    bandwidth : "mean", a positive number, or a sequence of them, default="mean"
        ``"mean"`` is the mean-distance rule, anew for each class and step. Numbers are
        taken as they are, in squared feature distance for ``"rbf"`` and in feature
        distance for ``"laplace"``; several are summed. The other kernels have none.

    Returns
    -------
    Kernel

    Raises
    ------
    ValueError
        If the name is unknown, or numbers are given to a kernel without a bandwidth.
    """
    if callable(kernel):
        wrapped = Kernel(partial(_custom, kernel=kernel), adaptive=False, shift_invariant=False)
    elif kernel in KERNELS:
        wrapped = KERNELS[kernel]
    else:
        raise ValueError(f"kernel must be one of {sorted(KERNELS)} or callable; got {kernel!r}.")
    if isinstance(bandwidth, str):
        if bandwidth != "mean":
            raise ValueError(f"bandwidth must be 'mean' or positive numbers; got {bandwidth!r}.")
        return wrapped
    try:
        bandwidths = torch.as_tensor(bandwidth, dtype=torch.float64).reshape(-1).tolist()
    except (TypeError, ValueError, RuntimeError):
        bandwidths = []
    if not bandwidths or not all(0 < b < float("inf") for b in bandwidths):
        raise ValueError(f"bandwidth must be 'mean' or positive numbers; got {bandwidth!r}.")
    if callable(kernel) or kernel not in _WITH_BANDWIDTH:
        raise ValueError(
            f"bandwidth={bandwidth!r} is for the kernels {sorted(_WITH_BANDWIDTH)}; "
            f"kernel={kernel!r} has none."
        )
    function = partial(_WITH_BANDWIDTH[kernel], bandwidths=bandwidths)
    return Kernel(function, adaptive=False, shift_invariant=True)
