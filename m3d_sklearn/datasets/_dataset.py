"""Dataset: training and test rows, their labels, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from m3d_sklearn.layout import Layout, Units, fingerprint
from m3d_sklearn.layout_choice import MOST_CHANNELS, choose_layout

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test rows with their labels.

    Unpacks as four arrays: ``X_train, y_train, X_test, y_test = dataset``. One made by hand
    from one's own arrays serves as well as one that :func:`load` gave.

    Attributes
    ----------
    name : str
        Of a known data set, of the folder, or of the file without ``.npz``.
    X_train, X_test : ndarray of shape (n, h, w), (n, h, w, c), (n, c, h, w) or (n, d)
        Images of at most 4 channels, or rows of a table; real and finite, of one shape and
        dtype. Downloaded images and folders give uint8, channels last.
    y_train, y_test : ndarray of int64, shape (n,)
        Places in `class_names`.
    class_names : tuple of str
        ``class_names[y]`` is the name of class y.
    source : str
        Where the rows came from, for people.

    Raises
    ------
    ValueError
        If the arrays do not fit this description.

    Examples
    --------
    >>> from m3d_sklearn.datasets import load
    >>> digits = load("digits")
    >>> digits
    <Dataset digits: 1257 training and 540 test rows of shape (8, 8), float64, 10 classes, from scikit-learn>
    >>> X_train, y_train, X_test, y_test = digits
    >>> X_train.max(), digits.class_names[3]
    (np.float64(16.0), '3')
    """  # noqa: E501

    name: str
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    source: str = "arrays"

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            X, y = getattr(self, f"X_{part}"), getattr(self, f"y_{part}")
            _check_rows(f"X_{part}", X)
            _check_labels(f"y_{part}", y, len(X), len(self.class_names))
        X_train, X_test = self.X_train, self.X_test
        if X_train.shape[1:] != X_test.shape[1:] or X_train.dtype != X_test.dtype:
            raise ValueError(
                "X_train and X_test must have rows of one shape and dtype; got "
                f"{X_train.shape[1:]} {X_train.dtype} and {X_test.shape[1:]} {X_test.dtype}."
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self.X_train
        yield self.y_train
        yield self.X_test
        yield self.y_test

    def __repr__(self) -> str:
        return (
            f"<Dataset {self.name}: {len(self.X_train)} training and {len(self.X_test)} test rows "
            f"of shape {self.X_train.shape[1:]}, {self.X_train.dtype}, "
            f"{len(self.class_names)} classes, from {self.source}>"
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel of the training images, their range mapped to [0, 1].

        For a table it is 0, as its columns are standardised each by itself.
        """
        return tuple(np.ravel(self._units.mean).tolist())

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation, as :attr:`mean`; 1 for a constant channel and for a table."""
        return tuple(np.ravel(self._units.std).tolist())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the four arrays, 32 hex digits; the same in any memory order."""
        return fingerprint(*self)

    @cached_property
    def layout(self) -> Layout:
        """Where a row has its channels, height and width; channels last where both would do."""
        shape = self.X_train.shape
        last = len(shape) == 4 and shape[3] <= MOST_CHANNELS
        return choose_layout(shape, self.X_train.dtype, None, -1 if last else "auto")

    @cached_property
    def _units(self) -> Units:
        return Units.measure(self.layout.to_rows(self.X_train))


def _check_rows(name: str, X: np.ndarray) -> None:
    if not isinstance(X, np.ndarray) or X.ndim not in (2, 3, 4) or 0 in X.shape:
        raise ValueError(
            f"{name} must be an array (n, d), (n, h, w), (n, h, w, c) or (n, c, h, w) with rows in "
            "it; got "
            f"{f'shape {X.shape}' if isinstance(X, np.ndarray) else type(X).__name__}."
        )
    if X.ndim == 4 and min(X.shape[1], X.shape[3]) > MOST_CHANNELS:
        raise ValueError(
            f"{name} must have its channels last or first, at most {MOST_CHANNELS} of them; got "
            f"shape {X.shape}."
        )
    if X.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold real numbers; got dtype {X.dtype}.")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity.")


def _check_labels(name: str, y: np.ndarray, n_rows: int, n_classes: int) -> None:
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu" or y.ndim != 1:
        raise ValueError(
            f"{name} must be one axis of whole numbers; got "
            f"{f'{y.dtype} of shape {y.shape}' if isinstance(y, np.ndarray) else type(y).__name__}."
        )
    if len(y) != n_rows:
        raise ValueError(f"{name} must have a label per row, {n_rows}; got {len(y)}.")
    if n_classes < 2:
        raise ValueError(f"class_names must name at least 2 classes; got {n_classes}.")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(
            f"{name} must hold places among the {n_classes} class_names, 0 to {n_classes - 1}; "
            f"got {y.min()} to {y.max()}."
        )
