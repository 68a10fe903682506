"""Methods that make new rows, one file each."""

from m3d_sklearn.condensers._cafe import CAFECondenser
from m3d_sklearn.condensers._dc import DCCondenser
from m3d_sklearn.condensers._dm import DMCondenser
from m3d_sklearn.condensers._dsa import DSACondenser
from m3d_sklearn.condensers._idm import IDMCondenser
from m3d_sklearn.condensers._kmeans import KMeansCenters
from m3d_sklearn.condensers._m3d import M3DCondenser

__all__ = [
    "CAFECondenser",
    "DCCondenser",
    "DMCondenser",
    "DSACondenser",
    "IDMCondenser",
    "KMeansCenters",
    "M3DCondenser",
]
