"""How long a grid would run, from timed samples of its cells."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from sklearn.base import BaseEstimator, clone

from m3d_sklearn.benchmark.cells import Cell, Settings
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.benchmark.measure import limited_threads
from m3d_sklearn.benchmark.models import Model
from m3d_sklearn.benchmark.running import on_device
from m3d_sklearn.benchmark.scoring import mmd_to_data, score_models
from m3d_sklearn.benchmark.store import ResultsFolder
from m3d_sklearn.classifier import make_recipe
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.datasets import Dataset
from m3d_sklearn.evaluation import as_condensed_set

__all__ = ["Estimate", "estimate"]

SAMPLE_SECONDS = 2.0  # of an iterating fit
FEW, MORE = 2, 6  # steps of the sampled trainings


@dataclass(frozen=True)
class Estimate:
    """Seconds of one cell, and how many of its kind are missing and done.

    A kind whose sample failed has 0 seconds and its error.
    """

    dataset: str
    method: str
    ipc: int | None
    missing: int
    done: int
    seconds: float
    error: str | None = None


def estimate(grid: Grid, folder: ResultsFolder, threads: int) -> list[Estimate]:
    """Time a sample of every kind of missing cell.

    Fits that iterate get a few seconds, uncompiled, and trainings a few steps; what they
    would take in full is in proportion. Other fits and classifiers run in full.
    """
    found = []
    kinds: dict[tuple[str, str, int | None], list[Cell]] = {}
    for cell in grid.cells:
        kinds.setdefault((cell.dataset, cell.method, cell.ipc), []).append(cell)
    for (dataset, method, ipc), cells in kinds.items():
        missing = [cell for cell in cells if not grid.done(folder, cell)]
        seconds, error = 0.0, None
        if missing:
            try:
                with limited_threads(threads), torch.compiler.set_stance("force_eager"):
                    seconds = _seconds(missing[0], grid.data[dataset])
            except Exception as failure:  # as a cell's would, it leaves the others alone
                error = f"{type(failure).__name__}: {failure}"
        done = len(cells) - len(missing)
        found.append(Estimate(dataset, method, ipc, len(missing), done, seconds, error))
    return found


def _seconds(cell: Cell, data: Dataset) -> float:
    device = resolve_device(cell.settings.device)
    if cell.condenser is None:
        condensed, fit = as_condensed_set((data.X_train, data.y_train)), 0.0
    else:
        condensed, fit = _fit(cell, data, device)
        started = time.perf_counter()
        mmd_to_data(condensed, data.X_train, data.y_train, device)
        fit += time.perf_counter() - started
    return fit + _score_seconds(cell, condensed, data, device)


def _fit(cell: Cell, data: Dataset, device: torch.device) -> tuple[CondensedSet, float]:
    """A condensed set, perhaps of few iterations, and the seconds of a whole fit."""
    condenser = clone(cell.condenser)
    on_device(condenser, device)
    iterates = isinstance(condenser, MatchingCondenser)
    limit = float("inf")
    if iterates:
        limit = condenser.max_time or limit
        _end_after(condenser, min(SAMPLE_SECONDS, limit))
    started = time.perf_counter()
    condenser.fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - started
    if iterates and condenser.n_iter_:
        last = condenser.params_["max_iter"]
        seconds = min(limit, seconds * last / condenser.n_iter_)
        points = sum(iteration <= last for iteration in cell.settings.curve)
        if points:
            one = replace(
                cell.settings,
                models={"auto": "auto"},
                protocols=cell.settings.protocols[:1],
                augmentations=("auto",),
            )
            watched = replace(cell, settings=one)
            seconds += points * _score_seconds(watched, condenser.condensed_, data, device)
    return condenser.condensed_, seconds


def _end_after(condenser: Any, seconds: float) -> None:
    """End its fit then, with the iterations that it would make in full in ``params_``.

    Its own ``max_time`` would not do: with one ``max_iter="auto"`` has no end.
    """
    recipe_of = condenser._recipe

    def timed(*about: Any) -> Recipe:
        return replace(recipe_of(*about), max_time=seconds)

    condenser._recipe = timed


def _score_seconds(
    cell: Cell, condensed: CondensedSet, data: Dataset, device: torch.device
) -> float:
    settings = cell.settings
    classifiers = {k: v for k, v in settings.models.items() if isinstance(v, BaseEstimator)}
    networks = {k: v for k, v in settings.models.items() if k not in classifiers}

    def timed(models: dict[str, Model], steps: int | None) -> float:
        some: Settings = replace(settings, models=models, max_steps=steps)
        started = time.perf_counter()
        score_models(condensed, data.X_test, data.y_test, some, cell.seed, device)
        return time.perf_counter() - started

    seconds = timed(classifiers, None) if classifiers else 0.0
    if not networks:
        return seconds
    few, more = timed(networks, FEW), timed(networks, MORE)
    a_step = max(0.0, more - few) / (MORE - FEW)
    return seconds + few + a_step * (_steps(settings, condensed) - FEW)


def _steps(settings: Settings, condensed: CondensedSet) -> float:
    """Batches of a training, mean over protocols."""
    if settings.max_steps is not None:
        return settings.max_steps
    shape, rows = condensed.layout.canonical_shape, len(condensed) * condensed.factor**2
    steps = [make_recipe(shape, rows, protocol=p)[0].steps for p in settings.protocols]
    return sum(steps) / len(steps)
