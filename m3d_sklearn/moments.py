"""Range, mean and spread of rows that come in blocks: one pass, whatever their scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Moments"]


class Moments(NamedTuple):
    """Statistics of some rows; two of them add up to those of all their rows.

    Mean and spread are relative to the range, so no sum overflows, whatever the scale of X,
    and a column of 10⁹ ± 1 keeps its digits.

    Attributes
    ----------
    n : int
        Values that a channel or column has.
    low, high : ndarray
        Scalars for images, (d,) for tables.
    mean, square : ndarray of shape (c,) or (d,)
        Mean and variance of ``(X − low) / (high − low)``, of a constant channel or column 0.
    """

    n: int
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Measure canonical rows (n, c, h, w) or (n, d), in float64.

        Raises
        ------
        ValueError
            If their range is more than float64 holds.
        """
        image = rows.ndim == 4
        axes, others = (None, (0, 2, 3)) if image else (0, 0)
        low = np.asarray(rows.min(axes), np.float64)
        high = np.asarray(rows.max(axes), np.float64)
        span = _span(low, high)
        n = rows.size // rows.shape[1]
        if rows.dtype == np.uint8:
            return cls(n, low, high, *_of_bytes(rows, low, span, n))
        # One memory order, so that sums have the same bits for any.
        scaled = rows.astype(np.float64, order="C")
        scaled -= low
        scaled /= span
        mean = scaled.sum(others) / n
        scaled -= mean[:, None, None] if image else mean
        np.square(scaled, out=scaled)
        return cls(n, low, high, mean, scaled.sum(others) / n)

    @property
    def span(self) -> np.ndarray:
        """Width of the range, 1 where it is constant."""
        return _span(self.low, self.high)

    def __add__(self, other: Moments) -> Moments:  # type: ignore[override]
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        n = self.n + other.n
        mine, theirs = self._within(low, high), other._within(low, high)
        shares = self.n / n, other.n / n
        mean = shares[0] * mine[0] + shares[1] * theirs[0]
        squares = [
            share * (spread + (centre - mean) ** 2)
            for share, (centre, spread) in zip(shares, (mine, theirs), strict=True)
        ]
        return Moments(n, low, high, mean, squares[0] + squares[1])

    def _within(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance relative to a wider range."""
        span = _span(low, high)
        share = (self.high - self.low) / span  # 0 where these rows are constant
        return (self.low - low) / span + self.mean * share, self.square * share**2


def _of_bytes(
    rows: np.ndarray, low: np.ndarray, span: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance relative to the range, by sums of whole numbers: exact, and quick."""
    rows = np.ascontiguousarray(rows)  # sums along other strides take five times as long
    total = rows.sum((0, 2, 3) if rows.ndim == 4 else 0, dtype=np.int64)
    axes = "nchw" if rows.ndim == 4 else "nc"
    squares = np.einsum(f"{axes},{axes}->c", rows, rows, dtype=np.int64)
    scatter = [n * s - t * t for s, t in zip(squares.tolist(), total.tolist(), strict=True)]
    return (total - n * low) / (n * span), np.array([s / n**2 for s in scatter]) / span**2


def _span(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        span = high - low
    if not np.isfinite(span).all():
        raise ValueError(
            f"X must have a range that float64 holds; got values from {low.min():.3g} to "
            f"{high.max():.3g}. Divide X by a constant."
        )
    return np.where(high > low, span, 1.0)
