"""Condensed sets as files: one ``.npz`` of plain arrays and a line of JSON, no pickle."""

from __future__ import annotations

import json
import math
import os
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn.layout import Layout, Target, Units
from m3d_sklearn.npz import read_arrays

if TYPE_CHECKING:
    from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["load", "plain", "save", "with_suffix", "write_images"]

FORMAT = 1
# What zipfile, zlib, numpy and json raise on bytes that are not what they should be.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
UNITS = ("shift", "width", "low", "high", "mean", "std")
ARRAYS = ("X", "labels", "soft_labels", "classes", "about", *(f"units_{name}" for name in UNITS))


def save(condensed: CondensedSet, path: str | Path) -> Path:
    """Write a set; see :meth:`CondensedSet.save`."""
    _check_described(condensed)
    path = with_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must be in a folder that exists; got {path}, and {path.parent} is none."
        )
    about = {
        "format": FORMAT,
        "made by": "m3d_sklearn.CondensedSet",
        "normalised": False,
        "factor": condensed.factor,
        "method": condensed.method,
        "params": plain(condensed.params),
        "random_state": plain(condensed.random_state),
        "fingerprint": condensed.fingerprint,
        "versions": condensed.versions,
        "layout": plain(asdict(condensed.layout)),
        "target": _describe_target(condensed.target),
        "object_labels": condensed.classes.dtype == object,
    }
    arrays: dict[str, Any] = {
        "X": np.asarray(condensed.X),
        "labels": condensed.labels,
        "classes": _plain_labels(condensed.classes),
        "about": np.array(json.dumps(about)),
    }
    arrays |= {f"units_{name}": getattr(condensed.units, name) for name in UNITS}
    if condensed.soft_labels is not None:
        arrays["soft_labels"] = condensed.soft_labels
    # Written beside and moved into place: an earlier file stays whole until this one is.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def with_suffix(path: str | Path) -> Path:
    """The name that a set is written under: with ``.npz``, where it is missing."""
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def load(cls: type[CondensedSet], path: str | Path) -> CondensedSet:
    """Read a set; see :meth:`CondensedSet.load`."""
    path = Path(path)
    if not path.exists() and with_suffix(path).is_file():
        path = with_suffix(path)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a condensed set: it is no .npz file.")
    try:
        arrays = read_arrays(path, ARRAYS)
        about = json.loads(str(arrays["about"]))
        known = about["format"]
    except FileNotFoundError:
        raise
    except KeyError as error:
        raise ValueError(
            f"{path} is not a condensed set: CondensedSet.save did not write it."
        ) from error
    except DAMAGE as error:
        said = str(error).rstrip(".")
        raise ValueError(f"{path} is not a condensed set: {said}.") from error
    if known != FORMAT:
        raise ValueError(
            f"{path} is of format {known!r} and this version reads {FORMAT}; update m3d-sklearn."
        )
    if about.get("normalised") is not False:
        raise ValueError(f"{path} holds normalised values; sets here are stored as in X.")
    try:
        return _assemble(cls, arrays, about)
    except DAMAGE as error:
        raise ValueError(f"{path} is a damaged condensed set: {error!r}.") from error


def _assemble(
    cls: type[CondensedSet], arrays: dict[str, np.ndarray], about: dict[str, Any]
) -> CondensedSet:
    layout = _read_layout(about["layout"])
    units = {name: arrays[f"units_{name}"] for name in UNITS}
    _check_layout(layout, units, about["factor"])
    classes = arrays["classes"]
    if about["object_labels"]:
        classes = classes.astype(object)
    X, labels = arrays["X"], arrays["labels"]
    if X.shape != (len(labels), *layout.sample_shape) or X.dtype != layout.output_dtype:
        raise ValueError(f"X of shape {X.shape} does not fit its description")
    if labels.dtype.kind != "i" or not ((labels >= 0) & (labels < len(classes))).all():
        raise ValueError(f"labels must be places among {len(classes)} classes")
    if layout.columns is not None:
        import pandas as pd

        X = pd.DataFrame(X, columns=list(layout.columns))
    target = _read_target(about["target"])
    return cls(
        X,
        target.restore(classes[labels]),
        classes,
        layout,
        Units(**units),
        target,
        factor=about["factor"],
        method=str(about["method"]),
        params=dict(about["params"]),
        random_state=about["random_state"],
        fingerprint=str(about["fingerprint"]),
        versions=dict(about["versions"]),
        soft_labels=arrays.get("soft_labels"),
    )


def _check_layout(layout: Layout, units: dict[str, np.ndarray], factor: Any) -> None:
    """Refuse a layout that rows cannot have, units that do not fit it, and impossible mosaics."""
    sides = (*layout.sample_shape, *(layout.image_shape or ()))
    if not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"sides must be whole numbers of 1 or more; got {sides}")
    if layout.channel_axis not in (None, 0, 2):
        raise ValueError(f"channel_axis must be 0, 2 or None; got {layout.channel_axis!r}")
    shape = layout.canonical_shape
    if math.prod(shape) != math.prod(layout.sample_shape) or len(shape) not in (1, 3):
        raise ValueError(f"rows of {layout.sample_shape} are no {shape}")
    most = min(shape[1:], default=1)
    if type(factor) is not int or not 1 <= factor <= most:
        raise ValueError(f"factor must be a whole number from 1 to {most}; got {factor!r}")
    of_values, of_units = ((), (shape[0], 1, 1)) if len(shape) == 3 else (shape, ())
    for name, array in units.items():
        expected = of_units if name in ("mean", "std") else of_values
        if array.dtype != np.float64 or array.shape != expected:
            raise ValueError(f"units_{name} must be float64 of shape {expected}; got {array!r}")


def write_images(folder: str | Path, images: np.ndarray, names: list[str]) -> list[Path]:
    """Write uint8 images (n, h, w) or (n, h, w, c) as ``folder/name/number.png``."""
    from PIL import Image

    folders: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        safe = re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"
        taken = {place.name.lower() for place in folders.values()}
        number = next(n for n in count(1) if _numbered(safe, n).lower() not in taken)
        folders[name] = Path(folder) / _numbered(safe, number)
        folders[name].mkdir(parents=True, exist_ok=True)
    paths, seen = [], dict.fromkeys(names, 0)
    for image, name in zip(images, names, strict=True):
        paths.append(folders[name] / f"{seen[name]:04d}.png")
        Image.fromarray(image).save(paths[-1])
        seen[name] += 1
    kinds = Image.registered_extensions()
    found = {path for path in Path(folder).glob("*/*") if path.suffix.lower() in kinds}
    if n_others := len(found.difference(paths)):
        warnings.warn(
            f"{folder} holds {n_others} other image{'s' if n_others > 1 else ''}, which stay: who "
            "loads the folder gets them too.",
            stacklevel=3,
        )
    return paths


def _numbered(name: str, number: int) -> str:
    """Folders of two classes stay apart where their names come to the same."""
    return name if number == 1 else f"{name}_{number}"


def plain(value: Any) -> Any:
    """What JSON can hold: numbers, strings, lists and dicts; the rest by its name."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", None) or repr(value)


def _tuples(value: Any) -> Any:
    """Lists, which is what JSON makes of tuples, back to tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain_labels(classes: np.ndarray) -> np.ndarray:
    if classes.dtype != object:
        return classes
    if not all(isinstance(name, str) for name in classes):
        raise ValueError(f"only labels that are numbers or strings can be saved; got {classes!r}.")
    return classes.astype(str)


def _check_described(condensed: CondensedSet) -> None:
    """Refuse names and categories that would be read as something else."""
    wanted = "that are numbers, strings or tuples of them can be saved; got"
    layout, target = condensed.layout, condensed.target
    about = [plain(asdict(layout)), _describe_target(target)]
    about_layout, about_target = json.loads(json.dumps(about))
    if _read_layout(about_layout) != layout:
        raise ValueError(f"only columns with names {wanted} {list(layout.columns or ())!r}.")
    found = _read_target(about_target)
    if found.name != target.name:
        raise ValueError(f"only names of y {wanted} {target.name!r}.")
    if found.pandas_dtype != target.pandas_dtype:
        raise ValueError(f"only categories of y {wanted} {target.pandas_dtype!r}.")


def _read_layout(about: dict[str, Any]) -> Layout:
    return Layout(**{name: _tuples(value) for name, value in about.items()})


def _describe_target(target: Target) -> dict[str, Any]:
    dtype = target.pandas_dtype
    about: dict[str, Any] = {
        "name": plain(target.name),
        "dtype": None if dtype is None else str(dtype),
    }
    if hasattr(dtype, "categories"):
        about["categories"] = plain(list(dtype.categories))
        about["ordered"] = bool(dtype.ordered)
    return about


def _read_target(about: dict[str, Any]) -> Target:
    if about["dtype"] is None:
        return Target()
    import pandas as pd

    dtype = pd.api.types.pandas_dtype(about["dtype"])
    if "categories" in about:
        dtype = pd.CategoricalDtype(about["categories"], about["ordered"])
    return Target(name=_tuples(about["name"]), pandas_dtype=dtype)
