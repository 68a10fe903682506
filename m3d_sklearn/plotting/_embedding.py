"""What condensed sets match of a class: its mean alone, or its spread as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from m3d_sklearn._validation import to_numpy
from m3d_sklearn.core.networks import NetworkSpec, auto_network, build, embed
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.device_rows import device_rows
from m3d_sklearn.naming import check_columns
from m3d_sklearn.plotting._condensed import check_set
from m3d_sklearn.plotting._style import (
    GREY,
    LINES,
    MARKERS,
    check_matplotlib,
    colour_of,
    faint_grid,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["plot_embedding"]

DEVIATIONS = 2  # half axes of the ellipses, in standard deviations
DARK_GREY = "#555555"


def plot_embedding(
    X: Any,
    y: Any,
    sets: Mapping[str, CondensedSet],
    ax: Axes | None = None,
    *,
    label: Any = None,
    network: NetworkSpec = "auto",
    random_state: int = 0,
) -> Axes:
    """Draw real and condensed rows of one class, as a random embedding network sees them.

    Features are projected to the first two principal components of the real rows'. A large
    marker is a set's mean, an ellipse its covariance, at 2 standard deviations: a set that
    matches the mean alone has an ellipse that is too small, or lies askew.

    Parameters
    ----------
    X : array-like
        Real rows in the layout of the sets.
    y : array-like of shape (n,)
    sets : dict of str to CondensedSet
        By label; they must have the same layout. Mosaics are decoded.
    ax : Axes, optional
        By default a new figure's.
    label : optional
        The class to draw; by default the first.
    network : str or callable, default="auto"
        As for :class:`M3DCondenser`; its weights are random and fixed.
    random_state : int, default=0
        Seeds the weights.

    Returns
    -------
    Axes
        Rows are normalised by the statistics of the data that the first set was made from.
        Spreads are those of the rows drawn, divided by their number.

    Raises
    ------
    ValueError
        If there is no set, layouts or names of columns differ, or the class is unknown.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import Herding
    >>> from m3d_sklearn.plotting import plot_embedding
    >>> X, y = load_iris(return_X_y=True)
    >>> ax = plot_embedding(X, y, {"Herding": Herding(ipc=5).fit(X, y).condensed_}, label=2)
    >>> ax.get_title()
    'class 2'
    """
    check_matplotlib("plot_embedding")
    columns = getattr(X, "columns", None)
    X, y = np.asarray(to_numpy(X)), np.asarray(to_numpy(y)).reshape(-1)
    first = _checked(X, y, sets)
    _check_columns(columns, sets)
    label = first.classes[0] if label is None else label
    clouds = {"real rows": X[y == label]}
    for name, condensed in sets.items():
        rows, labels = condensed.decode()
        clouds[name] = np.asarray(rows)[np.asarray(labels) == label]
    if any(len(rows) == 0 for rows in clouds.values()):
        raise ValueError(
            f"label must be a class of y and of every set, {first.classes.tolist()}; got {label!r}."
        )
    points, share = _plane(_features(list(clouds.values()), first, network, random_state))
    ax = new_axes(ax, 6.0, 4.6)
    for place, (name, cloud) in enumerate(zip(clouds, points, strict=True)):
        _draw_cloud(ax, name, cloud, place)
    for axis, name, part in zip((ax.xaxis, ax.yaxis), ("first", "second"), share, strict=True):
        axis.set_label_text(f"{name} principal component ({100 * part:.0f} % of variance)")
    ax.set_title(f"class {label}")
    ax.set_aspect("equal", adjustable="datalim")
    faint_grid(ax)
    ax.legend(
        title=f"mean and {DEVIATIONS}-std ellipse (rows)",
        fontsize="small",
        title_fontsize="small",
        markerscale=0.8,
        handlelength=3,
    )
    return ax


def _checked(X: np.ndarray, y: np.ndarray, sets: Mapping[str, CondensedSet]) -> CondensedSet:
    """The first set, once all are seen to go with X and y."""
    if not isinstance(sets, Mapping):
        raise TypeError(f"sets must be a dict of label to CondensedSet; got {type(sets).__name__}.")
    if not sets:
        raise ValueError("sets must hold a condensed set or more, by label; got none.")
    for name, condensed in sets.items():
        check_set(condensed, f"sets[{name!r}]")
    if len(X) != len(y):
        raise ValueError(f"X and y must have as many rows; got {len(X)} and {len(y)}.")
    shapes = {name: condensed.layout.sample_shape for name, condensed in sets.items()}
    if set(shapes.values()) != {X.shape[1:]}:
        raise ValueError(f"sets must have rows of X's shape, {X.shape[1:]}; got {shapes}.")
    return next(iter(sets.values()))


def _check_columns(columns: Any, sets: Mapping[str, CondensedSet]) -> None:
    """Whether X and all sets that have names of columns have the same, in one order."""
    owner = "the other sets" if columns is None else "X"
    for name, condensed in sets.items():
        check_columns(condensed.layout.columns, columns, f"sets[{name!r}]", owner)
        columns = condensed.layout.columns if columns is None else columns


def _features(
    clouds: list[np.ndarray], first: CondensedSet, network: NetworkSpec, seed: int
) -> list[np.ndarray]:
    """Features of each cloud's rows, normalised as networks see them."""
    shape, place = first.layout.canonical_shape, torch.device("cpu")
    spec = auto_network(shape) if isinstance(network, str) and network == "auto" else network
    module = build(spec, shape, len(first.classes), Stream(seed, place)).eval()
    features = []
    with torch.no_grad():
        for rows in clouds:
            raw, scale = device_rows(first.layout.to_rows(rows), first.units, place)
            seen = scale.normalise(scale.to_units(raw))
            features.append(embed(module, seen).double().numpy())
    return features


def _plane(features: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """All features in the plane of the first's principal components, and its shares."""
    plane = PCA(2, random_state=0).fit(features[0])
    return [plane.transform(cloud) for cloud in features], plane.explained_variance_ratio_


def _draw_cloud(ax: Axes, name: str, points: np.ndarray, place: int) -> None:
    """Rows, mean and ellipse; the first cloud is the real one, in grey."""
    from matplotlib.patches import Ellipse

    real = place == 0
    colour = DARK_GREY if real else colour_of(place - 1)
    mean = points.mean(0)
    variances, directions = np.linalg.eigh(np.cov(points.T, ddof=0))
    marker, line = MARKERS[place % len(MARKERS)], LINES[place % len(LINES)]
    look: dict[str, Any] = {"color": GREY, "s": 12, "alpha": 0.6, "zorder": 1}
    if not real:
        look = {"color": colour, "s": 26, "zorder": 3}
    ax.scatter(*points.T, marker=marker, linewidths=0, **look)
    width, height = 2 * DEVIATIONS * np.sqrt(variances.clip(0))
    angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
    style = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 2, "zorder": 4}
    ax.add_patch(Ellipse(mean, width, height, angle=angle, **style))
    ax.plot(
        *mean,
        marker=marker,
        color=colour,
        linestyle=line,
        linewidth=2,
        markersize=max(7, 15 - 4 * place),  # means that meet lie within each other
        markeredgecolor="w",
        markeredgewidth=1.5,
        zorder=5,
        label=f"{name} ({len(points)})",
    )
