"""Checkpoints as files: a header, a line of JSON, raw arrays; no pickle, nothing is executed.

======= ============================================================================
bytes   what
======= ============================================================================
8       ``M3DCKPT`` and a newline
4       format, a little-endian unsigned number, as the next two are
8, 8    length of the JSON, length of the arrays
32      BLAKE2b over the 20 bytes before, the JSON and the arrays
...     JSON: the tree of values, and dtype and shape of each array
...     the arrays, one after another, in C order
======= ============================================================================

A tree is made of dicts, lists, numbers, strings, booleans, None and tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["FORMAT", "CheckpointError", "read", "remove_leftovers", "write"]

MAGIC = b"M3DCKPT\n"
FORMAT = 1
LENGTHS = struct.Struct("<IQQ")
DIGEST = 32
HEADER = len(MAGIC) + LENGTHS.size + DIGEST
MARK = "@"  # of a dict that stands for a tensor: {"@": its number}
LEFTOVER = 600  # seconds after which nobody is writing to a file any more
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}


class CheckpointError(ValueError):
    """What stands in the way is a checkpoint, and not the fit: without one it would run."""


def write(path: Path, tree: Any) -> None:
    """Write a tree so that `path` holds either what it held before or all of the new.

    The bytes go to a file beside it, reach the disk, and are moved into place.

    Raises
    ------
    OSError
        The disk is full, say; `path` is as it was.
    ValueError, TypeError
        If the tree holds what a checkpoint cannot.
    """
    tensors: list[Tensor] = []
    plain = _without_tensors(tree, tensors)
    about = [(str(t.dtype).removeprefix("torch."), list(t.shape)) for t in tensors]
    if unknown := {dtype for dtype, _ in about} - set(DTYPES):
        raise TypeError(f"a checkpoint cannot hold tensors of {sorted(unknown)}.")
    text = json.dumps({"tree": plain, "arrays": about}).encode()
    arrays = [_bytes_of(tensor) for tensor in tensors]
    lengths = LENGTHS.pack(FORMAT, len(text), sum(map(len, arrays)))
    head = MAGIC + lengths + _digest(lengths, text, *arrays)
    partial = path.with_name(f"{_partial(path)}{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.writelines([head, text, *arrays])
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is what should be told
            partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path: Path) -> Any:
    """Read what :func:`write` wrote; sizes are compared with the file's before memory is taken.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint, is torn or damaged, or is of a newer format.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is no checkpoint: it is no file.")
    with path.open("rb") as file:
        head, size = file.read(HEADER), os.fstat(file.fileno()).st_size
        n_text, n_arrays = _lengths(path, head, size)
        body = bytearray(n_text + n_arrays)
        n_read = file.readinto(body)
    text, arrays = memoryview(body)[:n_text], memoryview(body)[n_text:]
    lengths, digest = head[len(MAGIC) : -DIGEST], head[-DIGEST:]
    if n_read != len(body) or _digest(lengths, text, arrays) != digest:
        raise CheckpointError(f"{path} is a damaged checkpoint: its checksum does not fit.")
    try:
        about = json.loads(bytes(text))
        tensors = _read_arrays(about["arrays"], arrays)
        return _with_tensors(about["tree"], tensors)
    # OverflowError and RuntimeError are torch's, for shapes that no tensor has.
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{path} is a damaged checkpoint: {error!r}.") from error


def remove_leftovers(path: Path) -> None:
    """Remove what processes left beside `path` that were killed while they wrote."""
    start = _partial(path)
    for other in path.parent.iterdir():
        if other.name.startswith(start):
            with contextlib.suppress(OSError):
                if time.time() - other.stat().st_mtime > LEFTOVER:
                    other.unlink()


def _sync_folder(folder: Path) -> None:
    """Let the new name reach the disk; other systems than POSIX open no folders."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _partial(path: Path) -> str:
    """How the names of files begin that this machine's processes write before they move them."""
    return f".{path.name}.{platform.node()}."


def _lengths(path: Path, head: bytes, size: int) -> tuple[int, int]:
    """Lengths of the JSON and of the arrays, which together make up the file."""
    if head[: len(MAGIC)] != MAGIC[: len(head)] or not head:
        raise CheckpointError(f"{path} is no checkpoint of m3d_sklearn.")
    if len(head) < HEADER:
        raise CheckpointError(f"{path} is a torn checkpoint: {len(head)} bytes are no header.")
    known, n_text, n_arrays = LENGTHS.unpack(head[len(MAGIC) : -DIGEST])
    if known != FORMAT:
        raise CheckpointError(
            f"{path} is a checkpoint of format {known} and this version reads {FORMAT}; update "
            "m3d-sklearn."
        )
    if HEADER + n_text + n_arrays != size:
        raise CheckpointError(
            f"{path} is a torn checkpoint: it has {size} bytes, and its header says "
            f"{HEADER + n_text + n_arrays}."
        )
    return n_text, n_arrays


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _without_tensors(tree: Any, tensors: list[Tensor]) -> Any:
    """The tree with numbers in place of its tensors, which are appended to the list."""
    if isinstance(tree, Tensor):
        tensors.append(tree)
        return {MARK: len(tensors) - 1}
    if isinstance(tree, dict):
        if MARK in tree or not all(isinstance(name, str) for name in tree):
            raise ValueError(f"names in a checkpoint must be strings other than {MARK!r}.")
        return {name: _without_tensors(value, tensors) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_without_tensors(value, tensors) for value in tree]
    return tree


def _with_tensors(tree: Any, tensors: list[Tensor]) -> Any:
    if isinstance(tree, dict):
        if MARK in tree:
            return tensors[tree[MARK]]
        return {name: _with_tensors(value, tensors) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_with_tensors(value, tensors) for value in tree]
    return tree


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _read_arrays(about: Any, arrays: memoryview) -> list[Tensor]:
    """Tensors of the file's bytes, which they must use up."""
    shapes = list(_shapes(about))
    needed = sum(dtype.itemsize * math.prod(shape) for dtype, shape in shapes)
    if needed != len(arrays):
        raise ValueError(f"arrays of {needed} bytes in {len(arrays)}")
    # torch makes no tensor of an empty buffer.
    whole = torch.frombuffer(arrays, dtype=torch.uint8) if needed else torch.empty(0).byte()
    tensors, place = [], 0
    for dtype, shape in shapes:
        size = dtype.itemsize * math.prod(shape)
        flat = whole[place : place + size].clone()  # which is aligned for its dtype
        # A boolean of another byte than 0 and 1 is none.
        flat = flat != 0 if dtype == torch.bool else flat.view(dtype)
        tensors.append(flat.reshape(shape))
        place += size
    return tensors


def _shapes(about: Any) -> Iterator[tuple[torch.dtype, list[int]]]:
    for dtype, shape in about:
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"an array of shape {shape}")
        yield DTYPES[dtype], shape
