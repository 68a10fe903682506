"""Lines and heat maps of a results folder, drawn by m3d_sklearn.plotting, as SVG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from m3d_sklearn.report._data import Record
from m3d_sklearn.report._table import Line, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Picture", "pictures"]

MOST_MODELS = 4  # pictures of accuracy against ipc that a data set gets
SIZE = 5.0, 3.7  # inches
LEGEND = 54  # letters that fit on one of its lines, a key being as wide as 6
PLAIN: Any = {
    "svg.fonttype": "none",  # text stays text: smaller, and in the reader's fonts
    "svg.hashsalt": "report",  # the same picture has the same bytes
    "text.parse_math": False,  # a "$" in somebody's name is a dollar
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture, what it says in words, and what is written below it.

    Attributes
    ----------
    kind : {"lines", "map"}
        Lines may be shown light on dark; the colours of a map have to stay.
    uri, alt, caption : str
    """

    kind: str
    uri: str
    alt: str
    caption: str


def pictures(
    rows: Iterable[Row],
    records: Iterable[Record],
    table: Sequence[Line],
    apart: Mapping[str, str],
) -> list[Picture]:
    """Accuracy against ipc and against iterations, and over models, where there are several.

    Parameters
    ----------
    rows : iterable of dict
        Of :func:`m3d_sklearn.benchmark.rows`.
    records : iterable of dict
        That the rows are of.
    table : list of Line
        Of the same records. Methods are drawn in its order.
    apart : mapping
        What sets a cell apart from others of its method, by the cell's name.

    Returns
    -------
    list of Picture
        Empty where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return []
    order = {name: place for place, name in enumerate(dict.fromkeys(line.label for line in table))}
    scored = [
        row | {"method": labelled(row["method"], apart[row["cell"]])}
        for row in rows
        if row["accuracy"] is not None
    ]
    scored.sort(key=lambda row: order[row["method"]])
    by_name: dict[str, list[Row]] = {line.dataset: [] for line in table}
    for row in scored:
        by_name[row["dataset"]].append(row)
    by_dataset = [_one_augmentation(own) for own in by_name.values()]
    return [
        *(picture for own in by_dataset for picture in _against_ipc(own)),
        *_against_iterations(records, apart),
        *(picture for own in by_dataset for picture in _over_models(own)),
    ]


def _one_augmentation(rows: list[Row]) -> list[Row]:
    """Rows of the protocols' own augmentation, or of the first: no mean is taken over two."""
    found = {row["augmentation"] for row in rows} - {None}
    kept = "auto" if "auto" in found else min(found, default=None)
    return [row for row in rows if row["augmentation"] in (kept, None)]


def _against_ipc(rows: list[Row]) -> list[Picture]:
    """A picture a model and protocol, networks first, of one data set."""
    from m3d_sklearn.plotting import plot_ipc

    trained = {(row["kind"] != "network", row["model"], row["protocol"]) for row in rows}
    made: list[Picture] = []
    for _, model, protocol in sorted(trained, key=str):
        own = [row for row in rows if (row["model"], row["protocol"]) == (model, protocol)]
        if len({row["ipc"] for row in own} - {None}) > 1 and len(made) < MOST_MODELS:
            where = _where(own[0]["dataset"], model, protocol)
            told = (f"{method}: {', '.join(points)}" for method, points in _points(own).items())
            caption = f"Accuracy against ipc: {where}."
            alt = f"{caption} In %, {'; '.join(told)}."
            uri = _drawn(partial(plot_ipc, own))
            made.append(Picture("lines", uri, alt, caption))
    return made


def _points(rows: list[Row]) -> dict[str, list[str]]:
    """Means over seeds in words, by method."""
    accuracies: dict[tuple[str, int | None], list[float]] = {}
    for row in rows:
        accuracies.setdefault((row["method"], row["ipc"]), []).append(row["accuracy"])
    told: dict[str, list[str]] = {}
    for (method, ipc), values in accuracies.items():
        at = "" if ipc is None else f" at ipc {ipc}"
        told.setdefault(method, []).append(f"{100 * sum(values) / len(values):.1f}{at}")
    return told


def _against_iterations(records: Iterable[Record], apart: Mapping[str, str]) -> list[Picture]:
    """A picture a data set and ipc that has curves; seeds are averaged where they meet."""
    from m3d_sklearn.plotting import plot_steps

    found: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
    for record in records:
        spec = record["spec"]
        if record["status"] == "done" and record["curve"]:
            label = labelled(spec["method"], apart[record["name"]])
            runs = found.setdefault((spec["dataset"], spec["ipc"], spec["protocols"][0]), {})
            runs.setdefault(label, []).append(record["curve"])
    made = []
    for (dataset, ipc, protocol), curves in found.items():
        curves = {label: runs for label, runs in curves.items() if _meet(runs)}
        if curves:
            where = f"{_where(dataset, None, protocol)}, ipc {ipc}"
            who = f" by {next(iter(curves))}" if len(curves) == 1 else ""
            caption = f"Accuracy against the iterations of condensing{who}: {where}."
            told = (f"{label} {_ends(runs)}" for label, runs in curves.items())
            alt = f"{caption} In %, first seed: {'; '.join(told)}."
            uri = _drawn(partial(plot_steps, curves))
            made.append(Picture("lines", uri, alt, caption))
    return made


def _meet(runs: list[list[Row]]) -> bool:
    return bool(set.intersection(*({point["iteration"] for point in run} for run in runs)))


def _ends(runs: list[list[Row]]) -> str:
    first, last = (
        f"{100 * point['accuracy']:.1f} at {point['iteration']}"
        for point in (runs[0][0], runs[0][-1])
    )
    return f"from {first} to {last}"


def _over_models(rows: list[Row]) -> list[Picture]:
    """A heat map an ipc and protocol that two models or more were trained under."""
    from m3d_sklearn.plotting import plot_transfer

    protocols = {row["protocol"] for row in rows} - {None}
    made = []
    for ipc in sorted({row["ipc"] for row in rows} - {None}):
        for protocol in sorted(protocols) or [None]:
            own = [r for r in rows if r["ipc"] in (ipc, None) and r["protocol"] in (protocol, None)]
            models = dict.fromkeys(row["model"] for row in own if row["ipc"] == ipc)
            if len(models) > 1:
                where = f"{_where(own[0]['dataset'], None, protocol)}, ipc {ipc}"
                caption = f"Accuracy over models: {where}."
                methods = dict.fromkeys(row["method"] for row in own)
                told = f"{', '.join(methods)} on {', '.join(models)}, as in the table"
                alt = f"{caption} {told}."
                size = 2.4 + 0.9 * len(models), 1.4 + 0.45 * len(methods)
                uri = _drawn(partial(plot_transfer, own, ipc=ipc), size)
                made.append(Picture("map", uri, alt, caption))
    return made


def _where(dataset: str, model: str | None, protocol: str | None) -> str:
    protocol = None if protocol is None else f"protocol {protocol}"
    return ", ".join(word for word in (dataset, model, protocol) if word is not None)


def _drawn(paint: Callable[[Axes], Any], size: tuple[float, float] = SIZE) -> str:
    """What `paint` draws into axes, as SVG in a data URI; pyplot's figures stay as they are."""
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        paint(ax)
        _move_legend(ax, figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _move_legend(ax: Axes, figure: Figure) -> None:
    """Put the legend below, where it hides nothing."""
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
        handles, labels = ax.get_legend_handles_labels()
        columns = LEGEND // (6 + max(map(len, labels)))
        columns = max(1, min(columns, len(labels)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
