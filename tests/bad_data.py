"""Data that no fit can take: X, y, and what the refusal says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from common import digits, iris

__all__ = ["DATA", "DIGITS", "IMAGES", "LABELS", "OTHERS", "TABLE", "holed"]

TABLE, LABELS = iris()
IMAGES, DIGITS = digits()


def holed(X: np.ndarray, value: float, place: int | None = None) -> np.ndarray:
    X = X.copy()
    if place is None:
        X[3, 1] = value
    else:
        X.reshape(-1)[place] = value
    return X


DAY = pd.Timestamp("2020-01-01")


def frame(row: int, value: Any) -> pd.DataFrame:
    """The table with another value in its first column."""
    found = pd.DataFrame(TABLE.astype(object), columns=list("abcd"))
    found.loc[row, "a"] = value
    return found.convert_dtypes()


class Foreign:
    """Stands for a frame of text of another library than pandas."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return TABLE.astype(str).astype(object)


def named(*names: Any) -> pd.DataFrame:
    return pd.DataFrame(TABLE, columns=list(names))


def categories() -> pd.DataFrame:
    return named(*"abcd").assign(a=pd.Categorical(["u", "v", "w"] * 25))


def lists() -> np.ndarray:
    found = np.empty(75, object)
    found[:] = [[1]] * 75
    return found


MIXED = np.array([1, "a", 2.5] * 25, object)


def with_hole(value: Any, n: int = 75) -> np.ndarray:
    """Strings, and another value in row 2."""
    found = np.array(["a", "b", "c"] * (n // 3), object)
    found[2] = value
    return found


DATA: dict[str, tuple[Any, Any, str]] = {
    "NaN in a table": (holed(TABLE, np.nan), LABELS, r"X contains NaN"),
    "NaN in images": (holed(IMAGES, np.nan), DIGITS, r"X contains NaN"),
    "infinity in a table": (holed(TABLE, np.inf), LABELS, r"X contains infinity"),
    "infinity in images": (holed(IMAGES, -np.inf), DIGITS, r"X contains infinity"),
    "NaN in a tensor": (torch.from_numpy(holed(IMAGES, np.nan)), DIGITS, r"X contains NaN"),
    "one class": (TABLE, np.ones(75, int), r"y must have at least 2 classes; got 1 class, \[1\]"),
    "one class of images": (IMAGES, ["b"] * 60, r"y must have at least 2 classes; .*\['b'\]"),
    "one sample": (TABLE[:1], LABELS[:1], r"1 sample"),
    "fewer labels": (TABLE, LABELS[:-1], r"inconsistent numbers of samples: \[75, 74\]"),
    "more labels than images": (IMAGES[:-1], DIGITS, r"inconsistent .*: \[59, 60\]"),
    "continuous y": (TABLE, TABLE[:, 0], r"Unknown label type: continuous"),
    "continuous y of images": (IMAGES, IMAGES[:, 4, 4] / 7, r"Unknown label type: continuous"),
    "y of two columns": (TABLE, TABLE[:, :2], r"y should be a 1d array.*\(75, 2\)"),
    "NaN in y": (
        TABLE,
        np.where(LABELS, LABELS, np.nan),
        r"y must hold .*got nan in row 0",
    ),
    "NaN in y of images": (
        IMAGES,
        np.where(DIGITS, DIGITS, np.nan),
        r"without missing ones; got nan",
    ),
    "no y": (TABLE, None, r"requires y to be passed, but the target y is None"),
    "no y for images": (IMAGES, None, r"requires y to be passed, but the target y is None"),
    "sparse": (scipy.sparse.csr_matrix(TABLE), LABELS, r"[Ss]parse .*X"),
    "sparse array": (scipy.sparse.coo_array(TABLE), LABELS, r"[Ss]parse .*X"),
    "complex table": (TABLE * 1j, LABELS, r"Complex data not supported"),
    "complex images": (IMAGES * 1j, DIGITS, r"Complex data not supported.* X .*complex128"),
    "object images": (IMAGES.astype(object), DIGITS, r"images in X must be real.*got dtype object"),
    "text images": (IMAGES.astype(str), DIGITS, r"images in X must be real numbers; got dtype <U"),
    "text table": (TABLE.astype(str).astype(object) + "!", LABELS, r"could not convert .*'5.1!'"),
    "one axis": (TABLE[:, 0], LABELS, r"Expected 2D array, got 1D array"),
    "five axes": (IMAGES[:, :, :, None, None], DIGITS, r"X must have 2 axes.*\(60, 8, 8, 1, 1\)"),
    "no rows": (TABLE[:0], LABELS[:0], r"0 sample\(s\) \(shape=\(0, 4\)\)"),
    "no images": (IMAGES[:0], DIGITS[:0], r"0 sample\(s\) \(shape=\(0, 8, 8\)\)"),
    "no columns": (TABLE[:, :0], LABELS, r"0 feature\(s\) \(shape=\(75, 0\)\)"),
    "no pixels": (IMAGES[:, :0], DIGITS, r"X must hold images of at least .*\(60, 0, 8\)"),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], r"X must be an array whose rows have one shape"),
    "nothing": (None, LABELS, r"X|array"),
    "text": ("X.npy", LABELS, r"X|array"),
    "NaN in the last value": (holed(TABLE, np.nan, -1), LABELS, r"X contains NaN"),
    "NaN in the last pixel": (holed(IMAGES, np.nan, -1), DIGITS, r"X contains NaN"),
    "six axes": (IMAGES[..., None, None, None], DIGITS, r"X must have 2 axes.*, 1, 1, 1\)"),
    "no channels": (np.zeros((60, 8, 8, 0)), DIGITS, r"images of at least .*\(60, 8, 8, 0\)"),
    "nine or seven channels": (np.zeros((60, 7, 8, 9)), DIGITS, r"channel_axis='auto' cannot tell"),
    "three channels twice": (np.zeros((60, 3, 8, 3)), DIGITS, r"channel_axis='auto' cannot tell"),
    "a number": (3.0, LABELS, r"Expected 2D array, got scalar array"),
    "bytes": (b"1234", LABELS, r"Expected 2D array, got scalar array"),
    "a dict": ({"a": [1, 2]}, LABELS, r"Expected 2D array, got scalar array"),
    "a set": ({1.0, 2.0}, LABELS, r"Expected 2D array, got scalar array"),
    "a generator": ((row for row in TABLE), LABELS, r"Expected 2D array, got scalar array"),
    "a structured array": (np.zeros(75, "f8,i8"), LABELS, r"Expected 2D array, got 1D array"),
    "dates": (np.zeros((75, 4), "M8[s]"), LABELS, r"X must hold real numbers; got .*datetime64"),
    "spans of time": (np.zeros((75, 4), "m8[s]"), LABELS, r"X must hold real .*timedelta64"),
    "dates for images": (np.zeros((60, 8, 8), "M8[s]"), DIGITS, r"images in X .*datetime64"),
    "void": (np.zeros((75, 4), "V8"), LABELS, r"not compatible with arrays of bytes/strings"),
    "void for images": (np.zeros((60, 8, 8), "V8"), DIGITS, r"images in X must be real .*V8"),
    "a range that float64 lacks": (
        (IMAGES + 1) * 1e307 * np.where(np.arange(60) % 2, 1, -1)[:, None, None],
        DIGITS,
        r"X must have a range that float64 holds.*Divide X",
    ),
    "missing values in a frame": (frame(1, pd.NA), LABELS, r"X contains NaN"),
    "text in a frame": (frame(1, "x"), LABELS, r"could not convert string to float: 'x'"),
    "categories of text": (
        categories(),
        LABELS,
        r"X must hold .*; got the columns 'a' of category",
    ),
    "text in a frame of others": (Foreign(), LABELS, r"X must hold real numbers; got dtype object"),
    "dates in a frame": (named(*"abcd").assign(a=DAY), LABELS, r"X must hold .* 'a' of datetime64"),
    "days in a frame": (named(*"abcd").assign(a=DAY.tz_localize("UTC")), LABELS, r"X must .*UTC"),
    "names of two types": (named("a", 1, "c", 2), LABELS, r"all input features have string names"),
    "a sparse tensor": (torch.from_numpy(TABLE).to_sparse(), LABELS, r"must be dense.*sparse_coo"),
    "a tensor without values": (torch.zeros(75, 4, device="meta"), LABELS, r"hold values.*on meta"),
    "a complex tensor": (torch.from_numpy(TABLE) * 1j, LABELS, r"Complex data not supported"),
    "a tensor of one axis": (torch.from_numpy(TABLE[:, 0]), LABELS, r"Expected 2D array, got 1D"),
    "no labels at all": (TABLE, [], r"inconsistent numbers of samples: \[75, 0\]"),
    "labels of nothing": (TABLE, np.array([None] * 75), r"without missing ones; got None in row 0"),
    "ragged labels": (TABLE, [[1], [1, 2], [3]] * 25, r"inhomogeneous|1d array"),
    "labels of three types": (TABLE, MIXED, r"of one kind, .*got 1 in row 0 and 'a' in row 1"),
    "several labels a row": (TABLE, (TABLE[:, :3] > 1).astype(int), r"1d array.*\(75, 3\)"),
    "one label for all": (TABLE, 3, r"y should be a 1d array.*\(\)"),
    "labels in a string": (TABLE, "abc", r"y should be a 1d array.*\(\)"),
    "labels in a dict": (TABLE, dict(enumerate(LABELS)), r"y should be a 1d array.*\(\)"),
    "labels from a generator": (TABLE, (k for k in LABELS), r"y should be a 1d array.*\(\)"),
    "labels in a list of one": (TABLE, [LABELS.tolist()], r"y should be a 1d array.*\(1, 75\)"),
    "labels of infinity": (TABLE, np.where(LABELS, LABELS, np.inf), r"y contains infinity"),
    "complex labels": (TABLE, LABELS * 1j, r"Complex data not supported"),
    "sparse labels": (TABLE, scipy.sparse.csr_matrix(LABELS), r"[Ss]parse data was passed for y"),
    "missing labels": (TABLE, pd.array([1, 2, None] * 25, "Int64"), r"; got <NA> in row 2"),
    "labels that are no time": (TABLE, np.array(["2020", "NaT"] * 38, "M8[Y]")[1:], r"got NaT in"),
    "a frame of labels": (TABLE, pd.DataFrame({"a": LABELS, "b": LABELS}), r"1d array.*\(75, 2\)"),
    "a tensor of labels of two axes": (TABLE, torch.zeros(75, 2), r"1d array.*\(75, 2\)"),
    "missing strings": (TABLE, with_hole(None), r"y must hold .*got None in row 2"),
    "missing strings of images": (
        IMAGES,
        with_hole(None, 60),
        r"y must hold .*; got None in row 2",
    ),
    "NaN among strings": (TABLE, with_hole(np.nan), r"y must hold .*got nan in row 2"),
    "NaN in a list": (TABLE, with_hole(np.nan).tolist(), r"y must hold .*got nan in row 2"),
    "a number in a list": (TABLE, with_hole(3).tolist(), r"; got 'a' in row 0 and 3 in row 2"),
    "missing in a series": (
        TABLE,
        pd.Series(with_hole(None)),
        r"got (None|nan) in row 2",
    ),
    "NaN in a series": (TABLE, pd.Series(with_hole(np.nan)), r"y must hold .*got nan in row 2"),
    "NA in a series": (TABLE, pd.Series(with_hole(None), dtype="string"), r"got <NA> in row 2"),
    "NA in categories": (
        TABLE,
        pd.Categorical(with_hole(None)),
        r"y must hold .*; got nan in row 2",
    ),
    "NaT in a series": (TABLE, pd.Series([DAY, pd.NaT, DAY] * 25), r"y must .*; got NaT in row 1"),
    "a number among strings": (TABLE, with_hole(3), r"; got 'a' in row 0 and 3 in row 2"),
    "labels in lists": (TABLE, lists(), r"legacy multi-label|Unknown label|1d array"),
}


# rows of fit, new rows, and what is said of those
OTHERS: dict[str, tuple[Any, Any, str]] = {
    "fewer columns": (TABLE, TABLE[:, :3], r"X has 3 features, but \w+ is expecting 4"),
    "images for a table": (TABLE, TABLE.reshape(-1, 2, 2), r"X .*\(2, 2\).*\(4,\)"),
    "smaller images": (IMAGES, IMAGES[:, :7], r"X has 56 features, but \w+ is expecting 64"),
    "flat images": (IMAGES, IMAGES.reshape(60, 64), r"X .*\(64,\).*\(8, 8\)"),
    "turned images": (
        np.repeat(IMAGES[:, :, :6, None], 3, 3),
        np.repeat(IMAGES[:, None, :, :6], 3, 1),
        r"X .*\(3, 8, 6\).*\(8, 6, 3\)",
    ),
    "NaN": (IMAGES, holed(IMAGES, np.nan), r"X contains NaN"),
    "one row": (IMAGES, IMAGES[0], r"X"),
    "five axes": (IMAGES, IMAGES[..., None, None], r"X must have 2 axes"),
    "sparse": (TABLE, scipy.sparse.csr_matrix(TABLE), r"[Ss]parse"),
}
