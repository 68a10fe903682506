"""MNIST and CIFAR-10 from the arrays in M3D_DATA, or in ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_jpeg

__all__ = ["cifar10", "load", "mnist"]

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _file(name: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("M3D_DATA", default))
    if not (folder / name).exists():
        raise FileNotFoundError(f"{name} is wanted in {folder}; M3D_DATA names another folder.")
    return folder / name


def mnist() -> Arrays:
    """X_train, y_train, X_test, y_test; uint8 images (n, 28, 28), sorted by class."""
    with np.load(_file("mnist_train.npz")) as a, np.load(_file("mnist_test.npz")) as b:
        return a["X"], a["y"].astype(np.int64), b["X"], b["y"].astype(np.int64)


def cifar10() -> Arrays:
    """X_train, y_train, X_test, y_test; uint8 images (n, 32, 32, 3), of a JPEG copy."""
    arrays = []
    with np.load(_file("cifar10_jpeg.npz")) as packed:
        header = packed["jpeg_header"]
        for split in ("train", "test"):
            scan, lengths = packed[f"{split}_scan"], packed[f"{split}_length"].astype(np.int64)
            pieces = np.split(scan, lengths.cumsum()[:-1])
            images = [
                decode_jpeg(torch.from_numpy(np.concatenate([header, piece])), ImageReadMode.RGB)
                for piece in pieces
            ]
            arrays += [torch.stack(images).permute(0, 2, 3, 1).contiguous().numpy()]
            arrays += [packed[f"{split}_label"].astype(np.int64)]
    return tuple(arrays)


def load(name: str) -> Arrays:
    """The data set of a name, "mnist" or "cifar10"."""
    return {"mnist": mnist, "cifar10": cifar10}[name]()
