"""Arrays out of an ``.npz`` from anybody: no pickle, and no memory that the file does not fill."""

from __future__ import annotations

import math
import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

__all__ = ["read_arrays"]

METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
MOST_EXPANSION = 1032  # bytes that DEFLATE can make of one
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` by name; a name that it lacks is left out.

    Memory is bounded by what the file can hold: each entry's size in the archive's directory is
    compared with the file's, and each array's size by its header with its entry's, before
    anything is read into memory.

    Raises
    ------
    ValueError
        If sizes do not fit together, or an array holds Python objects or records.
    OSError, zipfile.BadZipFile and others of zipfile, zlib and numpy
        For what is no ``.npz``.
    """
    with zipfile.ZipFile(path) as archive:
        known = {info.filename: info for info in archive.infolist()}
        entries = {n: known[f"{n}.npy"] for n in names if f"{n}.npy" in known}
        _check_sizes(entries.values(), os.stat(path).st_size)
        return {name: _read_array(archive, entry) for name, entry in entries.items()}


def _check_sizes(entries: Iterable[zipfile.ZipInfo], size: int) -> None:
    held = sum(entry.compress_size for entry in entries)
    if held > size:
        raise ValueError(f"it has {size} bytes, and its entries say {held}")
    for entry in entries:
        if entry.compress_type not in METHODS:
            raise ValueError(f"{entry.filename} is compressed by method {entry.compress_type}")
        most = MOST_EXPANSION if entry.compress_type == zipfile.ZIP_DEFLATED else 1
        if entry.file_size > most * entry.compress_size:
            raise ValueError(
                f"{entry.filename} says {entry.file_size} bytes, which {entry.compress_size} "
                "cannot hold"
            )


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"{entry.filename} is of .npy version {version}")
        shape, _, dtype = HEADERS[version](file)
        if dtype.hasobject or dtype.kind == "V":
            raise ValueError(f"{entry.filename} holds {dtype}, and only plain values are read")
        # numpy would take an item of no bytes for one of four.
        told = file.tell() + dtype.itemsize * math.prod(shape)
        if min(shape, default=0) < 0 or not dtype.itemsize or told != entry.file_size:
            raise ValueError(
                f"{entry.filename} has {entry.file_size} bytes, and its header says {told}"
            )
    with archive.open(entry) as file:
        array = npy.read_array(file, allow_pickle=False)
    if dtype.kind == "U":
        # numpy makes strings of any numbers, and Python's own code breaks on what is no character.
        numbers = np.ascontiguousarray(array).reshape(-1).view(dtype.str[0] + "u4")
        if numbers.max(initial=0) > sys.maxunicode:
            raise ValueError(f"{entry.filename} holds what is no text")
    return array
