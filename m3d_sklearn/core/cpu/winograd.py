r"""3×3 convolution by Winograd's minimal filtering, F(4×4, 3×3), for CPUs.

Tiles of 6×6 inputs are transformed, multiplied by transformed weights place by place, and
transformed back to 4×4 outputs (Lavin & Gray, CVPR-16):

.. math:: Y = A^T \left[ (G g G^T) \odot (B^T d B) \right] A

A quarter of the multiplications of the direct sum, all of them in 36 matrix products. In
float32 the error is about ten times the direct sum's, 1e-5 of the largest value.

Images are (n, h, w, c), channels last in memory: the transforms then run along channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["convolve", "pays", "transform_weights", "weight_gradient"]

TILE = 4
# Below this width the transforms cost what the products save.
FEWEST_CHANNELS = 64
_WEIGHTS = (  # G
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_INPUT = (  # Bᵀ
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_OUTPUT = (  # Aᵀ
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
_OUTPUT_ADJOINT = tuple(zip(*_OUTPUT, strict=True))

Matrix = tuple[tuple[float, ...], ...]


def pays(channels_in: int, channels_out: int, height: int, width: int) -> bool:
    """Whether a 3×3 convolution with padding 1 is better done this way."""
    wide = min(channels_in, channels_out) >= FEWEST_CHANNELS
    return wide and height % TILE == 0 and width % TILE == 0


def _on_both_sides(matrix: Matrix, tiles: Tensor) -> Tensor:
    """M t Mᵀ of tiles (k, k, ...), as (m, m, the rest in one)."""
    if torch.compiler.is_compiling():  # written out, so that neighbours fuse with it
        return _written_out(matrix, _written_out(matrix, tiles, 0), 1).flatten(2)
    m = tiles.new_tensor(matrix)
    rows, columns = m.shape
    gathered = tiles.reshape(columns, tiles.numel() // columns)
    rest = gathered.shape[1] // columns
    half = (m @ gathered).view(rows, columns, rest)
    # The gathered copy is done with, and warm: a fresh result would cost more to write.
    room = gathered.view(rows, rows, rest) if rows == columns else None
    return torch.matmul(m, half, out=room)


def _written_out(matrix: Matrix, tiles: Tensor, axis: int) -> Tensor:
    parts = tiles.unbind(axis)
    sums = []
    for row in matrix:
        terms = [x if c == 1 else c * x for c, x in zip(row, parts, strict=True) if c]
        sums.append(sum(terms[1:], terms[0]))
    return torch.stack(sums, axis)


def _weight_matrix(like: Tensor) -> Tensor:
    """G ⊗ G, (36, 9)."""
    small = like.new_tensor(_WEIGHTS)
    return torch.kron(small, small)


def transform_weights(weight: Tensor) -> Tensor:
    """(c_out, c_in, 3, 3) to (36, c_in, c_out)."""
    c_out, c_in = weight.shape[:2]
    places = weight.permute(2, 3, 1, 0).reshape(9, c_in * c_out)
    return (_weight_matrix(weight) @ places).view(36, c_in, c_out)


def _transformed_tiles(x: Tensor) -> Tensor:
    """Bᵀ d B of every tile, (36, n·tiles, c)."""
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, 6, TILE).unfold(2, 6, TILE).permute(4, 5, 0, 1, 2, 3)
    return _on_both_sides(_INPUT, tiles).view(36, tiles[0, 0, ..., 0].numel(), x.shape[3])


def convolve(x: Tensor, transformed: Tensor) -> Tensor:
    """Convolution with padding 1.

    Parameters
    ----------
    x : Tensor of shape (n, h, w, c_in)
        h and w multiples of 4.
    transformed : Tensor of shape (36, c_in, c_out)
        From :func:`transform_weights`.

    Returns
    -------
    Tensor of shape (n, h, w, c_out)
    """
    n, h, w, _ = x.shape
    c_out = transformed.shape[2]
    products = torch.bmm(_transformed_tiles(x), transformed)
    outputs = _on_both_sides(_OUTPUT, products.unflatten(0, (6, 6)))
    outputs = outputs.view(TILE, TILE, n, h // TILE, w // TILE, c_out)
    return outputs.permute(2, 3, 0, 4, 1, 5).reshape(n, h, w, c_out)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient by the weights, (c_out, c_in, 3, 3).

    Parameters
    ----------
    x : Tensor of shape (n, h, w, c_in)
    gradient : Tensor of shape (n, h, w, c_out)
        By the convolution's output.
    """
    n, h, w, c_out = gradient.shape
    tiles = gradient.view(n, h // TILE, TILE, w // TILE, TILE, c_out).permute(2, 4, 0, 1, 3, 5)
    spread = _on_both_sides(_OUTPUT_ADJOINT, tiles).view(36, tiles[0, 0, ..., 0].numel(), c_out)
    places = torch.bmm(_transformed_tiles(x).transpose(1, 2), spread).flatten(1)
    weights = _weight_matrix(x).t() @ places
    return weights.view(3, 3, -1, c_out).permute(3, 2, 0, 1)
