"""Canonical rows as tensors on a device, with the scale that goes with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from m3d_sklearn.core.devices import cache_memory
from m3d_sklearn.core.host_rows import HostRows
from m3d_sklearn.core.sampling import Scale
from m3d_sklearn.layout import Units
from m3d_sklearn.row_source import LazyRows

__all__ = ["cache_bytes", "device_rows", "held_or_read"]


def device_rows(
    rows: np.ndarray | LazyRows,
    units: Units,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, Scale]:
    """Move rows to a device: 8-bit images as they came, anything else in units.

    Units are computed in float64 on the host, so columns of 10⁹ ± 1 keep their digits.

    Returns
    -------
    rows : Tensor
    scale : Scale
        Turns these rows into units, and units into what networks see.
    """
    return _host_tensor(rows, units, dtype).to(device), _scale(rows, units, device, dtype)


def held_or_read(
    rows: np.ndarray | LazyRows, units: Units, device: torch.device, cache: int | str = "auto"
) -> tuple[torch.Tensor | HostRows, Scale]:
    """Rows on the device where `cache` bytes hold them, else ones that are read when indexed.

    Rows in the host's memory are on a CPU already, and stay there with "auto".
    """
    each = math.prod(rows.shape[1:]) * (1 if _stays_8_bit(rows) else 4)
    lazy = isinstance(rows, LazyRows)
    here = not lazy and cache == "auto" and device.type == "cpu"
    budget = cache_bytes(cache, device)
    if here or len(rows) * each <= budget:
        return device_rows(rows, units, device)

    def read(numbers: np.ndarray) -> torch.Tensor:
        return _host_tensor(rows[numbers], units, torch.float32)

    scale = _scale(rows, units, device, torch.float32)
    return HostRows(read, rows.shape, device, budget), scale


def cache_bytes(cache: int | str, device: torch.device) -> int:
    """What ``cache`` comes to."""
    return cache_memory(device) if cache == "auto" else int(cache)


def _stays_8_bit(rows: Any) -> bool:
    return rows.dtype == np.uint8 and rows.ndim == 4


def _host_tensor(rows: Any, units: Units, dtype: torch.dtype) -> torch.Tensor:
    if not _stays_8_bit(rows):
        own = units.to_units(rows, np.float64 if dtype == torch.float64 else np.float32)
    else:
        own = rows[:]
        if not own.flags.writeable:  # torch warns of arrays it could write to by mistake
            own = own.copy(order="K")
    return torch.from_numpy(own)


def _scale(rows: Any, units: Units, device: torch.device, dtype: torch.dtype) -> Scale:
    low, high = ((bound - units.shift) / units.width for bound in (units.low, units.high))
    shift, width = units.shift, units.width
    if not _stays_8_bit(rows):
        shift, width = np.zeros(()), np.ones(())
    values = (torch.as_tensor(v) for v in (shift, width, low, high, units.mean, units.std))
    return Scale(*values).to(device, dtype)
