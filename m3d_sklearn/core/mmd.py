r"""The squared maximum mean discrepancy between real and synthetic features.

.. math:: \mathrm{MMD}^2 = \sum_{ij} w_i w_j K(s_i, s_j)
          - 2 \sum_{ij} w_i v_j K(s_i, t_j) + \sum_{ij} v_i v_j K(t_i, t_j)

with weights w, v that sum to one: the biased estimate, diagonals kept (M3D, eq. for
:math:`\mathcal{L}_{M3D}`). One value per class, all classes at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_sklearn.core.devices import upload
from m3d_sklearn.core.kernels import Kernel, mean_squared_distance
from m3d_sklearn.core.sampling import ranges

__all__ = ["mmd2", "stack_classes"]

ROUNDING = 64  # units in the last place that a feature's error may reach


def stack_classes(features: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Lay rows that stand class after class into one (C, N, D) block.

    Parameters
    ----------
    features : Tensor of shape (sum(counts), D)
    counts : list of int
        Rows of each class; short classes are padded with zero rows to N = max(counts).

    Returns
    -------
    stacked : Tensor of shape (C, N, D)
    weights : Tensor of shape (C, N)
        1/count on the rows of a class, zero on its padding.
    """
    n, longest = len(counts), max(counts)
    if min(counts) == longest:
        stacked = features.reshape(n, longest, -1)
        return stacked, features.new_full((n, longest), 1 / longest)
    sizes = upload(counts, features.device)
    filled = torch.arange(longest, device=features.device) < sizes[:, None]  # (C, N)
    places = ranges([c * longest for c in range(n)], counts, features.device)
    stacked = features.new_zeros(n * longest, features.shape[1])
    # By places that the host knows: a mask's backward pass would wait for the device.
    stacked = stacked.index_copy(0, places, features)
    return stacked.view(n, longest, -1), filled.to(features.dtype) / sizes[:, None]


def mmd2(
    real: Tensor,
    synthetic: Tensor,
    kernel: Kernel,
    real_weights: Tensor | None = None,
    synthetic_weights: Tensor | None = None,
    *,
    whole: bool = True,
) -> Tensor:
    """MMD² of each class.

    Parameters
    ----------
    real : Tensor of shape (C, N, D)
        Features of the real rows. No gradient reaches them.
    synthetic : Tensor of shape (C, M, D)
    kernel : Kernel
    real_weights, synthetic_weights : Tensor of shape (C, N) and (C, M), optional
        As :func:`stack_classes` gives them. Uniform when left out.
    whole : bool, default=True
        False leaves out K(T, T), which has no gradient: the value is then short of it.

    Returns
    -------
    Tensor of shape (C,)

    Notes
    -----
    Centring the joint features first changes nothing for a kernel of x − y, nor for the
    MMD of the linear one, and keeps float32 exact where the mean is far from the spread.
    Cost: O(C·(N + M)²·D).
    """
    real = real.detach()
    if real_weights is None:
        real_weights = real.new_full(real.shape[:2], 1 / real.shape[1])
    if synthetic_weights is None:
        synthetic_weights = synthetic.new_full(synthetic.shape[:2], 1 / synthetic.shape[1])
    size = real.square().sum(-1).mean(-1)  # (C,), before centring
    if kernel.shift_invariant:
        centre = torch.einsum("cn,cnd->cd", real_weights, real)[:, None]
        # Padding has to stay at zero for the bandwidth.
        real = (real - centre) * (real_weights > 0)[..., None]
        synthetic = (synthetic - centre) * (synthetic_weights > 0)[..., None]
    scale = None
    if kernel.adaptive:
        counts = (real_weights > 0).sum(1) + (synthetic_weights > 0).sum(1)
        scale = mean_squared_distance(torch.cat([real, synthetic.detach()], 1), counts.to(real))
        # Below this a distance is rounding: rows of a constant class count as equal.
        scale = torch.maximum(scale, size * (ROUNDING * torch.finfo(real.dtype).eps) ** 2)

    def mean(x: Tensor, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("cn,cnm,cm->c", u, kernel(x, y, scale), v)

    own = mean(synthetic, synthetic_weights, synthetic, synthetic_weights)
    cross = mean(synthetic, synthetic_weights, real, real_weights)
    loss = own - 2 * cross
    return loss + mean(real, real_weights, real, real_weights) if whole else loss
