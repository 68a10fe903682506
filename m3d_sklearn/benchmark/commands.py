"""The shell command that repeats one cell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3d_sklearn.benchmark.cells import Cell
from m3d_sklearn.benchmark.described import described
from m3d_sklearn.benchmark.methods import METHODS, name_of
from m3d_sklearn.benchmark.models import TRANSFER, Model, resolve_models
from m3d_sklearn.datasets._load import takes_image_size

__all__ = ["cell_command"]

PLAIN = (type(None), bool, int, float, str, list, tuple)


def cell_command(
    cell: Cell, datasets: Any, root: str | Path | None, image_size: int | None = None
) -> str | None:
    """What to type to repeat a cell; None where an object from Python is a part of it.

    Parameters
    ----------
    cell : Cell
    datasets : object
        As :func:`compare` was given them: names can be typed, arrays cannot.
    root : str, Path or None
    image_size : int or None
        Of folders of images alone.
    """
    settings, method = cell.settings, name_of(cell.method, cell.condenser)
    changed = _changed(cell, method)
    source = _source(cell.dataset, datasets)
    typed = all(_typed(name, model) for name, model in settings.models.items())
    if method is None or changed is None or source is None or not typed:
        return None
    words = ["python", "-m", "m3d_sklearn", "compare", "--datasets", source, "--methods", method]
    if cell.ipc is not None:
        words += ["--ipc", str(cell.ipc)]
    words += ["--seed-list", str(cell.seed), "--references", "none"]
    for name, value in changed.items():
        words += ["--set", f"{method}.{name}={value!r}"]
    words += ["--models", ",".join(settings.models)]
    words += ["--protocols", ",".join(settings.protocols)]
    words += ["--networks", str(settings.n_networks)]
    words += ["--steps", "epochs" if settings.max_steps is None else str(settings.max_steps)]
    if "none" in settings.augmentations:
        words += ["--robust"]
    if settings.curve:
        words += ["--curve", ",".join(map(str, settings.curve))]
    if root is not None:
        words += ["--root", str(root)]
    if image_size is not None and takes_image_size(source, root):
        words += ["--image-size", str(image_size)]
    if settings.device != "auto":
        words += ["--device", str(settings.device)]
    return " ".join(map(shlex.quote, [*words, "--out", "FOLDER"]))


def _changed(cell: Cell, method: str | None) -> dict[str, Any] | None:
    """Parameters that differ from the method's own; None where one cannot be typed."""
    if method is None or cell.condenser is None:
        return {}
    _, kind = METHODS[method.removesuffix("-start")]
    plain = kind().get_params(deep=False)
    given = {"ipc", "random_state"} | ({"max_iter"} if method.endswith("-start") else set())
    params = cell.condenser.get_params(deep=False)
    changed = {k: v for k, v in params.items() if k not in given and repr(v) != repr(plain[k])}
    return changed if all(isinstance(value, PLAIN) for value in changed.values()) else None


def _typed(name: str, model: Model) -> bool:
    """Whether a model is what its name stands for."""
    known = name in ("auto", *TRANSFER)
    return known and described(resolve_models(name)[name]) == described(model)


def _source(label: str, datasets: Any) -> str | None:
    """The name or folder that a data set was asked for by."""
    if isinstance(datasets, Mapping):
        value = datasets.get(label)
        return str(value) if value == label else None
    listed = [datasets] if isinstance(datasets, (str, Path)) else list(datasets)
    typed = [str(value) for value in listed if isinstance(value, (str, Path))]
    typed = [name for name in typed if "," not in name]  # which sets names apart
    if len(listed) == 1:
        return typed[0] if typed else None
    matching = [name for name in typed if label in (name, Path(name).name, Path(name).stem)]
    return matching[0] if len(matching) == 1 else None
