"""The data sets of a results folder, as their cells describe them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["Data", "Reader", "Record", "data_of", "data_sets"]

Record = dict[str, Any]
Reader = Callable[[Record], CondensedSet | None]  # the set of a record, where it has one


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes
    ----------
    name, fingerprint : str
    n_rows : int
        Training rows.
    shape : tuple of int
        (d,) of a table's row, (h, w) or (h, w, c) of an image.
    n_classes : int
    """

    name: str
    fingerprint: str
    n_rows: int
    shape: tuple[int, ...]
    n_classes: int

    def __str__(self) -> str:
        facts = [f"{self.n_rows:,} training rows", self._shape(), f"{self.n_classes} classes"]
        return ", ".join(facts)

    def _shape(self) -> str:
        if len(self.shape) == 1:
            return f"{self.shape[0]} columns"
        height, width, channels = (*self.shape, 1)[:3]
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
        return f"{kind} images of {height}×{width}"


def data_of(record: Record) -> tuple[str, str]:
    """What tells data sets apart: their name, and their fingerprint."""
    return record["spec"]["dataset"], record["spec"]["fingerprint"]


def data_sets(records: Iterable[Record]) -> dict[tuple[str, str], Data]:
    """Data sets of all cells, by name and fingerprint.

    Parameters
    ----------
    records : iterable of dict
        Of :meth:`m3d_sklearn.benchmark.ResultsFolder.records`.
    """
    found = {data_of(record): record["data"] for record in records}
    return {
        place: Data(*place, about["n_train"], tuple(about["shape"]), len(about["class_names"]))
        for place, about in found.items()
    }
