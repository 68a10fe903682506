"""What a checkpoint must have been written by, so that a fit may go on from it."""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from torch import Tensor, nn

from m3d_sklearn.base import Task, versions
from m3d_sklearn.core.distributed import ranks
from m3d_sklearn.layout import fingerprint
from m3d_sklearn.row_source import fingerprint_of
from m3d_sklearn.storage import plain

__all__ = ["environment", "identity", "words"]

# Parameters that change no bit of the result.
APART = "cache", "checkpoint", "checkpoint_every", "checkpoint_errors", "verbose"


def identity(
    method: str, params: dict[str, Any], task: Task, network: nn.Module, given: Tensor | None
) -> dict[str, Any]:
    """Names and values of all that the result depends on, as JSON gives them back.

    Parameters
    ----------
    method : str
    params : dict
        With what every "auto" came to. Callables count by their names.
    task : Task
        X and y count by their fingerprints, which takes a pass over X.
    network : nn.Module
        One of the run's; it counts by the shapes of its parameters.
    given : Tensor or None
        Rows to start from, where the caller gave some.
    """
    weights = {name: list(tensor.shape) for name, tensor in network.named_parameters()}
    start = {} if given is None else {"init": fingerprint(given.numpy())}
    found = {
        "method": method,
        "X": fingerprint_of(task.data.rows),
        "y": fingerprint(task.data.labels),
        **{name: _named(value) for name, value in params.items() if name not in APART},
        "weights": weights,
        **start,
    }
    # Without a seed another one is drawn every time, and the first is in the checkpoint.
    if params["random_state"] is not None:
        found["random_state"] = task.stream.host.initial_seed()
    return json.loads(json.dumps(found))


def words(params: dict[str, Any], task: Task) -> dict[str, str]:
    """How errors tell a random_state, which counts by the seed that was drawn from it."""
    given = params["random_state"]
    if given is None:
        return {}
    drew = f"a RandomState that drew {task.stream.host.initial_seed()}"
    return {"random_state": str(given) if isinstance(given, int) else drew}


def environment() -> dict[str, Any]:
    """What the last bits of the result depend on beside its identity."""
    known = versions()
    return {
        "m3d_sklearn": known["m3d_sklearn"],
        "torch": known["torch"],
        "threads": torch.get_num_threads(),
        "ranks": ranks().size,
        "processor": torch.backends.cpu.get_cpu_capability(),
    }


def _named(value: Any) -> Any:
    """A value as JSON holds it; a callable by its name, and by what a partial one was given."""
    if isinstance(value, functools.partial):
        return [_named(value.func), plain(value.args), plain(value.keywords)]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return plain(value)
