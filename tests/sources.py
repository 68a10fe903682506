"""Data that are not in memory, or stand for such: what tests of lazy rows share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class Indexed:
    """An array in a file, as h5py has it: slices and increasing row numbers, once each."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.most = 0  # rows that were read at once

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> np.ndarray:
        if not isinstance(index, slice):
            index = np.asarray(index)
            assert index.ndim == 1
            assert (np.diff(index) > 0).all(), "not in increasing order"
        rows = self.array[index].copy()
        self.most = max(self.most, len(rows))
        return rows


class Items(Dataset):
    """A map-style data set: (row, label) pairs, or rows alone; `read` counts."""

    def __init__(self, X: Any, y: Any = None, make: Any = lambda row: row) -> None:
        self.X, self.y, self.make, self.read = X, y, make, 0

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, number: int) -> Any:
        self.read += 1
        row = self.make(self.X[number])
        return row if self.y is None else (row, self.y[number])


def mapped(X: np.ndarray, folder: Path, mode: str = "r") -> np.memmap:
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode=mode)


KINDS = {
    "map": lambda X, y, folder: mapped(X, folder),
    "writeable map": lambda X, y, folder: mapped(X, folder, "r+"),
    "view of a map": lambda X, y, folder: np.asarray(mapped(X, folder))[:],
    "file": lambda X, y, folder: Indexed(X),
    "items": lambda X, y, folder: Items(X, y),
    "tensors": lambda X, y, folder: Items(torch.from_numpy(X), torch.from_numpy(y)),
}
"""Makers of data that hold X and y, by kind."""
