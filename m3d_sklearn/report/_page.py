"""write_report(): a results folder to one HTML page, written whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from m3d_sklearn.report._data import Record, data_sets
from m3d_sklearn.report._images import MOST_BYTES, MOST_IMAGES, gallery, sheets
from m3d_sklearn.report._pictures import pictures
from m3d_sklearn.report._poster import MEANINGS
from m3d_sklearn.report._table import Line, differences, lines

__all__ = ["write_report"]


def write_report(folder: str | Path, out: str | Path, *, title: str | None = None) -> Path:
    """Write the cells of a results folder as one HTML page.

    The page holds its styles, script and pictures itself: it opens from a disk, can be sent
    as one file, and loads nothing. It has a table to sort and filter, with the poster's
    figures beside ours, pictures, the condensed images, what failed, and how each cell is
    repeated. Lines and maps need matplotlib, and are left out without it.

    Parameters
    ----------
    folder : str or Path
        Where :func:`m3d_sklearn.benchmark.compare` kept its cells.
    out : str or Path
        The page. A file that is there is replaced when the new one is whole; a folder that
        is not is made.
    title : str, default=None
        Heading of the page; None names the data sets.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folder holds no finished or failed cell, or `out` is a folder.

    Examples
    --------
    >>> from m3d_sklearn.report import write_report
    >>> write_report("no/such/folder", "report.html")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no/such/folder is no results folder: it does not exist.
    """
    from m3d_sklearn.benchmark import ResultsFolder

    results, out = ResultsFolder(folder), Path(out)
    if out.is_dir():
        raise ValueError(f"out must be the name of a file to write; got the folder {out}.")
    records = results.records()
    if not records:
        raise ValueError(
            f"{folder} holds no cell that is done or failed; a results folder has a record a "
            "cell in cells/*.json, as m3d_sklearn.benchmark.compare writes them."
        )
    page = _render(records, results, title)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.write_text(page, "utf-8", newline="\n")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _render(records: list[Record], results: Any, title: str | None) -> str:
    from jinja2 import Environment, StrictUndefined

    from m3d_sklearn.benchmark import rows

    data = data_sets(records)
    table = lines(records)
    drawn = pictures(rows(records), records, table, differences(records))
    room = MOST_BYTES - sum(len(picture.uri) for picture in drawn)
    images = gallery(records, results.condensed, room=room)
    names = list(dict.fromkeys(each.name for each in data.values()))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "number": _number, "moment": _moment}
    css, js = _text("report.css"), _text("report.js")
    return environment.from_string(_text("template.html.jinja")).render(
        title=title or f"Condensed sets of {', '.join(names)}",
        css=css,
        js=js,
        css_hash=_hash(css),
        js_hash=_hash(js),
        data=list(data.values()),
        finished=sorted(record["finished"] for record in records if record["finished"]),
        n_done=sum(record["status"] == "done" for record in records),
        failures=[record for record in records if record["status"] == "failed"],
        records=records,
        lines=table,
        choices=_choices(table),
        meanings=_meanings(table),
        robust=_robust(rows(records)),
        pictures=drawn,
        sheets=sheets(images.albums),
        gallery=images,
        albums=[asdict(album) for album in images.albums],
        most_images=MOST_IMAGES,
        machines=_machines(records),
    )


def _text(name: str) -> str:
    return files("m3d_sklearn.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls a style or a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _choices(table: Iterable[Line]) -> dict[str, list[str]]:
    """Values of the columns that the table can be filtered by."""
    return {
        name: list(dict.fromkeys(str(getattr(line, name) or "–") for line in table))
        for name in ("dataset", "model", "protocol")
    }


def _meanings(table: Iterable[Line]) -> dict[str, str]:
    """The caveats that the table uses, and what they mean."""
    used = {caveat for line in table if line.poster for caveat in line.poster.caveats}
    return {caveat: meaning for caveat, meaning in MEANINGS.items() if caveat in used}


def _robust(flat: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Robust scores, where the grid was run for them and all that they need has ended."""
    from m3d_sklearn.benchmark import robust_scores

    if not any(row["augmentation"] == "none" for row in flat):
        return []
    with contextlib.suppress(ValueError):
        return robust_scores(flat)
    return []


def _machines(records: Iterable[Record]) -> list[tuple[Record, int]]:
    """Machines that cells ran on, each with the number of its cells."""
    found: dict[str, tuple[Record, int]] = {}
    for record in records:
        key = json.dumps(record["machine"], sort_keys=True)
        _, count = found.get(key, (None, 0))
        found[key] = record["machine"], count + 1
    return list(found.values())


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _number(value: float | None) -> str:
    """Three digits that count, and never an exponent."""
    if value is None or not math.isfinite(value):
        return "–"
    before = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(2 - before, 0), 6)}f}"


def _moment(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC"
