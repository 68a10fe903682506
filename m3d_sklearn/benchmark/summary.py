"""Rows brought together over seeds, and as a table for people."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["markdown", "summarise"]

KIND = ("dataset", "ipc", "method", "model", "protocol", "augmentation")


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, in the order in which the kinds first come.

    Parameters
    ----------
    rows : iterable of dict
        Of :func:`rows`; failed ones are left out.

    Returns
    -------
    list of dict
        A row a data set, ipc, method, model, protocol and augmentation: "accuracy" the mean
        and "std" the standard deviation (n − 1) over all "n_runs" trainings of all "n_seeds"
        seeds; "mmd", "fit_seconds", "fit_peak_mb", "evaluate_seconds" means over seeds; and
        what all seeds share ("nbytes", "epochs", "steps", "width").
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["accuracy"] is not None:
            groups[tuple(row[name] for name in KIND)].append(row)
    return [dict(zip(KIND, kind, strict=True)) | _summary(g) for kind, g in groups.items()]


def _summary(group: list[Mapping[str, Any]]) -> dict[str, Any]:
    runs = [score for row in group for score in row["scores"]]
    means = {
        name: _mean([row[name] for row in group])
        for name in ("mmd", "fit_seconds", "fit_peak_mb", "evaluate_seconds", "n_iter")
    }
    return {
        "accuracy": statistics.fmean(runs),
        "std": statistics.stdev(runs) if len(runs) > 1 else 0.0,
        "n_seeds": len({row["seed"] for row in group}),
        "n_runs": len(runs),
        **means,
        **{name: group[0][name] for name in ("nbytes", "epochs", "steps", "width", "factor")},
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table a data set: ipc and method down, models across, accuracy in %.

    Parameters
    ----------
    rows : iterable of dict
        Of :func:`rows`.
    """
    summary = summarise(rows)
    datasets = dict.fromkeys(row["dataset"] for row in summary)
    tables = [_table([row for row in summary if row["dataset"] == name]) for name in datasets]
    return "\n\n".join(tables)


def _table(summary: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(_column(row) for row in summary))
    lines: dict[tuple[Any, Any], dict[str, Any]] = defaultdict(dict)
    for row in summary:
        lines[row["ipc"], row["method"]][_column(row)] = row
    header = ["data", "ipc", "method", *columns, "MMD²", "fit, s", "runs"]
    body = []
    for (ipc, method), found in lines.items():
        any_row = next(iter(found.values()))
        cells = [_accuracy(found.get(column)) for column in columns]
        numbers = [_number(any_row["mmd"], ".2g"), _number(any_row["fit_seconds"], ".1f")]
        runs = f"{any_row['n_seeds']}×{any_row['n_runs'] // any_row['n_seeds']}"
        body.append(
            [_words(any_row["dataset"]), "all" if ipc is None else str(ipc), _words(method)]
            + [*cells, *numbers, runs]
        )
    return _aligned(header, body)


def _column(row: Mapping[str, Any]) -> str:
    if row["protocol"] is None:
        return _words(row["model"])
    plain = ", no augmentation" if row["augmentation"] == "none" else ""
    return f"{_words(row['model'])} ({row['protocol']}{plain})"


def _words(label: str) -> str:
    """A label that stays in its cell."""
    return " ".join(label.split()).replace("|", "\\|")


def _accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    spread = f" ± {100 * row['std']:.1f}" if row["n_runs"] > 1 else ""
    return f"{100 * row['accuracy']:.1f}{spread}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _aligned(header: list[str], body: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    left = (0, 2)

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [":" + "-" * (w - 1) if p in left else "-" * (w - 1) + ":" for p, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, body)])
