"""load: a data set by name or by path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from m3d_sklearn.datasets import _arrays, _folder, _imagenet_subsets, _torchvision
from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._settings import Settings

__all__ = ["available", "load", "takes_image_size"]

NAMES = sorted(["cifar10_jpeg", "digits", *_torchvision.SETS, *_imagenet_subsets.SUBSETS])
SPELLINGS = {name.replace("_", ""): name for name in NAMES} | {"fmnist": "fashion_mnist"}


def available() -> list[str]:
    """Names that :func:`load` knows.

    Examples
    --------
    >>> from m3d_sklearn.datasets import available
    >>> "mnist" in available(), "imagenette" in available()
    (True, True)
    """
    return list(NAMES)


def load(
    name: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    image_size: int | None = None,
    test_size: float | int | None = None,
    random_state: Any = 0,
) -> Dataset:
    """Load a data set as arrays, from the disk or through torchvision.

    A known name is looked for in `root` as arrays first, ``NAME_train.npz`` and
    ``NAME_test.npz`` (keys X, y) or ``NAME.npz`` (keys x_train, y_train, x_test, y_test, or
    X, y alone, which are split). Labels there are whole numbers or strings and name their
    classes, unless the key class_names does. Else the name's own source is asked:

    ================================= ============================ =========================
    name                              source                       rows
    ================================= ============================ =========================
    digits                            scikit-learn, a 70/30 split  float64 (n, 8, 8), 0–16
    mnist, fashion_mnist              torchvision                  uint8 (n, 28, 28)
    svhn, cifar10, cifar100           torchvision                  uint8 (n, 32, 32, 3)
    cifar10_jpeg                      ``cifar10_jpeg.npz``         uint8 (n, 32, 32, 3)
    imagenette and other subsets of   ``root/imagenet``, or the    uint8 (n, 128, 128, 3)
    ImageNet                          subset's own folder
    ================================= ============================ =========================

    cifar10_jpeg is CIFAR-10 slightly blurred by a JPEG copy: scores on it compare with one
    another, not with those on cifar10.

    Parameters
    ----------
    name : str or Path
        One of :func:`available` (capitals, "-" and "_" do not matter), or a path to an
        ``.npz`` file of arrays or to a folder of images. A folder holds ``train/CLASS/*.jpg``
        with ``test/`` (or ``val/``) beside, or ``CLASS/*.jpg``, which are split. A str that
        is a known name is never a path.
    root : str or Path, optional
        Folder of the data. The environment variable ``M3D_DATA`` by default, else
        ``~/m3d_sklearn_data``. It is created when something is downloaded. Not looked at for
        digits and for paths.
    download : bool, default=True
        Whether torchvision may download what `root` lacks.
    image_size : int, optional
        For folders of images, pixels: the shorter side is resized to it and the centre is cut
        out, in a square. By default images of one size stay as they are; subsets of ImageNet
        get 128.
    test_size : float in (0, 1) or int, optional
        Part or number of test rows where the data have no split of their own: 0.3 for digits,
        0.2 for others by default. Each class is split in proportion.
    random_state : int, RandomState instance or None, default=0
        Of that split.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If files are missing and cannot be downloaded: says which, and where they are wanted.
    ValueError
        If the name is unknown, a parameter has no meaning for this data set, or a file is
        damaged or holds something else.

    Examples
    --------
    >>> from m3d_sklearn.datasets import load
    >>> X_train, y_train, X_test, y_test = load("digits", test_size=0.5)
    >>> X_train.shape, X_test.shape
    ((898, 8, 8), (899, 8, 8))
    """
    settings = Settings.checked(root, download, image_size, test_size, random_state)
    known = _known_name(name)
    if known is None:
        path = Path(name).expanduser()
        if path.suffix.lower() == ".npz":
            return _arrays.read(path.stem, [path], settings)
        return _folder.read(path, settings)
    if known == "digits":
        return _digits(settings)
    if files := _arrays.find(known, settings.root):
        return _arrays.read(known, files, settings)
    if known in _torchvision.SETS:
        return _torchvision.read(known, settings)
    if known in _imagenet_subsets.SUBSETS:
        return _imagenet_subsets.read(known, settings)
    raise FileNotFoundError(
        f"{known} needs the file {known}.npz in {settings.root}, and it cannot be downloaded; "
        "root= or the environment variable M3D_DATA names another folder. load('cifar10') "
        "gives the original images."
    )


def takes_image_size(
    name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> bool:
    """Whether image_size has a meaning for this name or path: whether images of a folder are read.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    known = _known_name(name)
    if known is None:
        return Path(name).suffix.lower() != ".npz"
    settings = Settings.checked(root, False, None, None, None)
    return known in _imagenet_subsets.SUBSETS and not _arrays.find(known, settings.root)


def _known_name(name: str | os.PathLike[str]) -> str | None:
    """The data set's name in its one spelling, or None for a path."""
    if isinstance(name, os.PathLike):
        return None
    if isinstance(name, str):
        if known := SPELLINGS.get(re.sub(r"[-_\s]", "", name.lower())):
            return known
        looks_like_path = re.search(r"[/\\]|\.npz$", name, re.IGNORECASE)
        if looks_like_path or (name and Path(name).is_dir()):
            return None
    raise ValueError(
        f"name must be one of {', '.join(NAMES)}, or a path to a folder of images or to an .npz "
        f"file; got {name!r}."
    )


def _digits(settings: Settings) -> Dataset:
    settings.refuse("image_size", "digits, which are 8×8")
    digits = load_digits()
    y = digits.target.astype(np.int64)
    train, test = settings.split(y, default=0.3)
    names = tuple(str(name) for name in digits.target_names)
    X = digits.images
    return Dataset("digits", X[train], y[train], X[test], y[test], names, "scikit-learn")
