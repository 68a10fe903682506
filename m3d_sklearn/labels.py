"""Labels that are missing or of several kinds, before others stumble on them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_labels"]

WANTED = "y must hold labels of one kind, without missing ones; got"


def check_labels(y: Any) -> None:
    """Refuse missing labels, and strings beside others; the rest is scikit-learn's to check.

    A list is looked at as it came: numpy would make the string "nan" of a missing one.

    Raises
    ------
    ValueError
        Naming the first such label and its row.
    """
    dtype = getattr(y, "dtype", None)
    kind = dtype.kind if isinstance(dtype, np.dtype) else "O"
    plain = kind != "O"
    if plain and kind not in "fmM":
        return
    values = np.asarray(y) if plain else np.asarray(y, dtype=object)
    if values.ndim == 0 or values.size != len(values):
        return
    values = values.reshape(-1)
    missing = values != values if plain else np.array([_is_missing(v) for v in values], bool)
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(f"{WANTED} {values[row]} in row {row}.")
    if not plain:
        _check_kinds(values)


def _check_kinds(values: np.ndarray) -> None:
    text = np.array([isinstance(value, str) for value in values], bool)
    if text.any() and not text.all():
        row = int((text != text[0]).argmax())
        raise ValueError(f"{WANTED} {values[0]!r} in row 0 and {values[row]!r} in row {row}.")


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas's
        return True
    may_be = isinstance(value, (float, np.floating, np.datetime64, np.timedelta64))
    return may_be and bool(value != value)
