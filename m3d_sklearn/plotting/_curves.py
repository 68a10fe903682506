"""Accuracy as lines: along the iterations of a run, and along the number of stored rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn.plotting._rows import as_rows, choose, distinct, mean_and_std, need_one, title_of
from m3d_sklearn.plotting._style import (
    ACCURACY,
    check_matplotlib,
    faint_grid,
    line_style,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_ipc", "plot_steps"]

AXES = {"iteration": "training iterations", "seconds": "seconds of fitting"}
NUDGE = 0.012  # of the decades drawn, between two methods: error bars stand side by side

Point = Mapping[str, Any]


def plot_steps(
    curves: Mapping[str, Sequence[Point] | Sequence[Sequence[Point]]],
    ax: Axes | None = None,
    *,
    against: str = "iteration",
) -> Axes:
    """Draw accuracy against the iterations, or seconds, of condensing; a line a method.

    Parameters
    ----------
    curves : dict of str to list
        By label: the curve of one run, a list of dicts with "iteration", "seconds",
        "accuracy" (a fraction) and "std", such as ``AccuracyCurve.curve_``; or a list of
        the curves of several runs, which are averaged at the iterations that all have.
    ax : Axes, optional
        By default a new figure's.
    against : {"iteration", "seconds"}, default="iteration"
        What goes along x.

    Returns
    -------
    Axes
        The band is one standard deviation to either side: over the runs, and for one run
        over its networks.

    Raises
    ------
    ValueError
        If `against` is unknown, there is no curve, or a curve has no point.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from m3d_sklearn.plotting import plot_steps
    >>> point = {"iteration": 1, "seconds": 0.1, "accuracy": 0.5, "std": 0.02}
    >>> run = [point, point | {"iteration": 9, "seconds": 0.8, "accuracy": 0.9}]
    >>> plot_steps({"M3D": run}).get_xlabel()
    'training iterations'
    """
    check_matplotlib("plot_steps")
    if against not in AXES:
        raise ValueError(f"against must be one of {list(AXES)}; got {against!r}.")
    if not curves:
        raise ValueError("curves must hold a curve or more, by label; got none.")
    lines = {label: _averaged(label, curve, against) for label, curve in curves.items()}
    ax = new_axes(ax)
    for place, (label, (x, mean, std)) in enumerate(lines.items()):
        style = line_style(place)
        ax.plot(x, mean, label=label, **style)
        if std.any():
            band = {"color": style["color"], "alpha": 0.18, "linewidth": 0}
            ax.fill_between(x, mean - std, mean + std, **band)
    ax.set_xlabel(AXES[against])
    ax.set_ylabel(ACCURACY)
    faint_grid(ax)
    if len(curves) > 1:
        ax.legend()
    return ax


def _averaged(label: str, curve: Any, against: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places along x, means and standard deviations in percent."""
    runs = [curve] if len(curve) and isinstance(curve[0], Mapping) else curve
    by_iteration = [{point["iteration"]: point for point in run} for run in runs]
    shared = sorted(set.intersection(*map(set, by_iteration))) if by_iteration else []
    if not shared:
        raise ValueError(
            f"curves[{label!r}] must have a point, at an iteration that its runs share; got "
            f"{[sorted(run) for run in by_iteration]}."
        )

    def table(name: str) -> np.ndarray:
        return np.array([[run[i][name] for i in shared] for run in by_iteration], float)

    accuracy = 100 * table("accuracy")
    std = accuracy.std(0, ddof=1) if len(accuracy) > 1 else 100 * table("std")[0]
    return table(against).mean(0), accuracy.mean(0), std


def plot_ipc(
    rows: Any,
    ax: Axes | None = None,
    *,
    dataset: str | None = None,
    model: str | None = None,
    protocol: str | None = None,
) -> Axes:
    """Draw accuracy against the rows stored per class; a line a method.

    Parameters
    ----------
    rows : list of dict, or DataFrame
        Flat rows of a benchmark. Those without an accuracy are left out; those without an
        ipc are the whole set, a dashed line.
    ax : Axes, optional
        By default a new figure's.
    dataset, model, protocol : str, optional
        Which rows to draw, where they hold several.

    Returns
    -------
    Axes
        Points are means over seeds, bars one standard deviation over seeds to either side.
        Where methods meet at an ipc, they stand side by side.

    Raises
    ------
    ValueError
        Naming the choices, where rows hold several data sets, models or protocols and none
        was chosen; if no row is left.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from m3d_sklearn.plotting import plot_ipc
    >>> rows = [
    ...     {"dataset": "digits", "method": "M3D", "model": "knn", "ipc": 1, "accuracy": 0.8},
    ...     {"dataset": "digits", "method": "M3D", "model": "knn", "ipc": 10, "accuracy": 0.9},
    ... ]
    >>> [label.get_text() for label in plot_ipc(rows).get_xticklabels()]
    ['1', '10']
    """
    check_matplotlib("plot_ipc")
    rows = as_rows(rows, "method", "ipc")
    for column, value in (("dataset", dataset), ("model", model), ("protocol", protocol)):
        rows = choose(rows, column, value)
    need_one(rows, "augmentation")
    ipcs = sorted(distinct(rows, "ipc"))
    if not ipcs:
        raise ValueError("rows must hold an ipc; got the whole set alone.")
    ax = new_axes(ax)
    step = np.log10(ipcs[-1] / ipcs[0]) * NUDGE or NUDGE
    lines = distinct([row for row in rows if row["ipc"] is not None], "method")
    shown: list[Any] = []
    for place, method in enumerate(lines):
        own = [row for row in rows if row["method"] == method and row["ipc"] is not None]
        at = sorted(distinct(own, "ipc"))
        points = [mean_and_std(row for row in own if row["ipc"] == ipc) for ipc in at]
        x = np.array(at) * 10 ** (step * (place - (len(lines) - 1) / 2))
        mean, std = np.transpose(points)
        shown.append(ax.errorbar(x, mean, std, label=method, capsize=3, **line_style(place)))
    whole = [row for row in rows if row["ipc"] is None]
    for method in distinct(whole, "method"):
        mean, _ = mean_and_std(row for row in whole if row["method"] == method)
        shown.append(ax.axhline(mean, color="k", linestyle="--", linewidth=1.2, label=method))
    ax.set_xscale("log")
    ax.set_xticks(ipcs, [str(ipc) for ipc in ipcs])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("ipc (stored rows per class)")
    ax.set_ylabel(ACCURACY)
    ax.set_title(title_of(rows, "dataset", "model"))
    faint_grid(ax)
    if len(shown) > 1:
        ax.legend(handles=shown)
    return ax
