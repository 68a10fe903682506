"""Folders of images, a folder a class, as uint8 arrays."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["list_images", "read", "read_images"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
GREY = ("1", "L")


def read(path: Path, settings: Settings) -> Dataset:
    """Read ``train/CLASS/*`` and ``test/CLASS/*`` (or ``val``), or ``CLASS/*`` and split it.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folders are not so, or an image cannot be read.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
    train = path / "train"
    if train.is_dir():
        test = _test_folder(path)
        settings.refuse("test_size", f"{path}, which has its own test rows in {test.name}")
        names = _class_names(train)
        if _class_names(test) != names:
            different = sorted(set(names) ^ set(_class_names(test)))
            raise ValueError(
                f"{train} and {test} must hold the same class folders; only one of them has "
                f"{', '.join(different[:5])}."
            )
        files, y_train = list_images(train, names)
        test_files, y_test = list_images(test, names)
    else:
        names = _class_names(path)
        all_files, y = list_images(path, names)
        rows, test_rows = settings.split(y)
        files, test_files = ([all_files[row] for row in part] for part in (rows, test_rows))
        y_train, y_test = y[rows], y[test_rows]
    X_train, X_test = read_images(files, test_files, image_size=settings.image_size)
    name = path.resolve().name
    return Dataset(name, X_train, y_train, X_test, y_test, tuple(names), "folder")


def list_images(folder: Path, classes: Iterable[str]) -> tuple[list[Path], np.ndarray]:
    """Image files of the class folders, in the order of `classes`, and their labels.

    Raises
    ------
    ValueError
        If a class folder has no image.
    """
    files, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(
            file
            for file in (folder / name).iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
        if not found:
            raise ValueError(f"{folder / name} must hold images ({', '.join(SUFFIXES)}); got none.")
        files += found
        labels += [label] * len(found)
    return files, np.array(labels, np.int64)


def read_images(*parts: list[Path], image_size: int | None) -> list[np.ndarray]:
    """One uint8 array (n, h, w, 3) a part, or (n, h, w) where every file of all parts is grey.

    Raises
    ------
    ValueError
        If a file cannot be read, has more than 8 bits a channel, or, where image_size is None,
        has another size than the first.
    """
    shape = _common_shape([file for part in parts for file in part], image_size)
    arrays = [np.empty((len(part), *shape), np.uint8) for part in parts]
    # Pillow decodes and resizes outside Python's lock. The first error cancels what waits.
    with ThreadPoolExecutor() as pool:
        for array, part in zip(arrays, parts, strict=True):
            list(pool.map(_fill, array, part, repeat(image_size)))
    return arrays


def _common_shape(files: list[Path], image_size: int | None) -> tuple[int, ...]:
    """Shape of one image as all will be, from the files' headers."""
    first, mode = _header(files[0])
    grey = mode in GREY
    for file in files[1:]:
        size, mode = _header(file)
        grey = grey and mode in GREY
        if image_size is None and size != first:
            raise ValueError(
                f"image_size must be given where images differ in size, as in image_size=64: "
                f"{files[0]} has {first[0]}×{first[1]} pixels, {file} {size[0]}×{size[1]}."
            )
    width, height = first if image_size is None else (image_size, image_size)
    return (height, width) if grey else (height, width, 3)


def _fill(row: np.ndarray, file: Path, image_size: int | None) -> None:
    """Write one file's image into its place."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = opened.convert("L" if row.ndim == 2 else "RGB")
    except Exception as error:  # each of Pillow's decoders raises what it likes
        raise _unreadable(file, error) from error
    row[:] = np.asarray(image if image_size is None else _centre(image, image_size))


def _centre(image: Image, size: int) -> Image:
    """The centre square of an image whose shorter side is resized to `size`."""
    from torchvision.transforms import v2

    return v2.CenterCrop(size)(v2.Resize(size, antialias=True)(image))


def _header(file: Path) -> tuple[tuple[int, int], str]:
    """(width, height) and Pillow's mode, without the pixels."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            size, mode = image.size, image.mode
    except Exception as error:  # each of Pillow's decoders raises what it likes
        raise _unreadable(file, error) from error
    if mode[0] in "IF":
        raise ValueError(f"{file} must have 8 bits a channel; got an image of mode {mode!r}.")
    return size, mode


def _unreadable(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file} cannot be read as an image: {error}")


def _class_names(folder: Path) -> list[str]:
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if len(names) < 2:
        raise ValueError(
            f"{folder} must hold a folder of images for each of 2 or more classes; got "
            f"{names or 'none'}."
        )
    return names


def _test_folder(path: Path) -> Path:
    for name in ("test", "val"):
        if (path / name).is_dir():
            return path / name
    raise ValueError(f"{path} must have test or val beside train; got neither.")
