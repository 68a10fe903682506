"""Data sets in .npz files: plain arrays, or images as JPEG with one header for all."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._settings import Settings

__all__ = ["find", "read"]

TWO_PARTS = ("x_train", "y_train", "x_test", "y_test")
ONE_PART = ("x", "y")
JPEG = (
    "jpeg_header",
    *(f"{part}_{what}" for part in ("train", "test") for what in ("scan", "length", "label")),
)
# What zipfile, zlib, numpy and Pillow raise on bytes that are not what they should be.
DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

Arrays = dict[str, np.ndarray]


def find(name: str, root: Path) -> list[Path]:
    """Files of a data set's arrays in `root`, training rows first; empty where there are none.

    Raises
    ------
    FileNotFoundError
        If there are training rows without test rows, or the other way round.
    """
    pair = [root / f"{name}_train.npz", root / f"{name}_test.npz"]
    missing = [path for path in pair if not path.is_file()]
    if not missing:
        return pair
    if (single := root / f"{name}.npz").is_file():
        return [single]
    if len(missing) == 1:
        raise FileNotFoundError(f"{name} needs {pair[0]} and {pair[1]}; {missing[0]} is missing.")
    return []


def read(name: str, files: list[Path], settings: Settings) -> Dataset:
    """Read a data set from one file, or from one of training and one of test rows.

    Raises
    ------
    ValueError
        Naming the files, if they are damaged or hold something else, and for image_size, or
        test_size where there are test rows.
    """
    settings.refuse("image_size", "arrays, whose images have one size")
    contents = [_contents(file) for file in files]
    try:
        X_train, y_train, X_test, y_test = _parts(contents, settings)
        y_train, y_test, names = _encode(y_train, y_test, contents[0].get("class_names"))
        source = ", ".join(file.name for file in files)
        return Dataset(name, X_train, y_train, X_test, y_test, names, source)
    except ValueError as error:
        raise ValueError(f"{', '.join(str(file) for file in files)}: {error}") from error


def _contents(file: Path) -> Arrays:
    """The arrays of the first form whose keys the file has; capitals do not matter."""
    try:
        with np.load(file, allow_pickle=False) as packed:
            keys = {key.lower(): key for key in packed.files}
            forms = (form for form in (TWO_PARTS, ONE_PART, JPEG) if keys.keys() >= set(form))
            wanted = [*next(forms, ()), "class_names"]
            arrays = {key: packed[keys[key]] for key in wanted if key in keys}
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(f"{file} cannot be read as an .npz of plain arrays: {error}") from error
    if len(wanted) == 1:
        raise ValueError(
            f"{file} must have the keys X, y or x_train, y_train, x_test, y_test; got "
            f"{', '.join(keys.values()) or 'none'}."
        )
    return arrays


def _parts(contents: list[Arrays], settings: Settings) -> list[np.ndarray]:
    """X_train, y_train, X_test, y_test."""
    first = contents[0]
    if len(contents) == 1 and "x" in first:
        X, y = first["x"], _flat(first["y"])
        if X.ndim == 0 or y.ndim != 1 or len(X) != len(y):
            raise ValueError(f"X and y must have one length; got shapes {X.shape} and {y.shape}.")
        train, test = settings.split(y)
        return [X[train], y[train], X[test], y[test]]
    settings.refuse("test_size", "data with their own test rows")
    if len(contents) == 2:
        if not all("x" in part for part in contents):
            raise ValueError("each of the two files must have the keys X, y.")
        return [part[key] for part in contents for key in ONE_PART]
    if "jpeg_header" in first:
        return _decode(first)
    return [first[key] for key in TWO_PARTS]


def _encode(
    y_train: np.ndarray, y_test: np.ndarray, names: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels as places among the class names; where no names came, the labels name themselves."""
    y_train, y_test = _flat(y_train), _flat(y_test)
    for part, y in (("training", y_train), ("test", y_test)):
        if y.dtype.kind not in "iuU" or y.ndim != 1:
            raise ValueError(
                f"{part} labels must be one axis of whole numbers or strings; got {y.dtype} of "
                f"shape {y.shape}."
            )
    if names is not None:
        if "U" in (y_train.dtype.kind, y_test.dtype.kind):
            raise ValueError("labels must be places in class_names; got strings.")
        given = tuple(str(name) for name in np.ravel(names))
        return y_train.astype(np.int64), y_test.astype(np.int64), given
    classes, train = np.unique(y_train, return_inverse=True)
    unknown = np.setdiff1d(y_test, classes)
    if len(unknown):
        raise ValueError(
            f"test labels must be among the training labels; got {unknown[:5].tolist()} besides."
        )
    test = np.searchsorted(classes, y_test)
    own = tuple(str(name) for name in classes)
    return train.astype(np.int64), test.astype(np.int64), own


def _flat(y: np.ndarray) -> np.ndarray:
    """Labels in one axis; keras keeps some as a column."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _decode(packed: Arrays) -> list[np.ndarray]:
    """Images from their JPEG scans, which lie end to end without the header they share."""
    arrays = []
    for part in ("train", "test"):
        scans, lengths = packed[f"{part}_scan"], packed[f"{part}_length"].astype(np.int64)
        if lengths.sum() != len(scans):
            raise ValueError(f"{part}_scan must have {lengths.sum()} bytes; got {len(scans)}.")
        pieces = np.split(scans, lengths.cumsum()[:-1])
        try:
            arrays.append(_decode_jpegs(packed["jpeg_header"].tobytes(), pieces))
        except DAMAGE as error:
            raise ValueError(f"{part}_scan must hold JPEG images: {error}") from error
        arrays.append(packed[f"{part}_label"])
    return arrays


def _decode_jpegs(header: bytes, scans: list[np.ndarray]) -> np.ndarray:
    """uint8 (n, h, w, 3), filled image by image, so that all are in memory once."""
    from PIL import Image

    def decode(scan: np.ndarray) -> np.ndarray:
        jpeg = io.BytesIO(header + scan.tobytes())
        return np.asarray(Image.open(jpeg, formats=["JPEG"]).convert("RGB"))

    X = np.empty((len(scans), *decode(scans[0]).shape), np.uint8)
    for row, scan in zip(X, scans, strict=True):
        row[:] = decode(scan)
    return X
