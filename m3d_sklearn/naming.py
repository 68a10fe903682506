"""Names in errors: a few of many; columns that are others than wanted, or hold no numbers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np

__all__ = ["check_columns", "check_numbers", "column_names", "few"]

SHOWN = 5  # names in an error; the rest are counted
REASON = 80  # characters of why a column holds no numbers


def few(names: Iterable[Any]) -> str:
    """The first names as a list, and how many more there are.

    Examples
    --------
    >>> from m3d_sklearn.naming import few
    >>> few("abc"), few("abcdefgh")
    ("['a', 'b', 'c']", "['a', 'b', 'c', 'd', 'e'] and 3 more")
    """
    names = list(names)
    return f"{names[:SHOWN]}{_more(names)}"


def _more(names: list[Any]) -> str:
    return f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""


def column_names(X: Any) -> tuple[Any, ...] | None:
    """Column names where X is a pandas DataFrame."""
    if type(X).__module__.partition(".")[0] == "pandas" and hasattr(X, "columns"):
        return tuple(X.columns)
    return None


def check_columns(
    given: Iterable[Any] | None, wanted: Iterable[Any] | None, name: str, owner: str
) -> None:
    """Refuse columns of other names, or in another order; None has no names to compare.

    Parameters
    ----------
    given, wanted : iterable or None
        Column names.
    name, owner : str
        In the error: the parameter, and who has the wanted names.

    Raises
    ------
    ValueError
        That shows both from the first difference on.
    """
    if given is None or wanted is None:
        return
    given, wanted, missing = list(given), list(wanted), object()
    pairs = enumerate(zip_longest(given, wanted, fillvalue=missing))
    start = next((place for place, (one, other) in pairs if one != other), None)
    if start is not None:
        raise ValueError(
            f"{name} must have the columns of {owner} in their order, {few(wanted[start:])} from "
            f"column {start} on; got {few(given[start:])}."
        )


def check_numbers(X: Any) -> None:
    """Refuse a DataFrame with columns of text, categories of text, dates and the like.

    Raises
    ------
    ValueError
        That names the columns and their dtypes.
    """
    if column_names(X) is None:
        return
    found = [
        f"{name!r} of {column.dtype}{reason}"
        for name, column in X.items()
        if (reason := _no_numbers(column)) is not None
    ]
    if found:
        raise ValueError(
            f"X must hold real numbers; got the columns {', '.join(found[:SHOWN])}{_more(found)}. "
            "Encode such columns as numbers first, with OrdinalEncoder or OneHotEncoder say."
        )


def _no_numbers(column: Any) -> str | None:
    """Why a column holds no numbers, in brackets where its dtype does not say; else None."""
    values = getattr(column.dtype, "categories", column)
    kind = getattr(values.dtype, "kind", "O")
    if kind in "biufc":
        return None
    if kind in "mM" or values is not column:
        return ""
    try:
        np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        why = str(error)
        return f" ({why if len(why) <= REASON else why[:REASON] + '...'})"
    return None
