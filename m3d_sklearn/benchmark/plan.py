"""What compare() was asked for, checked, as cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.base import clone

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral, Interval
from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.benchmark.arrays import as_dataset
from m3d_sklearn.benchmark.cells import Cell, Settings
from m3d_sklearn.benchmark.commands import cell_command
from m3d_sklearn.benchmark.methods import REFERENCES, Methods, resolve_methods
from m3d_sklearn.benchmark.models import TRANSFER, fitting, resolve_models
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.training import PROTOCOLS
from m3d_sklearn.datasets import Dataset, load
from m3d_sklearn.datasets._load import takes_image_size

__all__ = ["plan"]


_POSITIVE = Interval(Integral, 1, None, closed="left")


@validation.validate_params(
    {
        "n_networks": [_POSITIVE],
        "max_steps": [_POSITIVE, None],
        "robust": ["boolean"],
        "root": [str, Path, None],
        "device": [str, torch.device],
    },
    prefer_skip_nested_validation=False,
)
def plan(
    methods: Methods,
    datasets: Any,
    ipc: int | Iterable[int],
    *,
    seeds: int | Iterable[int],
    references: Sequence[str],
    models: str | Iterable[str] | Mapping[str, Any],
    protocols: str | Iterable[str],
    n_networks: int,
    max_steps: int | None,
    robust: bool,
    curve: Iterable[int],
    root: str | Path | None,
    image_size: int | None,
    device: str,
) -> tuple[list[Cell], dict[str, Dataset]]:
    """Check what :func:`compare` was given, and lay out its cells.

    Returns
    -------
    cells : list of Cell
    data : dict of str to Dataset
        What they are about, by name.
    """
    resolve_device(device)
    models = list(models) if isinstance(models, Iterator) else models
    references = _named("references", references, (*REFERENCES, "random"))
    if robust:
        references = (*references, "random", "whole")
    settings = Settings(
        models=resolve_models(models),
        protocols=_named("protocols", protocols, tuple(PROTOCOLS)),
        augmentations=("auto", "none") if robust else ("auto",),
        n_networks=n_networks,
        max_steps=max_steps,
        curve=_iterations(curve),
        device=str(device),
    )
    chosen = resolve_methods(methods, references)
    for label, condenser in chosen.items():
        if condenser is not None:
            _check_method(label, condenser)
    ipcs = _whole_numbers("ipc", ipc, 1)
    numbers = _whole_numbers("seeds", _seeds(seeds), 0, given=seeds)
    data = resolve_datasets(datasets, root, image_size)
    cells = []
    models = [models] if isinstance(models, str) else models
    optional = TRANSFER if "transfer" in models else ()
    for name, dataset in data.items():
        taken = fitting(settings.models, dataset.layout.canonical_shape, name, optional)
        own = dataclasses.replace(settings, models=taken)
        # Seed after seed: a grid that is stopped early has whole tables of fewer seeds.
        places = [
            (seed, count, label)
            for seed in numbers
            for count in (*ipcs, None)
            for label, condenser in chosen.items()
            if (condenser is None) == (count is None)
        ]
        for seed, count, label in places:
            condenser = chosen[label]
            if condenser is not None:
                condenser = clone(condenser).set_params(ipc=count, random_state=seed)
            cell = Cell(name, dataset.fingerprint, label, condenser, count, seed, own)
            command = cell_command(cell, datasets, root, image_size)
            cells.append(dataclasses.replace(cell, command=command))
    return cells, data


def _check_method(label: str, condenser: BaseCondenser) -> None:
    try:
        validation.check_parameters(condenser)
        resolve_device(condenser.device)
        own = condenser.get_params(deep=False).get("checkpoint")
        if own is not None:
            raise ValueError(
                "checkpoint must be None, for compare keeps one of each cell in out; got "
                f"{str(own)!r}."
            )
    except ValueError as error:  # scikit-learn's check of plan would name plan in its own errors
        raise ValueError(f"method {label!r}: {error}") from error


def resolve_datasets(
    datasets: Any, root: str | Path | None = None, image_size: int | None = None
) -> dict[str, Dataset]:
    """Labels and data sets; see :func:`compare`."""
    if isinstance(datasets, (str, Path, Dataset)):
        datasets = [datasets]
    if not isinstance(datasets, Iterable):
        raise TypeError(f"datasets must be a name, a Dataset, a list or a dict; got {datasets!r}.")
    labelled = datasets.items() if isinstance(datasets, Mapping) else [("", d) for d in datasets]
    if image_size is not None and not any(_is_folder(value, root) for _, value in labelled):
        raise ValueError(
            f"image_size must be None where no data set is a folder of images; got {image_size!r}."
        )
    listed = [_dataset(value, root, image_size, str(label)) for label, value in labelled]
    if isinstance(datasets, Mapping):
        found = dict(zip(map(str, datasets), listed, strict=True))
    else:
        found = {dataset.name: dataset for dataset in listed}
        if len(found) < len(listed):
            raise ValueError(
                f"datasets must have different names; got {[d.name for d in listed]}. A dict "
                "names them: datasets={'label': dataset}."
            )
    if not found:
        raise ValueError("datasets must name at least one data set; got none.")
    return found


def _is_folder(value: Any, root: str | Path | None) -> bool:
    return isinstance(value, (str, Path)) and takes_image_size(value, root)


def _dataset(value: Any, root: str | Path | None, image_size: int | None, label: str) -> Dataset:
    if isinstance(value, Dataset):
        return value
    if isinstance(value, (str, Path)):
        return load(value, root=root, image_size=image_size if _is_folder(value, root) else None)
    try:
        X_train, y_train, X_test, y_test = value
    except (TypeError, ValueError) as error:
        raise TypeError(
            "datasets must hold names, Datasets or (X_train, y_train, X_test, y_test) under a "
            f"label; got {type(value).__name__}."
        ) from error
    return as_dataset(label, X_train, y_train, X_test, y_test)


def _named(
    parameter: str, values: str | Iterable[str], allowed: tuple[str, ...]
) -> tuple[str, ...]:
    listed = _listed(parameter, [values] if isinstance(values, str) else values)
    if any(value not in allowed for value in listed) or (parameter == "protocols" and not listed):
        raise ValueError(f"{parameter} must be of {list(allowed)}; got {listed}.")
    return tuple(dict.fromkeys(listed))


def _listed(parameter: str, values: Any) -> list[Any]:
    if isinstance(values, (str, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{parameter} must be one of its values or a list of them; got {values!r}.")
    return list(values)


def _iterations(curve: Iterable[int]) -> tuple[int, ...]:
    listed = _listed("curve", curve)
    if listed and not hasattr(BaseCondenser, "set_callbacks"):
        raise ValueError("curve needs the callbacks of scikit-learn 1.9 or newer.")
    return tuple(sorted(_whole_numbers("curve", listed, 1))) if listed else ()


def _seeds(seeds: Any) -> Any:
    """So many seeds, or these."""
    return range(seeds) if isinstance(seeds, Integral) and not isinstance(seeds, bool) else seeds


def _whole_numbers(parameter: str, values: Any, least: int, given: Any = None) -> list[int]:
    listed: list[Any] = [values] if isinstance(values, Integral) else _listed(parameter, values)
    fine = all(isinstance(v, Integral) and not isinstance(v, bool) for v in listed)
    fine = fine and all(v >= least for v in listed)
    if not listed or not fine or len(set(listed)) < len(listed):
        raise ValueError(
            f"{parameter} must hold different whole numbers of {least} or more, at least one; got "
            f"{values if given is None else given!r}."
        )
    return [int(v) for v in listed]
