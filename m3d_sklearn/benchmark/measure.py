"""Seconds and peak memory of a piece of work, and the machine that it ran on."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import torch
from threadpoolctl import threadpool_limits

from m3d_sklearn.base import versions
from m3d_sklearn.core.devices import device_name, is_accelerator, peak_memory, reset_peak_memory

__all__ = ["Cost", "give_back_memory", "limited_threads", "machine", "measured", "now"]

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """Seconds, and MB above what was taken before; None where a system does not say."""

    seconds: float = 0.0
    peak_mb: float | None = None


@contextlib.contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure what happens inside: on a GPU its memory, else the process's.

    Work of other threads of the process counts too.
    """
    cost = Cost()
    before = _reset(device)
    started = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - started
    peak = _peak(device)
    cost.peak_mb = None if before is None or peak is None else max(0.0, peak - before)


def give_back_memory() -> None:
    """Let glibc return what was freed and kept: it would hide what comes next.

    Raises
    ------
    AttributeError, TypeError
        On other systems, and with other C libraries.
    """
    ctypes.CDLL(None).malloc_trim(0)


def _reset(device: torch.device) -> float | None:
    if is_accelerator(device):
        return reset_peak_memory(device) / 1e6
    try:
        give_back_memory()
        REFERENCES.write_text("5")  # Linux forgets the highest mark so far
    except (OSError, AttributeError, TypeError):  # another system, or another C library
        return None
    return _resident("VmRSS")


def _peak(device: torch.device) -> float | None:
    return peak_memory(device) / 1e6 if is_accelerator(device) else _resident("VmHWM")


def _resident(field: str) -> float | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith(f"{field}:")]
    return int(found[0].split()[1]) * 1024 / 1e6 if found else None


@contextlib.contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use this many threads inside."""
    before = torch.get_num_threads()
    try:
        with threadpool_limits(threads):
            torch.set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads(before)


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    """What a result should say of the machine that it came from."""
    return {
        "device": device.type,
        "gpu": device_name(device) if is_accelerator(device) else None,
        "cpu": _processor(),
        "cores": joblib.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def now() -> str:
    """The time in UTC; later times are greater texts."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
