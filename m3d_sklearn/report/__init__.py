"""A results folder as one HTML page that needs nothing but a browser."""

from m3d_sklearn.report._page import write_report
from m3d_sklearn.report._table import lines

__all__ = ["lines", "write_report"]
