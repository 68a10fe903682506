"""Flat rows of a benchmark: those with an accuracy, chosen by column, averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["as_rows", "choose", "distinct", "mean_and_std", "need_one", "title_of"]

Row = dict[str, Any]


def as_rows(rows: Any, *columns: str) -> list[Row]:
    """Rows that have an accuracy, with NaN as None and ipc as a whole number.

    Parameters
    ----------
    rows : list of dict, or DataFrame
    *columns : str
        That every row with an accuracy must have.

    Raises
    ------
    ValueError
        If a column is missing, or no row has an accuracy.
    """
    records = rows.to_dict("records") if hasattr(rows, "to_dict") else rows
    records = [{name: _or_none(value) for name, value in dict(row).items()} for row in records]
    scored = [row for row in records if row.get("accuracy") is not None]
    if not scored:
        raise ValueError(f"rows must hold an accuracy; got {len(records)} rows without one.")
    for name in columns:
        short = next((row for row in scored if name not in row), None)
        if short is not None:
            raise ValueError(f"rows must have the column {name!r}; got one with {list(short)}.")
    for row in scored:
        if row.get("ipc") is not None:
            row["ipc"] = int(row["ipc"])
    return scored


def _or_none(value: Any) -> Any:
    """None in the place of what a DataFrame has where a value is missing."""
    missing = isinstance(value, (float, np.floating)) and np.isnan(value)
    return None if missing or type(value).__name__ in ("NAType", "NaTType") else value


def distinct(rows: Iterable[Row], column: str) -> list[Any]:
    """Values of a column, in the order in which they come, None left out."""
    return [v for v in dict.fromkeys(row.get(column) for row in rows) if v is not None]


def choose(rows: list[Row], column: str, value: Any = None, *, open_too: bool = False) -> list[Row]:
    """Rows with this value; without one, all rows, which must agree on it.

    Parameters
    ----------
    open_too : bool, default=False
        Whether rows that have None there go along: the whole set has no ipc.

    Raises
    ------
    ValueError
        Naming the choices, where no row has the value, or none was given and they differ.
    """
    choices = distinct(rows, column)
    if value is None:
        if len(choices) > 1:
            raise ValueError(f"{column} must be one of {choices}, as the rows hold them all.")
        return rows
    if value not in choices:
        raise ValueError(f"{column} must be one of {choices}, as the rows have it; got {value!r}.")
    return [r for r in rows if r.get(column) == value or (open_too and r.get(column) is None)]


def need_one(rows: list[Row], *columns: str) -> None:
    """Refuse rows that differ in a column over which no mean may be taken."""
    for column in columns:
        values = distinct(rows, column)
        if len(values) > 1:
            raise ValueError(
                f"rows must hold one {column}, as means are taken over seeds alone; got {values}."
            )


def mean_and_std(rows: Iterable[Row]) -> tuple[float, float]:
    """Accuracy in percent over seeds: mean, and standard deviation (0 for one seed)."""
    values = np.array([100 * row["accuracy"] for row in rows])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def title_of(rows: list[Row], *columns: str) -> str:
    """What all rows have in common, in words."""
    words = [(column, value) for column in columns for value in distinct(rows, column)]
    return ", ".join(f"ipc {value}" if column == "ipc" else str(value) for column, value in words)
