"""A condensed set as a picture: a contact sheet of images, a heat map of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.plotting._style import check_matplotlib, make_room, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_set", "plot_condensed", "to_bytes"]

GAP = 1  # pixels between two images of a contact sheet


def check_set(found: Any, name: str) -> None:
    """Raise a TypeError that names the parameter, unless it is a CondensedSet."""
    if not isinstance(found, CondensedSet):
        hint = "; give its condensed_" if hasattr(found, "condensed_") else ""
        raise TypeError(f"{name} must be a CondensedSet; got {type(found).__name__}{hint}.")


def to_bytes(condensed: CondensedSet, decoded: bool = False) -> np.ndarray:
    """Images as uint8, (n, h, w) or (n, h, w, c): the range of X becomes 0 to 255.

    Raises
    ------
    ValueError
        If the rows are no images, or have 2 or more than 4 channels.
    """
    check_set(condensed, "condensed")
    layout, units = condensed.layout, condensed.units
    if not layout.is_image:
        raise ValueError(
            f"images are wanted and the set holds a table of rows {layout.sample_shape}; give "
            "the condenser image_shape if its rows are flattened images."
        )
    X, _ = condensed.decode() if decoded else condensed
    rows = layout.to_rows(np.asarray(X)).astype(np.float64)
    if rows.shape[1] not in (1, 3, 4):
        raise ValueError(f"images to show must have 1, 3 or 4 channels; got {rows.shape[1]}.")
    shown = (rows - units.low) / np.where(units.high > units.low, units.high - units.low, 1)
    images = np.rint(shown.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return images[..., 0] if images.shape[-1] == 1 else images


def plot_condensed(
    condensed: CondensedSet, ax: Axes | None = None, *, decoded: bool = False
) -> Axes:
    """Draw a condensed set: images as a contact sheet, a class a row; a table as a heat map.

    Parameters
    ----------
    condensed : CondensedSet
    ax : Axes, optional
        By default a new figure's, which has room for the names of classes and columns.
    decoded : bool, default=False
        Whether mosaics are cut up and up-sampled first.

    Returns
    -------
    Axes
    """
    check_matplotlib("plot_condensed")
    check_set(condensed, "condensed")
    names = [str(name) for name in condensed.classes]
    labels = condensed.labels
    if decoded:
        labels = np.repeat(labels, condensed.factor**2)
    if not condensed.layout.is_image:
        return _plot_table(condensed, ax, names, labels)
    images = to_bytes(condensed, decoded)
    height, width = images.shape[1:3]
    counts = np.bincount(labels, minlength=len(names))
    sheet_shape = (
        len(names) * (height + GAP) - GAP,
        counts.max() * (width + GAP) - GAP,
        *images.shape[3:],
    )
    sheet = np.full(sheet_shape, 255, np.uint8)
    for row in range(len(names)):
        for column, image in enumerate(images[labels == row]):
            top, left = row * (height + GAP), column * (width + GAP)
            sheet[top : top + height, left : left + width] = image
    own = ax is None
    ax = new_axes(ax, *np.clip(np.array(sheet.shape[1::-1]) / 40, 1.5, 12))
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_yticks(np.arange(len(names)) * (height + GAP) + height / 2, names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if own:
        make_room(ax)
    return ax


def _plot_table(
    condensed: CondensedSet, ax: Axes | None, names: list[str], labels: np.ndarray
) -> Axes:
    """A row a condensed row, a column a column, in standard deviations from the mean."""
    units = condensed.units.to_units(condensed.rows())
    own = ax is None
    ax = new_axes(ax, *np.clip([2.5 + 0.25 * units.shape[1], 1.5 + 0.2 * len(units)], 3, 12))
    limit = max(1.0, float(np.abs(units).max()))
    image = ax.imshow(units, "RdBu_r", aspect="auto", interpolation="nearest")
    image.set_clim(-limit, limit)
    ax.figure.colorbar(image, ax=ax, label="deviation / std")
    middles = [np.flatnonzero(labels == place).mean() for place in range(len(names))]
    ax.set_yticks(middles, names)
    columns = condensed.layout.columns
    if columns is not None and len(columns) <= 40:
        ax.set_xticks(range(len(columns)), [str(c) for c in columns], rotation=90)
    else:
        ax.set_xlabel("column")
        ax.locator_params(axis="x", integer=True)
    if own:
        make_room(ax)
    return ax
