"""Rows that are read where they lie: memory maps, arrays in files, data sets of PyTorch."""

from __future__ import annotations

import functools
import mmap
import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from torch.utils.data import DataLoader, Dataset, IterableDataset

from m3d_sklearn.layout import Fingerprint, Layout, Units, fingerprint, row_blocks
from m3d_sklearn.moments import Moments

__all__ = ["ArraySource", "DatasetSource", "LazyRows", "as_source", "fingerprint_of", "measure"]

WORKERS = 8  # threads that decode items, at most


def as_source(X: Any) -> ArraySource | DatasetSource | None:
    """What reads X's rows where they lie; None for arrays in memory and all else.

    Raises
    ------
    ValueError
        If X is a data set without items, or whose first item is no row.
    TypeError
        If X is a data set that has no item by number or whose items are none, or a DataLoader.
    """
    if isinstance(X, DataLoader):
        raise TypeError(
            "X must be an array or a data set; got a DataLoader: give its data set, loader.dataset."
        )
    if isinstance(X, Dataset):
        return DatasetSource(X)
    if _is_mapped(X) or _is_indexed(X):
        return ArraySource(X)
    return None


def _is_mapped(X: Any) -> bool:
    """Whether an array's memory is that of a file, through any number of views."""
    while isinstance(X, np.ndarray):
        if isinstance(X.base, mmap.mmap):
            return X.ndim > 0
        X = X.base
    return False


def _is_indexed(X: Any) -> bool:
    """Whether X is like an array without being one: h5py's, zarr's, :class:`LazyRows`."""
    if isinstance(X, (np.ndarray, np.generic)) or scipy.sparse.issparse(X):
        return False
    if type(X).__module__.partition(".")[0] == "pandas":
        return False
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    alike = isinstance(shape, tuple) and len(shape) > 0 and isinstance(dtype, np.dtype)
    return alike and hasattr(X, "__getitem__")


class ArraySource:
    """Rows of an array that is indexed without being copied whole.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and ``array[slice or increasing row numbers]``.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Rows by slice or by increasing numbers, each once: all that h5py takes."""
        try:
            rows = np.asarray(self.array[index])
        except Exception as error:
            raise ValueError(f"X could not be read: {_said(error)}") from error
        expected = self.shape[1:], self.dtype
        if (rows.shape[1:], rows.dtype) != expected:
            raise ValueError(
                f"X must give rows of shape {expected[0]} and {expected[1]}, as it says; it gave "
                f"{rows.shape[1:]} and {rows.dtype}."
            )
        return rows


class DatasetSource:
    """Items of a map-style data set: images with their labels, or images alone.

    Several threads read at once, as decoding is the cost.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Items are PIL images, tensors or arrays of one shape and dtype, alone or in a tuple
        with their label.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                "X must be a data set with a length and items by number; got "
                f"{type(dataset).__name__}."
            )
        n = len(dataset)
        if not n:
            raise ValueError(f"X must hold 1 sample or more; got {type(dataset).__name__} of 0.")
        self._seen: list[Any] = [None] * n
        self._expected: tuple[tuple[int, ...], np.dtype] | None = None
        first = self._item(0)
        self._expected = first.shape, first.dtype
        self.shape = (n, *first.shape)
        self.dtype = first.dtype
        self.workers = min(WORKERS, os.cpu_count() or 1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        numbers = np.arange(len(self._seen))[index]
        rows = np.empty((len(numbers), *self.shape[1:]), self.dtype)

        def fill(places: np.ndarray) -> None:
            for place in places:
                rows[place] = self._item(int(numbers[place]))

        parts = np.array_split(np.arange(len(numbers)), self.workers)
        if len(numbers) <= self.workers:
            fill(np.arange(len(numbers)))
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                for _ in pool.map(fill, parts):
                    pass
        return rows

    def _item(self, number: int) -> np.ndarray:
        """One row; its label is kept."""
        try:
            item = self.dataset[number]
        except Exception as error:
            raise ValueError(f"X[{number}] could not be read: {_said(error)}") from error
        if isinstance(item, tuple):
            if len(item) not in (1, 2):
                raise ValueError(
                    f"X[{number}] must be a row or a pair (row, label); got {len(item)} parts."
                )
            label = item[1] if len(item) == 2 else None
            item = item[0]
            self._seen[number] = getattr(label, "item", lambda: label)()
        try:
            row = np.asarray(item.detach().cpu() if hasattr(item, "detach") else item)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"X[{number}] must be an array of numbers; {_said(error)}") from error
        if number == 0 and row.ndim == 0:
            raise TypeError(
                "X[0] must be an image, tensor or array, alone or in a tuple with its label; got "
                f"{type(item).__name__}."
            )
        got = row.shape, row.dtype
        first = self._expected or got
        if got != first:
            raise ValueError(
                "X must hold items of one shape and dtype (a transform can see to it); X[0] has "
                f"{first[0]} {first[1]} and X[{number}] {got[0]} {got[1]}."
            )
        return row

    def targets(self) -> np.ndarray | None:
        """The labels that the data set lists, None where it lists none."""
        listed = getattr(self.dataset, "targets", None)
        if listed is None:
            return None
        return np.asarray(listed.cpu() if hasattr(listed, "cpu") else listed)

    def labels(self) -> np.ndarray:
        """The labels that the data set lists, or those of its items, read once at least."""
        listed = self.targets()
        if listed is not None:
            return listed
        if any(label is None for label in self._seen):
            for _ in row_blocks(self):
                pass
        return self.seen_labels()

    def seen_labels(self) -> np.ndarray:
        """The labels of the items, all of which have been read."""
        if any(label is None for label in self._seen):
            raise ValueError(
                "y must be given: items of X have no label, and X has no targets (this "
                "estimator requires y to be passed, but the target y is None)."
            )
        return np.array(self._seen)


class Scan(NamedTuple):
    """What one pass over the rows finds."""

    units: Units
    fingerprint: Fingerprint


class LazyRows:
    """Canonical rows that are read when they are asked for.

    Shape, dtype, ``len`` and ``rows[slice or row numbers]`` are those of the array that they
    stand for.

    Parameters
    ----------
    source : ArraySource or DatasetSource
    layout : Layout
    check : callable, optional
        Called with every block of the first pass; raises for values that are not finite.
    """

    def __init__(
        self,
        source: ArraySource | DatasetSource,
        layout: Layout,
        check: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self.source, self.layout, self._check = source, layout, check
        self.shape = (source.shape[0], *layout.canonical_shape)
        self.dtype = source.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            return self.layout.to_rows(self.source[index])
        numbers, places = np.unique(np.asarray(index), return_inverse=True)
        rows = self.source[numbers]
        if len(numbers) < len(places) or not np.array_equal(places, np.arange(len(places))):
            rows = rows[places]
        return self.layout.to_rows(rows)

    @cached_property
    def scan(self) -> Scan:
        """One pass: whether all values are finite, the units, and the fingerprint."""
        found = Fingerprint()
        found.begin(self.dtype, self.shape)

        def look(block: np.ndarray) -> Moments:
            if self._check is not None:
                self._check(block)
            found.add(block)
            return Moments.of(block)

        moments = functools.reduce(operator.add, map(look, row_blocks(self)))
        return Scan(Units.of(moments, self.ndim == 4), found)


def measure(rows: np.ndarray | LazyRows) -> Units:
    """Units of canonical rows, in memory or not."""
    return rows.scan.units if isinstance(rows, LazyRows) else Units.measure(rows)


def fingerprint_of(rows: np.ndarray | LazyRows, *others: np.ndarray) -> str:
    """Fingerprint of rows, in memory or not, and of what else: the same for the same data."""
    if isinstance(rows, LazyRows):
        return rows.scan.fingerprint.followed_by(*others)
    return fingerprint(rows, *others)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
