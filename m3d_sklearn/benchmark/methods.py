"""Methods by name, and the references that stand beside them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.base import clone

from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.condensers import (
    CAFECondenser,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    IDMCondenser,
    KMeansCenters,
    M3DCondenser,
)
from m3d_sklearn.selection import Herding, KCenter, Random

__all__ = ["METHODS", "REFERENCES", "WHOLE", "Methods", "name_of", "resolve_methods"]

METHODS: dict[str, tuple[str, type[BaseCondenser]]] = {
    "random": ("Random", Random),
    "herding": ("Herding", Herding),
    "kcenter": ("KCenter", KCenter),
    "kmeans": ("k-means", KMeansCenters),
    "cafe": ("CAFE", CAFECondenser),
    "dc": ("DC", DCCondenser),
    "dsa": ("DSA", DSACondenser),
    "dm": ("DM", DMCondenser),
    "idm": ("IDM", IDMCondenser),
    "m3d": ("M3D", M3DCondenser),
}
REFERENCES = ("start", "kmeans", "whole")
START = " start"
WHOLE = "whole set"

Methods = str | BaseCondenser | Iterable[Any] | Mapping[str, Any]


def name_of(label: str, condenser: BaseCondenser | None) -> str | None:
    """The name that :func:`resolve_methods` turns into this label, or None."""
    if condenser is None:
        return "whole" if label == WHOLE else None
    names = {shown: (name, kind) for name, (shown, kind) in METHODS.items()}
    name, kind = names.get(label.removesuffix(START), (None, None))
    if kind is not type(condenser):
        return None
    if not label.endswith(START):
        return name
    return f"{name}-start" if _iterates(condenser) and condenser.max_iter == 0 else None


def resolve_methods(
    methods: Methods, references: Iterable[str] = ()
) -> dict[str, BaseCondenser | None]:
    """Labels and unfitted condensers; None stands for the whole set.

    Parameters
    ----------
    methods : str, condenser, list of them, or dict
        Names of METHODS, "NAME-start" for what a synthetic method begins with, "whole",
        unfitted condensers, or a dict of label to either.
    references : sequence of {"start", "kmeans", "random", "whole"}
        What stands beside them: each synthetic method's start; those methods at their
        defaults; all rows.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a label given twice, no method, or another object.
    """
    given = _given(methods)
    chosen: dict[str, BaseCondenser | None] = {}
    for label, condenser in given.items():
        wanted = "start" in references and label + START not in given
        if wanted and condenser is not None and _iterates(condenser) and condenser.max_iter != 0:
            chosen[label + START] = _start(condenser)
        chosen[label] = condenser
    for name in ("kmeans", "random"):
        label, kind = METHODS[name]
        if name in references:
            chosen.setdefault(label, kind())
    if "whole" in references:
        chosen[WHOLE] = None
    return chosen


def _given(methods: Methods) -> dict[str, BaseCondenser | None]:
    if isinstance(methods, (str, BaseCondenser)):
        methods = [methods]
    if isinstance(methods, type) or not isinstance(methods, Iterable):
        _resolve(methods)  # which says what is wanted
    if isinstance(methods, Mapping):
        chosen = {str(label): _resolve(value)[1] for label, value in methods.items()}
    else:
        pairs = [_resolve(value) for value in methods]
        chosen = dict(pairs)
        if len(chosen) < len(pairs):
            labels = [label for label, _ in pairs]
            raise ValueError(
                f"methods must have different labels; got {labels}. A dict names them: "
                "methods={'label': condenser}."
            )
    if not chosen:
        raise ValueError("methods must name at least one method; got none.")
    return chosen


def _resolve(value: Any) -> tuple[str, BaseCondenser | None]:
    if isinstance(value, BaseCondenser):
        shown = {kind: label for label, kind in METHODS.values()}
        return shown.get(type(value), type(value).__name__.removesuffix("Condenser")), clone(value)
    if not isinstance(value, str):
        came = f"the class {value.__name__}" if inspect.isclass(value) else type(value).__name__
        raise TypeError(
            f"methods must hold names ({', '.join(METHODS)}) or unfitted condensers; got {came}."
        )
    name, _, suffix = value.lower().replace("k-", "k").replace("_", "-").partition("-")
    if name == "whole" and not suffix:
        return WHOLE, None
    if name in METHODS and suffix in ("", "start"):
        label, kind = METHODS[name]
        condenser = kind()
        if not suffix:
            return label, condenser
        if _iterates(condenser):
            return label + START, _start(condenser)
    raise ValueError(
        f"methods must be of {[*METHODS, 'm3d-start', 'whole']}, or condensers; got {value!r}."
    )


def _iterates(condenser: BaseCondenser) -> bool:
    """Whether a method moves rows from a start of its own."""
    return {"init", "max_iter"} <= condenser.get_params(deep=False).keys()


def _start(condenser: BaseCondenser) -> BaseCondenser:
    return clone(condenser).set_params(max_iter=0)
