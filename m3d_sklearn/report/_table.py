"""Records to the lines of the table: means over seeds, the best marked, the poster beside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from m3d_sklearn.report._data import Data, Record, data_of, data_sets
from m3d_sklearn.report._poster import Published, Setting, published

__all__ = ["Line", "differences", "labelled", "lines", "method_order"]

METHODS = ("Random", "Herding", "KCenter", "k-means", "M3D start", "M3D")  # then users' own
# Parameters that cells vary, or that change no row.
NOT_SETTINGS = (
    *("ipc", "random_state", "device", "verbose"),
    *("checkpoint", "checkpoint_every", "checkpoint_errors"),
)
LONGEST = 40
TAKEN = (
    *("dataset", "ipc", "method", "model", "protocol", "augmentation", "accuracy", "n_seeds"),
    *("n_runs", "epochs", "width", "fit_seconds", "fit_peak_mb", "nbytes", "mmd"),
)


@dataclass(frozen=True)
class Line:
    """A method's score by one model, under one protocol and augmentation, over seeds.

    Attributes
    ----------
    dataset, method, model : str
    settings : str
        What sets this line apart from another of the same method, "" where nothing does.
    ipc : int or None
        None for the whole set.
    protocol, augmentation : str or None
        None where the model is no network.
    accuracy : float
        Mean over all trainings, a fraction.
    std : float or None
        Sample standard deviation over all trainings; None of one.
    n_seeds, n_runs : int
        Seeds, and trainings of all of them together.
    epochs, width : int or None
    fit_seconds, fit_peak_mb, nbytes, mmd : float or None
        Of the condensed set, means over seeds.
    best : bool
        Whether no other line of its data set, ipc, model and protocol has a higher mean.
    poster : Published or None
    """

    dataset: str
    ipc: int | None
    method: str
    settings: str
    model: str
    protocol: str | None
    augmentation: str | None
    accuracy: float
    std: float | None
    n_seeds: int
    n_runs: int
    epochs: int | None
    width: int | None
    fit_seconds: float | None
    fit_peak_mb: float | None
    nbytes: float | None
    mmd: float | None
    best: bool = False
    poster: Published | None = None

    @property
    def label(self) -> str:
        """The method, with its settings where there are several."""
        return labelled(self.method, self.settings)

    @property
    def runs(self) -> str:
        """Seeds × networks, or both counts where seeds differ in theirs."""
        each, rest = divmod(self.n_runs, self.n_seeds)
        return f"{self.n_seeds} × {each}" if rest == 0 else f"{self.n_seeds} ({self.n_runs})"


def labelled(method: str, settings: str) -> str:
    """A method and what sets it apart, in one name."""
    return f"{method} ({settings})" if settings else method


def lines(records: Iterable[Record]) -> list[Line]:
    """Lines of the table, in the order of data set, ipc, model, protocol and method.

    Parameters
    ----------
    records : iterable of dict
        Of :meth:`m3d_sklearn.benchmark.ResultsFolder.records`. Failed ones are left out.
    """
    from m3d_sklearn.benchmark import rows
    from m3d_sklearn.benchmark.summary import summarise

    records = list(records)
    data, apart = data_sets(records), differences(records)
    alike: dict[str, list[Record]] = {}
    for record in records:
        alike.setdefault(apart[record["name"]], []).append(record)
    found = []
    for settings, group in alike.items():
        # Any record of a method here has the features and the data of all.
        known = {(r["spec"]["dataset"], r["spec"]["method"]): r for r in group}
        for row in summarise(rows(group)):
            std = row["std"] if row["n_runs"] > 1 else None
            line = Line(settings=settings, std=std, **{name: row[name] for name in TAKEN})
            record = known[line.dataset, line.method]
            poster = _poster(line, record, data[data_of(record)])
            found.append(replace(line, poster=poster))
    return sorted(_with_best(found), key=_order)


def method_order(method: str) -> tuple[int, str]:
    """Sorts methods from the plainest to users' own."""
    return METHODS.index(method) if method in METHODS else len(METHODS), method


def differences(records: Iterable[Record]) -> dict[str, str]:
    """What sets cells of one method and data set apart, by the cell's name; mostly nothing.

    Seeds and ipc do not count, nor what a cell was scored with.
    """
    families: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in records:
        spec = record["spec"]
        family = families.setdefault((spec["dataset"], spec["method"]), {})
        family[record["name"]] = _settings(spec)
    apart = {}
    for family in families.values():
        names = dict.fromkeys(name for settings in family.values() for name in settings)
        varied = [n for n in names if len({_shown(s.get(n)) for s in family.values()}) > 1]
        for cell, settings in family.items():
            told = (f"{name}={_shown(settings.get(name))[:LONGEST]}" for name in varied)
            apart[cell] = ", ".join(told)
    return apart


def _settings(spec: Record) -> dict[str, Any]:
    params = spec["params"] or {}
    settings = {name: value for name, value in params.items() if name not in NOT_SETTINGS}
    common = ("estimator", "steps", "device", "version", "fingerprint")
    return settings | {name: spec[name] for name in common}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _poster(line: Line, record: Record, data: Data) -> Published | None:
    setting = Setting(
        dataset=line.dataset,
        ipc=line.ipc,
        method=line.method,
        model=line.model,
        protocol=line.protocol,
        augmentation=line.augmentation,
        width=line.width,
        epochs=line.epochs,
        features=(record["spec"]["params"] or {}).get("features"),
        n_rows=data.n_rows,
        shape=data.shape,
    )
    return published(setting)


def _with_best(found: list[Line]) -> list[Line]:
    """The same lines, the best of every comparison marked; one alone is no best."""
    contests: dict[tuple[Any, ...], list[float]] = {}
    for line in found:
        contests.setdefault(_contest(line), []).append(line.accuracy)
    return [
        replace(line, best=len(rivals) > 1 and line.accuracy == max(rivals))
        for line in found
        for rivals in [contests[_contest(line)]]
    ]


def _contest(line: Line) -> tuple[Any, ...]:
    return line.dataset, line.ipc, line.model, line.protocol


def _order(line: Line) -> tuple[Any, ...]:
    scored = (line.model, line.protocol or "", line.augmentation or "")
    who = (*method_order(line.method), line.settings)
    return line.dataset, line.ipc is None, line.ipc or 0, *scored, *who
