"""Arrays in the caller's layout, the one canonical form, and the way back.

Canonical rows are (n, c, h, w) for images and (n, d) for tables. Their *units* are what
optimisation and networks work in: images are mapped to [0, 1] by the range seen in X,
columns of a table to mean 0 and variance 1. So nothing depends on the caller's scale.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn.moments import Moments

if TYPE_CHECKING:
    from m3d_sklearn.row_source import LazyRows

__all__ = ["Fingerprint", "Layout", "Target", "Units", "fingerprint", "row_blocks"]

BLOCK = 2**23  # values looked at together when arrays are gone through


@dataclass(frozen=True)
class Layout:
    """Where the caller keeps channels, height and width, and in which container.

    Attributes
    ----------
    sample_shape : tuple of int
        Shape of one row of X as given: (d,), (h, w), (h, w, c) or (c, h, w).
    dtype : str
        Of X. Integer images come back as integers, integer tables as float64.
    image_shape : tuple of int or None
        For flat rows that hold images: the shape each stands for.
    channel_axis : {0, 2, None}
        Place of the channels within an image; None where there is only height and width.
    columns : tuple or None
        Column names where X was a DataFrame.
    """

    sample_shape: tuple[int, ...]
    dtype: str
    image_shape: tuple[int, ...] | None = None
    channel_axis: int | None = None
    columns: tuple[Any, ...] | None = None

    @property
    def is_image(self) -> bool:
        return self.image_shape is not None or len(self.sample_shape) > 1

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        """(c, h, w) or (d,)."""
        shape = self.image_shape or self.sample_shape
        if not self.is_image:
            return shape
        if self.channel_axis is None:
            return (1, *shape)
        return shape if self.channel_axis == 0 else (shape[2], shape[0], shape[1])

    @property
    def array_channel_axis(self) -> int | None:
        """The channels' place in an array of images, as ``channel_axis`` names it."""
        return {0: 1, 2: -1, None: None}[self.channel_axis]

    @property
    def output_dtype(self) -> np.dtype:
        """dtype of condensed rows."""
        dtype = np.dtype(self.dtype)
        return dtype if self.is_image or dtype.kind == "f" else np.dtype(np.float64)

    def to_rows(self, X: np.ndarray) -> np.ndarray:
        """Canonical rows of an array, a view where numpy can give one."""
        if not self.is_image:
            return X
        if X.dtype == np.uint8:
            # These reach the networks as they lie in memory, and passes round by that.
            X = np.ascontiguousarray(X)
        images = X.reshape(len(X), *(self.image_shape or self.sample_shape))
        if self.channel_axis is None:
            return images[:, None]
        return images if self.channel_axis == 0 else images.transpose(0, 3, 1, 2)

    def from_rows(self, rows: np.ndarray) -> Any:
        """Canonical rows in the caller's layout, dtype and container."""
        if self.is_image:
            if self.channel_axis is None:
                rows = rows[:, 0]
            elif self.channel_axis == 2:
                rows = rows.transpose(0, 2, 3, 1)
            rows = rows.reshape(len(rows), *self.sample_shape)
        if self.output_dtype.kind in "iub" and rows.dtype.kind == "f":
            rows = np.rint(rows)
        X = np.ascontiguousarray(rows, dtype=self.output_dtype)
        if self.columns is None:
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=list(self.columns))


@dataclass(frozen=True)
class Target:
    """The labels' container: a Series keeps its name and dtype, categories among them."""

    name: Any = None
    pandas_dtype: Any = None

    @property
    def is_series(self) -> bool:
        return self.pandas_dtype is not None

    def restore(self, y: np.ndarray) -> Any:
        if not self.is_series:
            return y
        import pandas as pd

        return pd.Series(y, name=self.name, dtype=self.pandas_dtype)


@dataclass(frozen=True)
class Units:
    """units = (X − shift) / width, and what is known of them.

    Attributes
    ----------
    shift, width : ndarray
        Scalars for images (the least value and the range), (d,) for tables (mean and
        standard deviation).
    low, high : ndarray
        Range seen in X, in X's own values; scalars, or (d,).
    mean, std : ndarray
        Of the units: (c, 1, 1) for images, 0 and 1 for tables. Networks see
        ``(units − mean) / std``.
    """

    shift: np.ndarray
    width: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def measure(cls, rows: np.ndarray) -> Units:
        """Take the statistics of canonical rows, in blocks, in float64."""
        return cls.of(reduce(add, map(Moments.of, row_blocks(rows))), rows.ndim == 4)

    @classmethod
    def of(cls, found: Moments, image: bool) -> Units:
        """Units of rows with these statistics."""
        low, high, span, mean = found.low, found.high, found.span, found.mean
        std = np.sqrt(found.square)
        # A constant channel or column has no spread of its own.
        std = np.where(std > 1e-12, std, 1.0)
        if image:
            return cls(low, span, low, high, mean[:, None, None], std[:, None, None])
        return cls(low + mean * span, std * span, low, high, np.zeros(()), np.ones(()))

    def to_units(self, rows: np.ndarray | LazyRows, dtype: type = np.float32) -> np.ndarray:
        """Units of canonical rows, computed in float64 and kept in `dtype`."""
        out: np.ndarray = np.empty(rows.shape, dtype)
        start = 0
        for block in row_blocks(rows):
            out[start : start + len(block)] = self._block_units(block, dtype)
            start += len(block)
        return out

    def _block_units(self, block: np.ndarray, dtype: type) -> np.ndarray:
        if block.dtype == np.uint8 and self.shift.ndim == 0:  # 256 answers, looked up
            table = ((np.arange(256.0) - self.shift) / self.width).astype(dtype)
            return np.take(table, block)
        return (block.astype(np.float64, order="C") - self.shift) / self.width

    def to_values(self, units: np.ndarray) -> np.ndarray:
        """Units back to X's own values, in float64, inside the range seen in X."""
        return np.clip(units.astype(np.float64) * self.width + self.shift, self.low, self.high)


def fingerprint(*arrays: np.ndarray) -> str:
    """Hash arrays by what they hold, wherever and in whatever memory order they keep it.

    A memory map, a Fortran-ordered array and a strided view have the fingerprint of the
    plain array that they are equal to; another dtype, byte order or shape has another one.

    Parameters
    ----------
    *arrays : ndarray
        Of any shape. Their order counts.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        For arrays of Python objects, whose bytes are addresses.

    Examples
    --------
    >>> import numpy as np
    >>> from m3d_sklearn.layout import fingerprint
    >>> X = np.arange(6.0).reshape(2, 3)
    >>> fingerprint(X) == fingerprint(np.asfortranarray(X))
    True
    """
    found = Fingerprint()
    for array in arrays:
        found.begin(array.dtype, array.shape)
        for block in row_blocks(np.atleast_1d(array)):
            found.add(block)
    return found.hexdigest()


class Fingerprint:
    """What :func:`fingerprint` gives, of arrays that come block by block."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def begin(self, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        """Say what the blocks that follow are blocks of."""
        if dtype.hasobject:
            raise TypeError(f"arrays must hold numbers or fixed-width strings; got dtype {dtype}.")
        self._digest.update(f"{dtype.str} {shape}".encode())

    def add(self, block: np.ndarray) -> None:
        self._digest.update(block.tobytes())

    def followed_by(self, *arrays: np.ndarray) -> str:
        """The fingerprint with more arrays; this one stays as it is."""
        longer = Fingerprint()
        longer._digest = self._digest.copy()
        for array in arrays:
            longer.begin(array.dtype, array.shape)
            longer.add(array)
        return longer.hexdigest()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def row_blocks(rows: Any) -> Iterator[np.ndarray]:
    """Neighbouring rows, as many as make BLOCK values; how many is a matter of shape alone."""
    step = max(1, BLOCK // max(1, math.prod(rows.shape[1:])))
    return (rows[start : start + step] for start in range(0, len(rows), step))
