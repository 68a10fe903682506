"""What networks are made of here, and what they need of their input."""

from __future__ import annotations

from torch import nn

__all__ = ["instance_norm", "need_images"]


def instance_norm(channels: int) -> nn.Module:
    """Instance norm with affine weights, in the form that also takes 1×1 maps."""
    return nn.GroupNorm(channels, channels)


def need_images(input_shape: tuple[int, ...], name: str, smallest: int) -> None:
    if len(input_shape) != 3:
        raise ValueError(
            f"network {name!r} needs images of at least {smallest}×{smallest} pixels, and X is a "
            f"table; give image_shape, or take 'mlp'; got rows of {tuple(input_shape)}."
        )
    if min(input_shape[1:]) < smallest:
        raise ValueError(
            f"network {name!r} needs images of at least {smallest}×{smallest} pixels; got "
            f"samples of shape {tuple(input_shape)} (channels first)."
        )
