"""One cell from its lock to its record."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone

from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.benchmark.cells import Cell
from m3d_sklearn.benchmark.interruptible import fit_keeping
from m3d_sklearn.benchmark.measure import limited_threads, machine, measured, now
from m3d_sklearn.benchmark.scoring import mmd_to_data, score_models
from m3d_sklearn.benchmark.standing import Standing
from m3d_sklearn.benchmark.store import DONE, FAILED, FITTED, FORMAT, ResultsFolder
from m3d_sklearn.callbacks import AccuracyCurve
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.devices import accelerators, resolve_device
from m3d_sklearn.datasets import Dataset
from m3d_sklearn.evaluation import as_condensed_set
from m3d_sklearn.storage import plain

__all__ = ["TAKEN", "on_device", "run_cell"]

TAKEN = "taken"  # another process is at it


def run_cell(
    folder: ResultsFolder,
    cell: Cell,
    data: Dataset,
    threads: int,
    since: str,
    wait: bool = False,
    fit_only: bool = False,
) -> str:
    """Run a cell unless it is done, or another process is at it.

    Parameters
    ----------
    folder : ResultsFolder
    cell : Cell
    data : Dataset
    threads : int
        Of the processor, for this cell.
    since : str
        Time of the call: a failure that another process recorded after it is not tried again.
    wait : bool
        Whether to wait for another process to end, and then look again.
    fit_only : bool
        Whether to keep the condensed set and train nothing on it.

    Returns
    -------
    str
        "done", "failed", "taken", or "fitted" where nothing more was asked for.
    """
    lock = folder.lock(cell)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        return TAKEN
    try:
        known = Standing(data).known(folder, cell)
        if known is not None and known["status"] == DONE:
            return DONE
        if known is not None and known["status"] == FAILED and known["finished"] > since:
            return FAILED
        # What a user's classifier would share out among processes shares this cell's cores.
        with parallel_config("sequential"), limited_threads(threads), _own_device(cell) as device:
            return _run(folder, cell, data, threads, device, known, fit_only)
    finally:
        lock.release()


@contextlib.contextmanager
def _own_device(cell: Cell) -> Iterator[torch.device]:
    """The device of a cell: of several GPUs the first that no other cell is on."""
    device, several = resolve_device(cell.settings.device), accelerators()
    if cell.settings.device != "auto" or len(several) < 2:
        yield device
        return
    with contextlib.ExitStack() as held:
        for name in several:
            file = f"m3d_sklearn-{name.replace(':', '-')}.lock"
            # Another cell may be on it, or another user may own the file.
            with contextlib.suppress(Timeout, OSError):
                lock = FileLock(Path(tempfile.gettempdir()) / file)
                held.enter_context(lock.acquire(blocking=False))
                device = torch.device(name)
                break
        yield device


def _run(
    folder: ResultsFolder,
    cell: Cell,
    data: Dataset,
    threads: int,
    device: torch.device,
    known: dict[str, Any] | None,
    fit_only: bool,
) -> str:
    record = {
        "format": FORMAT,
        "key": cell.key,
        "name": cell.name,
        "spec": cell.spec,
        "data": _about(data),
        "machine": machine(device, threads),
        "command": cell.command,
        "error": None,
    }
    fitted: dict[str, Any] = {}
    try:
        _import_optimizers(cell)
        fitted, condensed = _fitted(folder, cell, data, device, known, record)
        if fit_only:
            return FITTED
        scores = score_models(condensed, data.X_test, data.y_test, cell.settings, cell.seed, device)
        whole = cell.condenser is None
        mmd = None if whole else mmd_to_data(condensed, data.X_train, data.y_train, device)
    except Exception as error:
        record |= fitted | {"status": FAILED, "finished": now(), "error": _told(error)}
        folder.write(cell, record)
        return FAILED
    record |= fitted | {"status": DONE, "scores": scores, "mmd": mmd, "finished": now()}
    folder.write(cell, record)
    return DONE


def _fitted(
    folder: ResultsFolder,
    cell: Cell,
    data: Dataset,
    device: torch.device,
    known: dict[str, Any] | None,
    record: dict[str, Any],
) -> tuple[dict[str, Any], CondensedSet]:
    """The condensed set, and what is to be said of its making.

    A fit may take hours. It is kept before anything is trained on it, and an interrupted cell
    goes on from there; an interrupted fit from its checkpoint.
    """
    if cell.condenser is None:
        condensed = as_condensed_set((data.X_train, data.y_train))
        return {"fit": _counts(condensed), "curve": []}, condensed
    checkpoint = folder.checkpoint(cell)
    if known is not None and "fit" in known:
        with contextlib.suppress(ValueError, OSError, KeyError):
            kept = {name: known[name] for name in ("fit", "curve", "machine")}
            condensed = _read(folder, known)
            checkpoint.unlink(missing_ok=True)
            return kept, condensed
    condenser = clone(cell.condenser)
    on_device(condenser, device)
    curve = _watched(condenser, cell, data, device)
    with measured(device) as cost:
        # The points of a curve are in no checkpoint.
        before = fit_keeping(condenser, data, checkpoint if curve is None else None)
    # Where it was kept meanwhile is none of the result.
    params = {k: None if k == "checkpoint" else v for k, v in condenser.params_.items()}
    condensed = replace(condenser.condensed_, params=params)
    fit = {
        "seconds": before + cost.seconds,
        "peak_mb": cost.peak_mb,
        "n_iter": plain(getattr(condenser, "n_iter_", None)),
        "params": plain(params),
    } | _counts(condensed)
    made = {"fit": fit, "curve": [] if curve is None else curve.curve_}
    folder.write(cell, record | made | {"status": FITTED, "finished": now()}, condensed)
    checkpoint.unlink(missing_ok=True)
    return made, condensed


def _about(data: Dataset) -> dict[str, Any]:
    return {
        "source": data.source,
        "n_train": len(data.X_train),
        "n_test": len(data.X_test),
        "shape": _shape(data),
        "class_names": list(data.class_names),
    }


def _shape(data: Dataset) -> list[int]:
    """Of a row, channels last."""
    shape = data.X_train.shape[1:]
    return [*shape[1:], shape[0]] if data.layout.channel_axis == 0 else list(shape)


def _counts(condensed: CondensedSet) -> dict[str, int]:
    return {
        "n_stored": len(condensed),
        "n_train": len(condensed) * condensed.factor**2,
        "nbytes": condensed.nbytes,
        "factor": condensed.factor,
    }


def _read(folder: ResultsFolder, record: dict[str, Any]) -> CondensedSet:
    condensed = folder.kept(record)
    if condensed is None:
        raise FileNotFoundError(record["name"])
    return condensed


def on_device(condenser: BaseCondenser, device: torch.device) -> None:
    """Give a condenser that leaves its device open the cell's."""
    if str(condenser.device) == "auto":
        condenser.set_params(device=device)


def _import_optimizers(cell: Cell) -> None:
    """Let torch import its compiler, as the first optimiser of a process does, untimed."""
    iterates = cell.condenser is not None and hasattr(cell.condenser, "optimizer")
    if iterates or not all(isinstance(m, BaseEstimator) for m in cell.settings.models.values()):
        importlib.import_module("torch._dynamo")


def _watched(
    condenser: BaseCondenser, cell: Cell, data: Dataset, device: torch.device
) -> AccuracyCurve | None:
    """A callback that follows the accuracy, on condensers that iterate."""
    params = condenser.get_params(deep=False)
    last = params.get("max_iter")
    if not cell.settings.curve or not {"init", "max_iter"} <= params.keys() or last == 0:
        return None
    curve = AccuracyCurve(
        data.X_test,
        data.y_test,
        cell.settings.curve,
        n_networks=cell.settings.n_networks,
        protocol=cell.settings.protocols[0],
        max_steps=cell.settings.max_steps,
        random_state=cell.seed,
        device=device,
    )
    condenser.set_callbacks(curve)
    return curve


def _told(error: Exception) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
