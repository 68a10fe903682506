"""Where the embedding networks of a run come from, one file a source.

A source is called once an iteration and gives a frozen network. It changes
its weights in place, so that whatever was compiled for the module stays.
"""

from m3d_sklearn.core.sources.bilevel import BilevelNetworks
from m3d_sklearn.core.sources.fresh import FreshNetworks
from m3d_sklearn.core.sources.pool import TrainedNetworks
from m3d_sklearn.core.sources.queue import NetworkQueue
from m3d_sklearn.core.sources.source import NetworkSource
from m3d_sklearn.core.sources.stored import NetworksOfStoredRows

__all__ = [
    "BilevelNetworks",
    "FreshNetworks",
    "NetworkQueue",
    "NetworkSource",
    "NetworksOfStoredRows",
    "TrainedNetworks",
]
