"""Results folders by the format of the benchmark, from sets that take no time to make."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from common import colour, digits, iris

from m3d_sklearn import CondensedSet, Herding, M3DCondenser, Random
from m3d_sklearn.report import write_report

MACHINE = {
    "device": "cpu",
    "gpu": None,
    "cpu": "A processor of 2",
    "cores": 2,
    "threads": 1,
    "platform": "Linux",
    "python": "3.11.7",
    "versions": {"m3d_sklearn": "0.1.0", "torch": "2.15.0", "numpy": "2.3.0"},
}
CONDENSERS = {
    "Random": lambda ipc, seed: Random(ipc=ipc, random_state=seed),
    "Herding": lambda ipc, seed: Herding(ipc=ipc),
    "M3D": lambda ipc, seed: M3DCondenser(ipc=ipc, max_iter=5, random_state=seed),
}
CLASSIFIER = {
    "model": "knn",
    "kind": "estimator",
    "protocol": None,
    "augmentation": None,
    "epochs": None,
    "width": None,
}
Record = dict[str, Any]


def make_score(accuracies: list[float], **changes: Any) -> Record:
    """What one model came to; means as the benchmark has them."""
    mean = sum(accuracies) / len(accuracies)
    spread = sum((a - mean) ** 2 for a in accuracies) / max(1, len(accuracies) - 1)
    return {
        "model": "convnet",
        "kind": "network",
        "protocol": "m3d",
        "augmentation": "auto",
        "accuracy": mean,
        "std": spread**0.5,
        "scores": accuracies,
        "epochs": 1000,
        "steps": 1000,
        "width": 128,
        "seconds": 1.5,
        "peak_mb": 10.0,
    } | changes


def make_record(
    dataset: str = "digits",
    method: str = "M3D",
    ipc: int | None = 1,
    seed: int = 0,
    *,
    scores: list[Record] | None = None,
    params: Record | None = None,
    spec: Record | None = None,
    fit: Record | None = None,
    **changes: Any,
) -> Record:
    """A record of a cell that is done; `changes` are of its top level."""
    name = changes.pop("name", f"{dataset}-{method}-ipc{ipc}-seed{seed}")
    return {
        "format": 1,
        "key": "0" * 16,
        "name": name,
        "status": "done",
        "data": {
            "source": "somewhere",
            "n_train": 60,
            "n_test": 20,
            "shape": [4] if dataset == "iris" else [8, 8] if dataset == "digits" else [8, 6, 3],
            "class_names": ["0", "1", "2"],
        },
        "spec": {
            "dataset": dataset,
            "fingerprint": f"of {dataset}",
            "method": method,
            "estimator": method,
            "params": None if ipc is None else {"ipc": ipc, "random_state": seed} | (params or {}),
            "ipc": ipc,
            "seed": seed,
            "models": {"auto": "auto"},
            "protocols": ["m3d"],
            "augmentations": ["auto"],
            "n_networks": 2,
            "steps": None,
            "curve": [],
            "version": "0.1.0",
            "device": "cpu",
        }
        | (spec or {}),
        "fit": {
            "seconds": 2.0,
            "peak_mb": 50.0,
            "n_iter": 5,
            "params": {},
            "n_stored": 3,
            "n_train": 12,
            "nbytes": 1536,
            "factor": 2,
        }
        | (fit or {}),
        "scores": [make_score([0.9, 0.92])] if scores is None else scores,
        "mmd": None if ipc is None else 0.08,
        "curve": [],
        "machine": MACHINE,
        "command": "python -m m3d_sklearn compare --datasets digits --out FOLDER",
        "finished": "2026-11-22T18:00:00+00:00",
        "error": None,
    } | changes


def failed(record: Record, kind: str = "ValueError", message: str = "it broke") -> Record:
    """The same cell, had it failed."""
    kept = {k: v for k, v in record.items() if k not in ("fit", "scores", "mmd", "curve")}
    error = {"type": kind, "message": message, "traceback": f"Traceback\n{kind}: {message}\n"}
    return kept | {"status": "failed", "error": error}


def write_cells(folder: Path, cells: list[tuple[Record, CondensedSet | None]]) -> Path:
    """A results folder of these cells."""
    (folder / "cells").mkdir(parents=True)
    for record, condensed in cells:
        path = folder / "cells" / f"{record['name']}.json"
        path.write_text(json.dumps(record), "utf-8")
        if condensed is not None:
            condensed.save(path.with_suffix(".npz"))
    return folder


def many_cells() -> list[tuple[Record, CondensedSet | None]]:
    """Two image sets and a table, three methods, two seeds, and a cell that failed."""
    cells: list[tuple[Record, CondensedSet | None]] = []
    data = {"digits": (2, *digits()), "mnist": (3, *colour())}  # 3 does not divide their 8×6
    for place, (name, (factor, X, y)) in enumerate(data.items()):
        for rank, (method, make) in enumerate(CONDENSERS.items()):
            for ipc, seed in itertools.product((1, 4), (0, 1)):
                base = 0.6 + 0.1 * rank - 0.05 * place + 0.04 * ipc + 0.01 * seed
                scores = [
                    make_score([base, base + 0.004]),
                    make_score([base - 0.02, base - 0.01], protocol="dc", epochs=300),
                ]
                if name == "digits":
                    scores.append(make_score([base - 0.05], **CLASSIFIER))
                seconds = (0.09, 0.1, 12.0)[rank]  # as words the first two sort the other way
                record = make_record(
                    name, method, ipc, seed, scores=scores, fit={"seconds": seconds}
                )
                if method == "M3D":
                    record["curve"] = [
                        {"iteration": i, "seconds": i / 10, "accuracy": base - 0.2 / i, "std": 0.01}
                        for i in (1, 2, 5)
                    ]
                condenser = make(ipc, seed)
                if method == "M3D":
                    condenser.set_params(factor=factor)
                cells.append((record, condenser.fit(X, y).condensed_))
    table = make_record("iris", "Herding", 1, scores=[make_score([0.5], **CLASSIFIER)])
    whole = make_record("digits", "whole set", None, fit={"n_stored": 60}, command=None)
    return [
        *cells,
        (table, Herding(ipc=1).fit(*iris()).condensed_),
        (whole, None),
        (failed(make_record("digits", "KCenter", 4)), None),
    ]


@pytest.fixture
def record() -> Callable[..., Record]:
    return make_record


@pytest.fixture
def score() -> Callable[..., Record]:
    return make_score


@pytest.fixture
def cells() -> Callable[..., Path]:
    return write_cells


@pytest.fixture
def fail() -> Callable[..., Record]:
    return failed


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a little of everything."""
    return write_cells(tmp_path_factory.mktemp("report") / "results", many_cells())


@pytest.fixture(scope="session")
def path(results: Path) -> Path:
    """The page of that folder."""
    return write_report(results, results.with_name("report.html"))
