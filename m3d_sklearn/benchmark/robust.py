r"""Scores that take out what labels and augmentation add (DD-Ranking, arXiv 2505.13300).

With accuracies as fractions, of models trained on hard labels:

.. math:: \mathrm{HLR} = a_\mathrm{real} - a_\mathrm{syn}, \quad
          \mathrm{IOR} = a_\mathrm{syn} - a_\mathrm{random}, \quad
          \mathrm{LRS} = s\left(\frac{\mathrm{IOR} - \mathrm{HLR}}{2}\right), \quad
          \mathrm{ARS} = s\left(\frac{\mathrm{IOR}_a + \mathrm{IOR}_n}{2}\right)

with augmentation (a) and without any (n), and s(α) = (e^α − e⁻¹) / (e − e⁻¹), which takes −1
to 0 and 1 to 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from m3d_sklearn.benchmark.methods import METHODS, WHOLE

__all__ = ["robust_scores"]

RANDOM = METHODS["random"][0]
AUGMENTED, PLAIN = "auto", "none"


def squashed(value: float) -> float:
    """(e^α − e⁻¹) / (e − e⁻¹)."""
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def robust_scores(table: Any) -> list[dict[str, Any]]:
    """Label-robust and augmentation-robust scores of the methods in a table.

    Parameters
    ----------
    table : DataFrame or list of dict
        What ``compare(..., robust=True)`` gave: it needs random rows, the whole set, and
        networks trained with and without augmentation.

    Returns
    -------
    list of dict
        A row a data set, ipc, method, model and protocol, of means over seeds: "hlr" and
        "ior" under the protocol's augmentation, "lrs" and "ars" from 0 to 1.

    Raises
    ------
    ValueError
        If the table lacks one of these.

    Examples
    --------
    >>> rows = [
    ...     {"dataset": "d", "model": "mlp", "protocol": "m3d", "augmentation": a,
    ...      "method": m, "ipc": i, "accuracy": v}
    ...     for a, m, i, v in [
    ...         ("auto", "Random", 1, 0.5), ("none", "Random", 1, 0.4), ("auto", "M3D", 1, 0.8),
    ...         ("none", "M3D", 1, 0.7), ("auto", "whole set", None, 0.9),
    ...     ]
    ... ]
    >>> [(r["method"], round(r["hlr"], 2), round(r["ior"], 2)) for r in robust_scores(rows)]
    [('M3D', 0.1, 0.3)]
    """
    means = _means(table.to_dict("records") if hasattr(table, "to_dict") else table)
    scores = []
    for (dataset, ipc, method, model, protocol), accuracy in means.items():
        if method in (RANDOM, WHOLE):
            continue
        random = means.get((dataset, ipc, RANDOM, model, protocol), {})
        whole = means.get((dataset, None, WHOLE, model, protocol), {})
        if not (AUGMENTED in whole and {AUGMENTED, PLAIN} <= random.keys() & accuracy.keys()):
            raise ValueError(
                f"robust scores of {method} on {dataset} at ipc {ipc} need random rows and the "
                "whole set, with and without augmentation: compare(..., robust=True)."
            )
        hlr = whole[AUGMENTED] - accuracy[AUGMENTED]
        ior, ior_plain = (accuracy[kind] - random[kind] for kind in (AUGMENTED, PLAIN))
        scores.append(
            {
                "dataset": dataset,
                "ipc": ipc,
                "method": method,
                "model": model,
                "protocol": protocol,
                "hlr": hlr,
                "ior": ior,
                "lrs": squashed((ior - hlr) / 2),
                "ars": squashed((ior + ior_plain) / 2),
            }
        )
    return scores


def _means(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, float]]:
    """Mean accuracy over seeds of every network, with and without augmentation."""
    found: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if _missing(row["accuracy"]) or row["augmentation"] not in (AUGMENTED, PLAIN):
            continue
        ipc = None if _missing(row["ipc"]) else int(row["ipc"])
        if ipc is None and row["method"] != WHOLE:
            continue
        key = row["dataset"], ipc, row["method"], row["model"], row["protocol"]
        found[key][row["augmentation"]].append(row["accuracy"])
    return {
        key: {kind: sum(values) / len(values) for kind, values in kinds.items()}
        for key, kinds in found.items()
    }


def _missing(value: Any) -> bool:
    """None, or what pandas makes of it."""
    return value is None or value != value or str(value) == "<NA>"
