"""A cell of the grid: what it is made of, and the key that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from m3d_sklearn import __about__
from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.benchmark.described import described
from m3d_sklearn.benchmark.models import Model
from m3d_sklearn.core.devices import resolve_device

__all__ = ["Cell", "Settings"]


@dataclass(frozen=True)
class Settings:
    """How every condensed set of a grid is scored; see :func:`compare`."""

    models: Mapping[str, Model]
    protocols: tuple[str, ...]
    augmentations: tuple[str, ...]
    n_networks: int
    max_steps: int | None
    curve: tuple[int, ...]
    device: str


@dataclass(frozen=True)
class Cell:
    """One method at one ipc and seed on one data set.

    Attributes
    ----------
    dataset, fingerprint : str
    method : str
        The label that it is shown by.
    condenser : BaseCondenser or None
        Unfitted, with ipc, seed and device in it; None for the whole set.
    ipc : int or None
    seed : int
    settings : Settings
    command : str or None
        What repeats this cell in a shell, where words can.
    """

    dataset: str
    fingerprint: str
    method: str
    condenser: BaseCondenser | None
    ipc: int | None
    seed: int
    settings: Settings
    command: str | None = None

    # Once for all: what a function reads may change while the cell runs.
    @cached_property
    def spec(self) -> dict[str, Any]:
        """All that a result depends on, in what JSON can hold."""
        settings, condenser = self.settings, self.condenser
        return {
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "method": self.method,
            "estimator": None if condenser is None else described(type(condenser)),
            "params": None if condenser is None else described(condenser.get_params(deep=False)),
            "ipc": self.ipc,
            "seed": self.seed,
            "models": {name: described(model) for name, model in settings.models.items()},
            "protocols": list(settings.protocols),
            "augmentations": list(settings.augmentations),
            "n_networks": settings.n_networks,
            "steps": settings.max_steps,
            "curve": list(settings.curve),
            "version": __about__.__version__,
            "device": self._fitted_on(),
        }

    def _fitted_on(self) -> str:
        """Kind of device of the fit: defaults differ between a CPU and a GPU, and so do roundings.

        A method may name its own; the grid's then trains the networks alone.
        """
        own = "auto" if self.condenser is None else str(self.condenser.device)
        return resolve_device(self.settings.device).type if own == "auto" else own.partition(":")[0]

    @cached_property
    def key(self) -> str:
        """16 hex digits: equal for cells that give the same rows."""
        text = json.dumps(self.spec, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def name(self) -> str:
        """Name of the cell's files."""
        ipc = "all" if self.ipc is None else self.ipc
        words = f"{self.dataset}-{self.method}-ipc{ipc}-seed{self.seed}"
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', words)[:80]}-{self.key}"
