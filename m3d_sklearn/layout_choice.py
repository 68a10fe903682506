"""Which layout X has: by its shape, and by what the caller says of it."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from m3d_sklearn.layout import Layout

__all__ = ["MOST_CHANNELS", "choose_layout"]

MOST_CHANNELS = 4  # an axis this short may be channels; one longer is a side


def choose_layout(
    given: tuple[int, ...],
    dtype: np.dtype,
    image_shape: tuple[int, ...] | None,
    channel_axis: str | int | None,
    columns: tuple[Any, ...] | None = None,
) -> Layout:
    """Layout of an X of this shape and dtype.

    Raises
    ------
    ValueError
        Naming image_shape or channel_axis, what is allowed and what came.
    """
    sample_shape = given[1:]
    shape = sample_shape
    if image_shape is not None:
        shape = tuple(image_shape)
        if len(shape) not in (2, 3) or not all(isinstance(s, Integral) and s > 0 for s in shape):
            raise ValueError(
                "image_shape must be (h, w), (h, w, c) or (c, h, w) in whole numbers; got "
                f"{image_shape!r}."
            )
        shape = tuple(int(side) for side in shape)
        if len(sample_shape) > 1 or np.prod(shape) != sample_shape[0]:
            raise ValueError(
                f"image_shape={shape} is for flat rows of {np.prod(shape)} values; got X of "
                f"shape {given}."
            )
    image_shape = shape if image_shape is not None else None
    if len(shape) == 1:
        if channel_axis not in ("auto", None):
            raise ValueError(
                f"channel_axis={channel_axis!r} needs images; got X of shape {given} and no "
                "image_shape."
            )
        return Layout(sample_shape, dtype.name, columns=columns)
    axis = _channel_axis(shape, channel_axis)
    return Layout(sample_shape, dtype.name, image_shape, axis, columns)


def _channel_axis(shape: tuple[int, ...], channel_axis: str | int | None) -> int | None:
    """Place of the channels in an image of this shape."""
    if len(shape) == 2:
        if channel_axis not in ("auto", None):
            raise ValueError(
                f"channel_axis={channel_axis!r} needs images with channels; got {shape}, which "
                "is height and width alone."
            )
        return None
    if channel_axis in (1, -3):
        return 0
    if channel_axis in (3, -1):
        return 2
    if channel_axis not in ("auto", None):
        raise ValueError(
            "channel_axis must be 'auto', 1 or -3 (channels first), 3 or -1 (channels last); "
            f"got {channel_axis!r}."
        )
    first, last = shape[0] <= MOST_CHANNELS, shape[2] <= MOST_CHANNELS
    if first == last:
        raise ValueError(
            f"channel_axis='auto' cannot tell whether images of shape {shape} are "
            f"{shape[0]}×{shape[1]} pixels with {shape[2]} channels last (channel_axis=-1) or "
            f"{shape[1]}×{shape[2]} pixels with {shape[0]} channels first (channel_axis=1); "
            "say which."
        )
    return 0 if first else 2
