"""Parameters in what JSON can hold, different for values that act differently."""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

from m3d_sklearn.condensed_set import CondensedSet

__all__ = ["described"]


def described(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Describe a parameter, the same in every process.

    Numbers, strings and containers stay as they are. Functions become their name with a hash
    of their code, its constants, defaults and what it closes over; classes their name, those
    made inside a function with their members; anything else (estimators, arrays, sets) a name
    and a hash of what it holds. Functions of a script or made inside another count with the
    globals that they read, modules among these by their names.

    Parameters
    ----------
    value : object
    seen : frozenset of int
        Functions and classes that are being described: one may hold itself.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): described(inner, seen) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(inner, seen) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    if inspect.ismodule(value):
        return value.__name__
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return {"partial": [described(part, seen) for part in parts]}
    if inspect.isclass(value) or inspect.isroutine(value):
        if id(value) in seen:
            return value.__qualname__
        seen |= {id(value)}
        return _class(value, seen) if inspect.isclass(value) else _function(value, seen)
    if isinstance(value, BaseEstimator):
        params = described(value.get_params(deep=False), seen)
        known = {"class": described(type(value), seen), "params": params}
        if hasattr(value, "condensed_"):  # a start that is already fitted
            known["condensed"] = described(value.condensed_, seen)
        return known
    if isinstance(value, CondensedSet):
        value = (np.asarray(value.X), np.asarray(value.y))
    kind = type(value)
    name = described(kind, seen) if _changes_unseen(kind) else kind.__name__
    return f"{name}:{joblib.hash(value)}"


def _changes_unseen(value: Any) -> bool:
    """Whether a function or class may be another one under the same name."""
    return value.__module__ == "__main__" or "<locals>" in value.__qualname__


def _class(value: type, seen: frozenset[int]) -> str:
    name = f"{value.__module__}.{value.__qualname__}"
    if not _changes_unseen(value):
        return name
    parts: list[Any] = [described(base, seen) for base in value.__bases__]
    for member, held in sorted(vars(value).items()):
        held = getattr(held, "__func__", held)  # of static and class methods
        if inspect.isroutine(held) or isinstance(held, (bool, int, float, str, tuple, list)):
            parts.append([member, described(held, seen)])
    return f"{name}:{_digest(parts)}"


def _function(value: Any, seen: frozenset[int]) -> Any:
    if inspect.ismethod(value):
        return {"method": [described(value.__func__, seen), described(value.__self__, seen)]}
    name = f"{value.__module__}.{value.__qualname__}"
    code = getattr(value, "__code__", None)
    if code is None:  # a builtin
        return name
    closed = [described(cell.cell_contents, seen) for cell in value.__closure__ or ()]
    defaults = [described(value.__defaults__, seen), described(value.__kwdefaults__, seen)]
    read = _globals(value, seen) if _changes_unseen(value) else {}
    return f"{name}:{_digest([_code(code), closed, defaults, read])}"


def _globals(function: Any, seen: frozenset[int]) -> dict[str, Any]:
    """What a function, and the code inside it, reads of its module."""
    known = function.__globals__
    return {n: _global(known[n], seen) for n in sorted(_names(function.__code__)) if n in known}


def _global(value: Any, seen: frozenset[int]) -> Any:
    try:
        return described(value, seen)
    except Exception:  # an open file, say, or a list that holds itself
        return type(value).__name__


def _names(code: types.CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if inspect.iscode(c)))


def _code(code: types.CodeType) -> list[Any]:
    """What code does, with the code inside it."""
    return [code.co_code.hex(), list(code.co_names), [_constant(c) for c in code.co_consts]]


def _constant(value: Any) -> Any:
    if inspect.iscode(value):
        return _code(value)
    if isinstance(value, frozenset):  # whose order differs from process to process
        return ["set", *sorted(map(repr, value))]
    return repr(value)


def _digest(parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()
