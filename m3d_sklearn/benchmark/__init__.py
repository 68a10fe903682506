"""Which method, at which ipc, on which data: grids of cells, and what they came to."""

from m3d_sklearn.benchmark.grid import compare
from m3d_sklearn.benchmark.robust import robust_scores
from m3d_sklearn.benchmark.store import ResultsFolder, rows

__all__ = ["ResultsFolder", "compare", "robust_scores", "rows"]
