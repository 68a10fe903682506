"""Names in errors: a few of many, and columns that are others than wanted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

__all__ = ["check_columns", "few"]

SHOWN = 5  # names in an error; the rest are counted


def few(names: Iterable[Any]) -> str:
    """The first names as a list, and how many more there are.

    Examples
    --------
    >>> from m3d_sklearn.naming import few
    >>> few("abc"), few("abcdefgh")
    ("['a', 'b', 'c']", "['a', 'b', 'c', 'd', 'e'] and 3 more")
    """
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{names[:SHOWN]}{more}"


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
