"""Data sets as arrays: downloaded ones, files of arrays, and folders of images."""

from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._load import available, load

__all__ = ["Dataset", "available", "load"]
