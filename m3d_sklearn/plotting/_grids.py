"""Accuracy of methods side by side: over models as a heat map, over ipc as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn.plotting._rows import as_rows, choose, distinct, mean_and_std, need_one, title_of
from m3d_sklearn.plotting._style import (
    ACCURACY,
    check_matplotlib,
    colour_of,
    faint_grid,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_ablation", "plot_transfer"]

HATCHES = "", "//", "..", "\\\\", "xx", "--", "oo", "++"
DARK = 0.45  # of the colours, from the least value on, are too dark for black numbers
GROUP = 0.84  # of the way to the next group that the bars of one take


def plot_transfer(
    rows: Any,
    ax: Axes | None = None,
    *,
    dataset: str | None = None,
    ipc: int | None = None,
    protocol: str | None = None,
) -> Axes:
    """Draw how condensed sets do across models: a heat map, a row a method, a column a model.

    Parameters
    ----------
    rows : list of dict, or DataFrame
        Flat rows of a benchmark. Those without an accuracy are left out; those without an
        ipc are the whole set, which is drawn beside every ipc.
    ax : Axes, optional
        By default a new figure's.
    dataset : str, optional
    ipc : int, optional
    protocol : str, optional
        Which rows to draw, where they hold several. Models that are no networks have no
        protocol, and go along with any.

    Returns
    -------
    Axes
        A cell has the mean accuracy over seeds, in percent; "–" where there is none.

    Raises
    ------
    ValueError
        Naming the choices, where rows hold several data sets, ipcs or protocols and none
        was chosen; if no row is left.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from m3d_sklearn.plotting import plot_transfer
    >>> row = {"dataset": "digits", "method": "M3D", "ipc": 1, "model": "knn", "accuracy": 0.9}
    >>> plot_transfer([row, row | {"model": "svm"}]).get_title()
    'digits, ipc 1'
    """
    check_matplotlib("plot_transfer")
    rows = choose(as_rows(rows, "method", "model", "ipc"), "dataset", dataset)
    rows = choose(rows, "ipc", ipc, open_too=True)
    rows = choose(rows, "protocol", protocol, open_too=True)
    need_one(rows, "augmentation")
    methods, models = distinct(rows, "method"), distinct(rows, "model")
    cells = np.full((len(methods), len(models)), np.nan)
    for i, j in np.ndindex(cells.shape):
        own = [r for r in rows if r["method"] == methods[i] and r["model"] == models[j]]
        if own:
            cells[i, j], _ = mean_and_std(own)
    ax = new_axes(ax, 2.4 + 0.9 * len(models), 1.4 + 0.45 * len(methods))
    image: Any = ax.imshow(cells, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(cells):
        text = "–" if np.isnan(value) else f"{value:.1f}"
        colour = "w" if image.norm(value) < DARK else "k"
        ax.text(j, i, text, ha="center", va="center", color=colour)
    ax.figure.colorbar(image, ax=ax, label=ACCURACY)
    ax.set_xticks(range(len(models)), models)
    ax.set_yticks(range(len(methods)), methods)
    ax.set_xlabel("model trained on the set")
    ax.tick_params(length=0)
    ax.set_title(title_of(rows, "dataset", "ipc"))
    return ax


def plot_ablation(
    rows: Any,
    ax: Axes | None = None,
    *,
    by: str = "method",
    dataset: str | None = None,
    model: str | None = None,
    protocol: str | None = None,
) -> Axes:
    """Draw variants of a method side by side: bars in groups, a group an ipc.

    For the kernel ablation name the methods of the comparison after their kernels.

    Parameters
    ----------
    rows : list of dict, or DataFrame
        Flat rows of a benchmark. Those without an accuracy, or without an ipc, are left
        out.
    ax : Axes, optional
        By default a new figure's.
    by : str, default="method"
        Column of `rows` whose values are the bars.
    dataset, model, protocol : str, optional
        Which rows to draw, where they hold several.

    Returns
    -------
    Axes
        Bars are means over seeds, whiskers one standard deviation over seeds to either
        side. The axis does not begin at 0: it shows the difference, not the size.

    Raises
    ------
    ValueError
        Naming the choices, where rows hold several data sets, models or protocols and none
        was chosen, or several methods and `by` is another column; if no row is left.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from m3d_sklearn.plotting import plot_ablation
    >>> row = {"dataset": "digits", "method": "rbf", "ipc": 1, "model": "knn", "accuracy": 0.9}
    >>> ax = plot_ablation([row, row | {"method": "linear", "accuracy": 0.8}])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['rbf', 'linear']
    """
    check_matplotlib("plot_ablation")
    rows = as_rows(rows, "method", "ipc", by)
    for column, value in (("dataset", dataset), ("model", model), ("protocol", protocol)):
        rows = choose(rows, column, value)
    need_one(rows, *(column for column in ("augmentation", "method") if column != by))
    rows = [row for row in rows if row["ipc"] is not None and row[by] is not None]
    ipcs, variants = sorted(distinct(rows, "ipc")), distinct(rows, by)
    if not rows:
        raise ValueError(f"rows must hold an ipc and a value of {by!r}; got none with both.")
    ax = new_axes(ax)
    width = GROUP / len(variants)
    ends = []
    for place, variant in enumerate(variants):
        own = [row for row in rows if row[by] == variant]
        at = [i for i, ipc in enumerate(ipcs) if any(row["ipc"] == ipc for row in own)]
        points = [mean_and_std(r for r in own if r["ipc"] == ipcs[i]) for i in at]
        mean, std = np.transpose(points)
        ends += [(mean - std).min(), (mean + std).max()]
        x = np.array(at) + (place - (len(variants) - 1) / 2) * width
        look: dict[str, Any] = {"color": colour_of(place), "hatch": HATCHES[place % len(HATCHES)]}
        ax.bar(x, mean, 0.92 * width, yerr=std, capsize=3, edgecolor="w", label=variant, **look)
    ax.set_ylim(*_limits(min(ends), max(ends)))
    ax.set_xticks(range(len(ipcs)), [f"ipc {ipc}" for ipc in ipcs])
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(ACCURACY)
    ax.set_title(title_of(rows, "dataset", "model"))
    faint_grid(ax, "y")
    if len(variants) > 1:  # below, where no bar is
        ax.legend(
            title=None if by == "method" else by,
            ncols=min(len(variants), 5),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.07),
            frameon=False,
        )
    return ax


def _limits(low: float, high: float) -> tuple[float, float]:
    """Where an axis of accuracies begins and ends, so that differences show."""
    room = max(high - low, 2.0)
    return max(0.0, low - 0.5 * room), min(100.0, high + 0.25 * room)
