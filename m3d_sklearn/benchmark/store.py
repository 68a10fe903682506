"""A results folder: a JSON record and a condensed set a cell, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from m3d_sklearn.benchmark.cells import Cell
from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["FORMAT", "ResultsFolder", "rows"]

FORMAT = 1
DONE, FAILED, FITTED = "done", "failed", "fitted"

Record = dict[str, Any]


class ResultsFolder:
    """Finished cells, ``FOLDER/cells/NAME.json`` and ``NAME.npz``.

    Parameters
    ----------
    path : str or Path
        Made when the first cell is written.

    Notes
    -----
    A record is written beside and moved into place, after its condensed set, so that what is
    read is whole. A cell is locked by the process that runs it (``FOLDER/locks``; a lock of
    the operating system, which is gone when the process is).

    Examples
    --------
    >>> import tempfile
    >>> from m3d_sklearn.benchmark import ResultsFolder
    >>> ResultsFolder(tempfile.mkdtemp()).records()
    []
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()

    @property
    def cells(self) -> Path:
        """Folder of the cells."""
        return self.path / "cells"

    def check(self) -> None:
        """Refuse a path at which there can be no folder.

        Raises
        ------
        NotADirectoryError
        """
        place = next(place for place in (self.path, *self.path.parents) if place.exists())
        if not place.is_dir():
            raise NotADirectoryError(f"out must be a folder; got {self.path}, and {place} is none.")

    def records(self) -> list[Record]:
        """Cells that ended, in the order of data set, ipc, method and seed.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        """
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} is no results folder: it does not exist.")
        found = [self._read(path) for path in sorted(self.cells.glob("*.json"))]
        ended = [r for r in found if r is not None and r["status"] in (DONE, FAILED)]
        return sorted(ended, key=_order)

    def condensed(self, record: Record) -> CondensedSet | None:
        """The condensed set of a cell; None for the whole set and for failed cells."""
        return self.kept(record) if record["status"] == DONE else None

    def kept(self, record: Record) -> CondensedSet | None:
        """The set that a cell's fit came to, whatever became of the cell."""
        path = self.cells / f"{record['name']}.npz"
        return CondensedSet.load(path) if path.exists() else None

    def find(self, cell: Cell) -> Record | None:
        """What is known of a cell: a record that is done, failed or fitted, or None."""
        return self._read(self.cells / f"{cell.name}.json")

    def done(self, cell: Cell) -> bool:
        """Whether a cell has its result."""
        record = self.find(cell)
        return record is not None and record["status"] == DONE

    def checkpoint(self, cell: Cell) -> Path:
        """Where a fit is kept while it runs."""
        return self.cells / f"{cell.name}.ckpt"

    def lock(self, cell: Cell) -> FileLock:
        """The lock of a cell, not yet taken."""
        locks = self.path / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{cell.name}.lock")

    def write(self, cell: Cell, record: Record, condensed: CondensedSet | None = None) -> None:
        """Write a record, and before it the condensed set where there is one."""
        self.cells.mkdir(parents=True, exist_ok=True)
        if condensed is not None:
            condensed.save(self.cells / f"{cell.name}.npz")
        path = self.cells / f"{cell.name}.json"
        text = json.dumps(record, indent=1) + "\n"
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @staticmethod
    def _read(path: Path) -> Record | None:
        """A record, or None where there is none; a damaged file counts as none."""
        try:
            record = json.loads(path.read_text("utf-8"))
            return record if record["format"] == FORMAT and "status" in record else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def _order(record: Record) -> tuple[Any, ...]:
    spec = record["spec"]
    whole = spec["ipc"] is None
    return spec["dataset"], whole, spec["ipc"] or 0, spec["method"], spec["seed"], record["name"]


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Records as flat rows, one a cell and score; a failed cell is one row with its error.

    Parameters
    ----------
    records : iterable of dict
        Of :meth:`ResultsFolder.records`.

    Returns
    -------
    list of dict
        Accuracies are fractions, times seconds, memory MB, storage bytes.
    """
    return [
        _row(record, score)
        for record in records
        for score in (record["scores"] if record["status"] == DONE else [{}])
    ]


def _row(record: Record, score: Record) -> dict[str, Any]:
    spec, fit = record["spec"], record.get("fit") or {}
    error = record.get("error")
    taken = ("model", "kind", "protocol", "augmentation", "accuracy", "std", "scores")
    return (
        {name: spec[name] for name in ("dataset", "method", "ipc", "seed")}
        | {name: score.get(name) for name in (*taken, "epochs", "steps", "width")}
        | {name: fit.get(name) for name in ("n_stored", "n_train", "nbytes", "factor")}
        | {
            "mmd": record.get("mmd"),
            "n_iter": fit.get("n_iter"),
            "fit_seconds": fit.get("seconds"),
            "fit_peak_mb": fit.get("peak_mb"),
            "evaluate_seconds": score.get("seconds"),
            "evaluate_peak_mb": score.get("peak_mb"),
            "device": record["machine"]["device"],
            "threads": record["machine"]["threads"],
            "status": record["status"],
            "error": None if error is None else f"{error['type']}: {error['message']}",
            "cell": record["name"],
        }
    )
