"""What the pictures share: axes of their own, and marks that differ in colour and in form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCURACY",
    "GREY",
    "check_matplotlib",
    "colour_of",
    "faint_grid",
    "line_style",
    "make_room",
    "new_axes",
]

ACCURACY = "accuracy (%)"
GREY = "#999999"
# Okabe & Ito's colours, which colour-blind people tell apart; without the yellow, which is
# lost on white.
COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
MARKERS = "o", "s", "^", "D", "v", "P", "X", "*"
LINES = "-", "--", "-.", ":"


def check_matplotlib(user: str) -> None:
    """Raise an ImportError that says who needs matplotlib and how to get it, where it is not."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{user} needs matplotlib: pip install matplotlib") from error


def new_axes(ax: Axes | None, width: float = 6.0, height: float = 4.0) -> Axes:
    """The axes given, or those of a new figure of this size in inches."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def make_room(ax: Axes) -> None:
    """Enlarge a new figure by its tick labels, which else take their room from the picture."""
    wide = max((label.get_window_extent().width for label in ax.get_yticklabels()), default=0.0)
    tall = max((label.get_window_extent().height for label in ax.get_xticklabels()), default=0.0)
    figure: Any = ax.figure
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + wide / figure.dpi, height + tall / figure.dpi)
    ax.set_anchor("W")  # in the middle, the labels of a narrow picture mislead the layout


def colour_of(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def line_style(place: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line at this place: no two of 56 have the same."""
    return {
        "color": colour_of(place),
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": LINES[place % len(LINES)],
        "markersize": 6,
        "linewidth": 1.6,
    }


def faint_grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Thin lines below what is drawn."""
    ax.grid(axis=axis, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
