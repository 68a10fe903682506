"""Pictures. matplotlib is imported when something is drawn, and not before."""

from m3d_sklearn.plotting._condensed import plot_condensed, to_bytes
from m3d_sklearn.plotting._curves import plot_ipc, plot_steps
from m3d_sklearn.plotting._embedding import plot_embedding
from m3d_sklearn.plotting._grids import plot_ablation, plot_transfer

__all__ = [
    "plot_ablation",
    "plot_condensed",
    "plot_embedding",
    "plot_ipc",
    "plot_steps",
    "plot_transfer",
    "to_bytes",
]
