"""A cell of the grid: what it is made of, and the key that follows from it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

from m3d_sklearn import __about__
from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.benchmark.models import Model
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.devices import resolve_device

__all__ = ["Cell", "Settings", "described"]


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

    @property
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
            # Defaults differ between a CPU and a GPU, and so do roundings.
            "device": resolve_device(settings.device).type,
        }

    @property
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


def described(value: Any) -> Any:
    """A parameter in what JSON can hold, different for values that act differently.

    Numbers, strings and containers stay; functions and classes become their name, functions
    with a hash of their code; anything else (estimators, arrays, sets) a name and a hash.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): described(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, functools.partial):
        inner = [described(value.func), described(value.args), described(value.keywords)]
        return {"partial": inner}
    if inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    if inspect.isroutine(value):
        return _described_function(value)
    if isinstance(value, BaseEstimator):
        params = {name: described(inner) for name, inner in value.get_params(deep=False).items()}
        known = {"class": described(type(value)), "params": params}
        if hasattr(value, "condensed_"):  # a start that is already fitted
            known["condensed"] = described(value.condensed_)
        return known
    if isinstance(value, CondensedSet):
        value = (np.asarray(value.X), np.asarray(value.y))
    return f"{type(value).__name__}:{joblib.hash(value)}"


def _described_function(function: Any) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    code = getattr(function, "__code__", None)
    if code is None:  # a builtin
        return name
    closed = [described(cell.cell_contents) for cell in function.__closure__ or ()]
    parts = (code.co_code, code.co_names, [c for c in code.co_consts if not inspect.iscode(c)])
    text = repr((parts, closed, function.__defaults__, function.__kwdefaults__))
    return f"{name}:{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
