"""Dataset condensation and coresets as scikit-learn estimators."""

from m3d_sklearn.__about__ import __version__
from m3d_sklearn.classifier import NetworkClassifier
from m3d_sklearn.condensed_classifier import CondensedClassifier
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers import (
    CAFECondenser,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    IDMCondenser,
    KMeansCenters,
    M3DCondenser,
)
from m3d_sklearn.evaluation import Evaluation, evaluate
from m3d_sklearn.processes import distributed
from m3d_sklearn.sampler import CondensedSampler
from m3d_sklearn.selection import Herding, KCenter, Random

__all__ = [
    "CAFECondenser",
    "CondensedClassifier",
    "CondensedSampler",
    "CondensedSet",
    "DCCondenser",
    "DMCondenser",
    "DSACondenser",
    "Evaluation",
    "Herding",
    "IDMCondenser",
    "KCenter",
    "KMeansCenters",
    "M3DCondenser",
    "NetworkClassifier",
    "Random",
    "__version__",
    "distributed",
    "evaluate",
]
