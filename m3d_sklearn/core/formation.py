"""Multi-formation: f×f small images in the place of one (IDC, ICML-22; used by M3D).

A stored image is cut into f×f cells of ceil(h/f) × ceil(w/f) pixels, and each cell is
up-sampled to h×w before use. Where f does not divide a side, the image is padded at the
far edge; cells are laid and cut at the same places, so the two are inverse but for the
resampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["decode", "mix"]

GREY = 0.5  # what the padding of an image in [0, 1] shows


def _cell(size: Sequence[int], factor: int) -> tuple[int, int]:
    return -(-size[0] // factor), -(-size[1] // factor)


def decode(images: Tensor, factor: int) -> Tensor:
    """Cut stored images into their cells and up-sample them.

    Parameters
    ----------
    images : Tensor of shape (n, c, h, w), or (n, d) for factor 1
    factor : int

    Returns
    -------
    Tensor of shape (n·factor², c, h, w)
        The cells of the first image row by row, then those of the second, and so on.
    """
    if factor == 1:
        return images
    n, c, h, w = images.shape
    ch, cw = _cell((h, w), factor)
    padded = F.pad(images, (0, cw * factor - w, 0, ch * factor - h), value=GREY)
    cells = padded.reshape(n, c, factor, ch, factor, cw).permute(0, 2, 4, 1, 3, 5)
    cells = cells.reshape(n * factor * factor, c, ch, cw)
    # Bilinear resampling is a product for each axis, which GPUs do faster than their resampler.
    return _upsampling(ch, h, cells) @ cells @ _upsampling(cw, w, cells).t()


def _upsampling(before: int, after: int, like: Tensor) -> Tensor:
    """Linear interpolation of an axis as a matrix (after, before)."""
    identity = torch.eye(before, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None], size=after, mode="linear", align_corners=False)[0].t()


def mix(images: Tensor, factor: int) -> Tensor:
    """Lay factor² images a time into one mosaic, the start that `decode` undoes.

    Parameters
    ----------
    images : Tensor of shape (n·factor², c, h, w)
    factor : int

    Returns
    -------
    Tensor of shape (n, c, h, w)
        Cells are shrunk with antialiasing, which loses less than nearest neighbours.
    """
    if factor == 1:
        return images
    _, c, h, w = images.shape
    ch, cw = _cell((h, w), factor)
    cells = F.interpolate(
        images, size=(ch, cw), mode="bilinear", align_corners=False, antialias=True
    )
    mosaic = cells.reshape(-1, factor, factor, c, ch, cw).permute(0, 3, 1, 4, 2, 5)
    return torch.clone(mosaic.reshape(-1, c, factor * ch, factor * cw)[..., :h, :w])
