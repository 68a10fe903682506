"""Grids small enough for a test: data, settings, estimators that tell, and ways to look."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from m3d_sklearn import M3DCondenser
from m3d_sklearn.base import BaseCondenser, Result, Task
from m3d_sklearn.benchmark import ResultsFolder, compare
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.benchmark.plan import plan
from m3d_sklearn.datasets import Dataset

QUICK: dict[str, Any] = {
    "seeds": 1,
    "references": (),
    "n_networks": 1,
    "max_steps": 3,
    "device": "cpu",
    "threads": 1,
}
"""Settings of compare that leave little to do."""

COSTS = ("fit_seconds", "fit_peak_mb", "evaluate_seconds", "evaluate_peak_mb")
"""Columns that tell of a run and not of its result."""


def table(name: str = "table", per_class: int = 20, seed: int = 0) -> Dataset:
    """Three classes of rows of 4 columns, around different means."""
    rng = np.random.default_rng(seed)
    y = np.arange(3).repeat(per_class)
    centres = 2 * rng.standard_normal((3, 4))
    X, X_test = (centres[y] + rng.standard_normal((len(y), 4)) for _ in range(2))
    return Dataset(name, X, y, X_test, y.copy(), ("a", "b", "c"))


def images(name: str = "images", channels: int = 0) -> Dataset:
    """Three classes of images of 6 × 6 pixels, uint8; without an axis for 0 channels."""
    rng = np.random.default_rng(0)
    y = np.arange(3).repeat(20)
    shape = (6, 6, channels) if channels else (6, 6)
    centres = rng.integers(60, 190, (3, *shape))
    X, X_test = (
        (centres[y] + rng.integers(-50, 50, (len(y), *shape))).astype(np.uint8) for _ in range(2)
    )
    return Dataset(name, X, y, X_test, y.copy(), ("a", "b", "c"))


def saved(data: Dataset, folder: Path) -> Path:
    """An .npz that ``load`` reads as this data set."""
    path = folder / f"{data.name}.npz"
    X_train, y_train, X_test, y_test = data
    np.savez(path, x_train=X_train, y_train=y_train, x_test=X_test, y_test=y_test)
    return path


def photos(folder: Path) -> Path:
    """A folder of images of two classes and several sizes."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / "photos" / name).mkdir(parents=True)
        for number, side in enumerate((20, 24, 30, 22, 28)):
            pixels = rng.integers(0, 255, (side, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    return folder / "photos"


def quick(methods: Any = "random", datasets: Any = None, ipc: Any = 1, **settings: Any) -> Any:
    """compare() with little to do."""
    return compare(methods, table() if datasets is None else datasets, ipc, **(QUICK | settings))


def grid_of(methods: Any = "random", datasets: Any = None, ipc: Any = 1, **settings: Any) -> Grid:
    """The cells that quick() would run."""
    rest = {"models": "auto", "protocols": "m3d", "robust": False, "curve": (), "root": None}
    rest |= {"image_size": None}
    known = {name: value for name, value in QUICK.items() if name != "threads"}
    datasets = table() if datasets is None else datasets
    return Grid(*plan(methods, datasets, ipc, **(rest | known | settings)))


def results(frame: Any) -> list[dict[str, Any]]:
    """Rows of compare without what they cost; missing values are None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{name: value for name, value in row.items() if name not in COSTS} for row in rows]


class Told(BaseCondenser):
    """Random rows of each class; tells a log when it begins and when it ends.

    Parameters
    ----------
    log : str
        The file. A line is "begin" or "end", the ipc, the seed, the process, its threads.
    seconds : float
        To wait in between.
    hold : str
        While there is a file ``{hold}-{ipc}-{seed}``, it waits too.
    error : str
        Where there is a file of this name, it fails.
    """

    image_shape, channel_axis = None, "auto"

    def __init__(
        self,
        ipc: int = 1,
        *,
        log: str = os.devnull,
        seconds: float = 0.0,
        hold: str = "",
        error: str = "",
        device: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.ipc = ipc
        self.log = log
        self.seconds = seconds
        self.hold = hold
        self.error = error
        self.device = device
        self.random_state = random_state

    def _condense(self, task: Task) -> Result:
        self._tell("begin")
        time.sleep(self.seconds)
        while self.hold and Path(f"{self.hold}-{self.ipc}-{self.random_state}").exists():
            time.sleep(0.02)
        if self.error and Path(self.error).exists():
            raise RuntimeError("asked to\nfail")
        labels, counts = task.data.labels, task.ipc
        rng = np.random.default_rng(self.random_state)
        members = [rng.permutation(np.flatnonzero(labels == c)) for c in range(len(counts))]
        rows = np.concatenate([m[:n] for m, n in zip(members, counts, strict=True)])
        self._tell("end")
        return Result(task.data.rows[rows], labels[rows], {"device": str(self.device)})

    def _tell(self, what: str) -> None:
        tell(self.log, what, self.ipc, self.random_state)


class Witness(KNeighborsClassifier):
    """A classifier that tells a log of every fit."""

    def __init__(self, n_neighbors: int = 1, *, log: str = os.devnull) -> None:
        super().__init__(n_neighbors)
        self.log = log

    def fit(self, X: Any, y: Any) -> Witness:
        tell(self.log, "fit", self.n_neighbors, 0)
        return super().fit(X, y)


def tell(log: str, what: str, ipc: Any, seed: Any) -> None:
    with Path(log).open("a") as file:
        file.write(f"{what} {ipc} {seed} {os.getpid()} {torch.get_num_threads()}\n")


def lines(log: Path, what: str) -> list[list[int]]:
    """[ipc, seed, process, threads] of the lines of one kind, as they came."""
    text = log.read_text() if log.exists() else ""
    told = [line.split() for line in text.splitlines()]
    return [list(map(int, words)) for kind, *words in told if kind == what]


def told(log: Path, what: str = "end") -> list[tuple[int, int]]:
    """(ipc, seed) of these lines."""
    return [(ipc, seed) for ipc, seed, *_ in lines(log, what)]


def run_told(out: str, log: str, seconds: float, hold: str = "", seeds: int = 2) -> list[dict]:
    """A grid of two methods for other processes to run; its results."""
    torch.set_num_threads(1)
    methods = {"told": Told(log=log, seconds=seconds, hold=hold), "M3D": M3DCondenser(max_iter=3)}
    settings = {"out": out, "seeds": seeds, "models": ["auto", "knn"]}
    return results(quick(methods, ipc=(1, 2), max_steps=10, **settings))


def send_told(connection: Any, *arguments: Any) -> None:
    """run_told(), its results sent to another process."""
    connection.send(run_told(*arguments))


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Records by their name, as the files have them."""
    found = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    return {record["name"]: record for record in found}


def same_sets(one: Path, other: Path) -> int:
    """Assert that two results folders hold the same condensed sets; how many."""
    here, there = ({p.name for p in (f / "cells").glob("*.npz")} for f in (one, other))
    assert here == there
    for name in here:
        with np.load(one / "cells" / name) as a, np.load(other / "cells" / name) as b:
            assert a.files == b.files
            for part in a.files:
                np.testing.assert_array_equal(a[part], b[part], strict=True)
    assert ResultsFolder(one).records()
    return len(here)


def linear(shape: tuple[int, ...], n_outputs: int, width: int = 4, act: Any = torch.relu) -> Any:
    """A factory with a function for a default, whose repr has an address."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), n_outputs))


def with_set(shape: tuple[int, ...], n_outputs: int, name: str = "alpha") -> Any:
    """A factory with a constant set, whose order is another in another process."""
    known = name in {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota"}
    return nn.Linear(shape[0], n_outputs, bias=known)


def keys() -> dict[str, str]:
    """Keys of cells whose parts are known by their code or by what they hold."""
    parts: dict[str, Callable[..., Any]] = {
        "partial": functools.partial(linear, width=8),
        "lambda": lambda shape, n: nn.Linear(shape[0], n),
        "default": linear,
        "set": with_set,
    }
    found = {
        name: grid_of({"M3D": M3DCondenser(network=part)}).cells[0].key
        for name, part in parts.items()
    }
    start = M3DCondenser(init=(np.arange(12.0).reshape(3, 4), np.arange(3)))
    found["arrays"] = grid_of(start).cells[0].key
    found["model"] = grid_of(models={"mine": Witness(3), "net": parts["partial"]}).cells[0].key
    return found
