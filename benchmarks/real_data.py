"""MNIST and a JPEG copy of CIFAR-10 from the folder in M3D_DATA, or ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from m3d_sklearn import datasets

__all__ = ["load"]

FILES = {"mnist": "mnist", "cifar10": "cifar10_jpeg"}

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load(name: str) -> Arrays:
    """X_train, y_train, X_test, y_test of "mnist" or "cifar10": uint8 images, labels 0 to 9."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("M3D_DATA", default))
    return tuple(datasets.load(FILES[name], root=root, download=False))
