"""Data that are not in memory and that no fit can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import digits, iris
from sources import Indexed, Items
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

__all__ = ["BAD", "DIGITS", "HELD_OUT", "IMAGES", "changed"]

IMAGES, DIGITS = digits()
TABLE, LABELS = iris()


def changed(X: np.ndarray, place: Any, value: Any) -> np.ndarray:
    X = X.copy()
    X[place] = value
    return X


class Forwards(IterableDataset):
    """Without item numbers."""

    def __iter__(self) -> Any:
        return iter(IMAGES)


class Breaking(Indexed):
    """A file that is cut off."""

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = super().__getitem__(index)
        if self.array[50] in rows:
            raise OSError("unexpected end of file")
        return rows


class Growing(Indexed):
    """Says another dtype than it gives."""

    def __getitem__(self, index: Any) -> np.ndarray:
        return super().__getitem__(index).astype(np.float32)


class OfText(Indexed):
    """An array of text in a file."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array.astype(object))


def at(number: int, instead: Any) -> list[Any]:
    rows = list(IMAGES)
    rows[number] = instead
    return rows


def failing(row: np.ndarray) -> np.ndarray:
    if row is ROWS[41]:
        raise OSError("image file is truncated")
    return row


ROWS = list(IMAGES)
WRONG_LABEL = [*DIGITS[:-1], None]

BAD: dict[str, tuple[Any, Any, str]] = {
    # arrays in files
    "NaN in a file": (Indexed(changed(IMAGES, (41, 2, 2), np.nan)), DIGITS, r"X contains NaN"),
    "NaN in a table": (Indexed(changed(TABLE, (41, 2), np.nan)), LABELS, r"X contains NaN"),
    "infinity in a file": (Indexed(changed(IMAGES, 41, -np.inf)), DIGITS, r"X contains infinity"),
    "NaN in the first row": (Indexed(changed(TABLE, 0, np.nan)), LABELS, r"X contains NaN"),
    "one axis": (Indexed(TABLE[:, 0]), LABELS, r"Expected 2D array, got 1D array"),
    "five axes": (Indexed(IMAGES[..., None, None]), DIGITS, r"X must have 2 axes"),
    "no rows": (Indexed(IMAGES[:0]), DIGITS[:0], r"0 sample\(s\)"),
    "no columns": (Indexed(TABLE[:, :0]), LABELS, r"0 feature\(s\)"),
    "no pixels": (Indexed(IMAGES[:, :0]), DIGITS, r"X must hold images of at least"),
    "objects": (OfText(IMAGES), DIGITS, r"images in X must be real numbers; got dtype object"),
    "a table of objects": (OfText(TABLE), LABELS, r"X must hold real numbers; got dtype object"),
    "text": (Indexed(TABLE.astype(str)), LABELS, r"not compatible with arrays of bytes/strings"),
    "complex": (Indexed(TABLE * 1j), LABELS, r"Complex data not supported"),
    "fewer labels": (Indexed(IMAGES), DIGITS[:-1], r"inconsistent numbers .*\[60, 59\]"),
    "more labels": (Indexed(TABLE[:-1]), LABELS, r"inconsistent numbers .*\[74, 75\]"),
    "no labels": (Indexed(TABLE), None, r"requires y to be passed, but the target y is None"),
    "one class": (Indexed(TABLE), np.ones(75), r"y must have at least 2 classes; got 1 class"),
    "one sample": (Indexed(TABLE[:1]), LABELS[:1], r"1 sample"),
    "continuous labels": (Indexed(TABLE), TABLE[:, 0], r"Unknown label type: continuous"),
    "NaN in labels": (Indexed(TABLE), np.where(LABELS, LABELS, np.nan), r"y must hold .*got nan"),
    "labels of two columns": (Indexed(TABLE), TABLE[:, :2], r"y should be a 1d array"),
    "a file that breaks off": (Breaking(IMAGES), DIGITS, r"X could not be read: OSError: unexp"),
    "another dtype than said": (Growing(IMAGES), DIGITS, r"X must give rows of .* float64.*32"),
    # data sets
    "no item numbers": (Forwards(), DIGITS, r"X must be a data set with a length.*got Forwards"),
    "no items": (Items([]), DIGITS, r"X must hold 1 sample or more; got Items of 0"),
    "fewer labels than items": (Items(IMAGES), DIGITS[:-1], r"inconsistent numbers"),
    "items without labels": (Items(IMAGES), None, r"y must be given: items of X have no label"),
    "one item without a label": (Items(IMAGES, WRONG_LABEL), None, r"y must be given"),
    "labels that are numbers and text": (
        Items(IMAGES, [*DIGITS[:-1].tolist(), (1, 2)]),
        None,
        r"y",
    ),
    "one class of items": (Items(IMAGES, np.ones(60)), None, r"at least 2 classes; got 1 class"),
    "an item that fails": (Items(ROWS, DIGITS, failing), None, r"X\[41\] could not .*truncated"),
    "the first item fails": (Subset(Items(IMAGES), [99]), DIGITS, r"X\[0\] could not.*IndexError"),
    "an item of another size": (
        Items(at(41, IMAGES[0, :7])),
        DIGITS,
        r"items of one shape and dtype.*X\[0\] has \(8, 8\) float64 and X\[41\] \(7, 8\) float64",
    ),
    "an item of another dtype": (
        Items(at(41, IMAGES[0].astype(np.uint8))),
        DIGITS,
        r"X\[41\] \(8, 8\) uint8",
    ),
    "an item of text": (Items(at(41, "image.png")), DIGITS, r"X\[41\] \(\) <U9"),
    "an item that is nothing": (Items(at(41, None)), DIGITS, r"X\[41\] \(\) object"),
    "items of text": (Items(["a"] * 60), DIGITS, r"X\[0\] must be an image.*got str"),
    "items in dicts": (
        Items([{"image": row, "label": 0} for row in IMAGES]),
        DIGITS,
        r"X\[0\] must be an image, tensor or array, alone or in a tuple .*; got dict",
    ),
    "items that are numbers": (Items([1.0] * 60), DIGITS, r"X\[0\] must be an image.*got float"),
    "a loader": (
        DataLoader(Items(IMAGES, DIGITS)),
        None,
        r"got a DataLoader: give its data set, loader.dataset",
    ),
    "items of three parts": (
        TensorDataset(*map(torch.from_numpy, (IMAGES, DIGITS, DIGITS))),
        None,
        r"X\[0\] must be a row or a pair \(row, label\); got 3 parts",
    ),
    "ragged items": (Items(at(0, [[1.0], [2.0, 3.0]])), DIGITS, r"X\[0\] must be .*numbers"),
    "NaN in an item": (Items(changed(IMAGES, 41, np.nan)), DIGITS, r"X contains NaN"),
    "NaN in an item, labels its own": (
        Items(changed(IMAGES, 41, np.nan), DIGITS),
        None,
        r"X contains NaN",
    ),
    "channels that can be read both ways": (
        Items(np.zeros((60, 3, 5, 3))),
        DIGITS,
        r"channel_axis='auto' cannot tell",
    ),
}

HELD_OUT = {
    "NaN": (Indexed(changed(IMAGES, 41, np.nan)), DIGITS, r"X_test must hold finite real numbers"),
    "other images": (Indexed(IMAGES[:, :7]), DIGITS, r"X_test must have rows of shape \(8, 8\)"),
    "fewer labels": (Indexed(IMAGES), DIGITS[:-1], r"60 and 59"),
    "objects": (OfText(IMAGES), DIGITS, r"finite real numbers; got object"),
    "no items": (Items([]), DIGITS, r"1 sample or more"),
    "an item that fails": (Items(ROWS, DIGITS, failing), DIGITS, r"X\[41\] could not be read"),
}
