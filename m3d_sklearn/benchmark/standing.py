"""Whether a kept fit is what its cell would come to now.

A cell's key holds parameters as they were given. What "auto" comes to may change within a version
of the package; the record has what it came to then.
"""

from __future__ import annotations

import math
from typing import Any

from m3d_sklearn._validation import TrainingData, check_training_data
from m3d_sklearn.base import Task
from m3d_sklearn.benchmark.cells import Cell
from m3d_sklearn.benchmark.store import DONE, Record, ResultsFolder
from m3d_sklearn.condensers._base import MatchingCondenser, is_auto
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.networks import auto_network
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.datasets import Dataset
from m3d_sklearn.ipc import resolve_ipc
from m3d_sklearn.storage import plain

__all__ = ["Standing"]


class Standing:
    """What folders know of the cells of a data set, without fits of other settings.

    Parameters
    ----------
    data : Dataset
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._checked: dict[str, TrainingData] = {}

    def known(self, folder: ResultsFolder, cell: Cell) -> Record | None:
        """The record of a cell, or None where its fit would come out otherwise now."""
        record = folder.find(cell)
        return record if record is not None and self._stands(record, cell) else None

    def done(self, folder: ResultsFolder, cell: Cell) -> bool:
        """Whether a cell has its result."""
        record = self.known(folder, cell)
        return record is not None and record["status"] == DONE

    def _stands(self, record: Record, cell: Cell) -> bool:
        if not (record.get("fit") and isinstance(cell.condenser, MatchingCondenser)):
            return True
        try:
            now = self._automatic(cell, cell.condenser)
        except (ValueError, TypeError):  # which the fit will tell
            return False
        then = record["fit"].get("params") or {}
        return all(name in then and _same(then[name], value) for name, value in now.items())

    def _automatic(self, cell: Cell, condenser: MatchingCondenser) -> dict[str, Any]:
        """What each "auto" of a condenser comes to."""
        own = condenser.device
        device = resolve_device(cell.settings.device if str(own) == "auto" else own)
        data = self._training_data(condenser)
        X, y = self.data.X_train, self.data.y_train
        task = Task(X, y, data, resolve_ipc(condenser.ipc, data), device, Stream(0, device))
        settings = {"network": auto_network(data.layout.canonical_shape)}
        settings |= condenser._settings(task)
        given = condenser.get_params(deep=False)
        return {name: plain(value) for name, value in settings.items() if is_auto(given[name])}

    def _training_data(self, condenser: MatchingCondenser) -> TrainingData:
        """The rows, checked once for all condensers that read them alike."""
        how = {"image_shape": condenser.image_shape, "channel_axis": condenser.channel_axis}
        key = repr(how)
        if key not in self._checked:
            X, y = self.data.X_train, self.data.y_train
            self._checked[key] = check_training_data(condenser, X, y, **how)
        return self._checked[key]


def _same(then: Any, now: Any) -> bool:
    """Whether values agree; rates that follow from the data's statistics to their last bits."""
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-6)
    return then == now
