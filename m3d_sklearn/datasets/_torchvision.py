"""Data sets that torchvision knows, as arrays."""

from __future__ import annotations

import io
import pickle
import zlib
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._settings import Settings

__all__ = ["SETS", "read"]

# What torchvision, urllib, zlib and pickle raise on files that are not there, are refused, are
# cut off on the way, or hold something else.
FAILURES = (
    OSError,
    RuntimeError,
    HTTPException,
    EOFError,
    ValueError,
    TypeError,
    AssertionError,
    LookupError,
    pickle.UnpicklingError,
    zlib.error,
)


@dataclass(frozen=True)
class Source:
    """torchvision's class, its folder below root, and the files that it reads there."""

    cls: str
    folder: str
    files: tuple[str, ...]


IDX_FILES = tuple(
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
CIFAR10_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
SETS = {
    "mnist": Source("MNIST", "MNIST/raw", IDX_FILES),
    "fashion_mnist": Source("FashionMNIST", "FashionMNIST/raw", IDX_FILES),
    "svhn": Source("SVHN", "", ("train_32x32.mat", "test_32x32.mat")),
    "cifar10": Source("CIFAR10", "cifar-10-batches-py", CIFAR10_FILES),
    "cifar100": Source("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
}
DIGITS = tuple("0123456789")


def read(name: str, settings: Settings) -> Dataset:
    """Read one of `SETS`, downloaded where that is allowed and needed.

    Raises
    ------
    FileNotFoundError
        If files are missing and cannot be had.
    ValueError
        If they are damaged, or image_size or test_size is given.
    """
    settings.refuse("image_size", f"{name}, whose images have one size")
    settings.refuse("test_size", f"{name}, which has its own test rows")
    train, test = _parts(name, settings)
    names = DIGITS if name in ("mnist", "svhn") else tuple(train.classes)
    return Dataset(name, *_arrays(train), *_arrays(test), names, "torchvision")


def _parts(name: str, settings: Settings) -> list[Any]:
    """torchvision's two data sets; nothing is printed, and nothing empty is left behind."""
    from torchvision import datasets

    source = SETS[name]
    cls = getattr(datasets, source.cls)
    parts: list[dict[str, Any]] = [{"split": "train"}, {"split": "test"}]
    if name != "svhn":
        parts = [{"train": True}, {"train": False}]
    folder = settings.root / source.folder
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return [cls(settings.root, download=settings.download, **part) for part in parts]
    except FAILURES as error:
        for path in new_folders:
            with suppress(OSError):
                path.rmdir()
        missing = [file for file in source.files if not (folder / file).is_file()]
        if missing:
            raise FileNotFoundError(_how_to_get(name, missing, folder, settings, error)) from error
        raise ValueError(
            f"{name} cannot be read from {', '.join(source.files)} in {folder}: {error!r}. Delete "
            "them and load with download=True to have them anew."
        ) from error


def _how_to_get(
    name: str, missing: list[str], folder: Path, settings: Settings, error: Exception
) -> str:
    reason = " ".join(str(error).split())
    tried = f"the download failed ({reason})" if settings.download else "download=False"
    return (
        f"{name} needs the files {', '.join(missing)} in {folder}, and {tried}. "
        f"Load it once with download=True where there is a network and copy them here, or "
        f"put {name}_train.npz and {name}_test.npz (keys X, y) or {name}.npz (keys x_train, "
        f"y_train, x_test, y_test) in {settings.root}. root= or the environment variable M3D_DATA "
        "names another folder."
    )


def _arrays(part: Any) -> tuple[np.ndarray, np.ndarray]:
    X = np.asarray(part.data)
    if X.ndim == 4 and X.shape[1] == 3:  # SVHN keeps channels first
        X = X.transpose(0, 2, 3, 1)
    y = part.targets if hasattr(part, "targets") else part.labels
    return np.ascontiguousarray(X), np.asarray(y).astype(np.int64)
