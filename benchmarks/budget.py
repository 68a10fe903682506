"""A grid for a budget of time as docs/results.md shows it: M3D beside every other method.

    python benchmarks/budget.py FOLDER [FOLDER ...] --json FILE
    python benchmarks/budget.py --json FILE

The first form writes the records of results folders to FILE, a line each; both print FILE's
table. Accuracies are over all networks of all seeds; a difference comes with its standard
error, from the spread of the networks of either method. Records of several data sets, versions
or parameters are refused: a figure is of one of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from m3d_sklearn.benchmark import ResultsFolder

OURS = "M3D"

# What the specs of one table's records differ in.
APART = {"seed", "ipc", "method", "estimator", "params", "device"}

Record = dict[str, Any]


def refuse_mixed(records: list[Record], apart: set[str]) -> None:
    """Raise a ValueError where specs differ in more than what is told apart."""
    found: dict[str, set[str]] = {}
    for record in records:
        spec = dict(record["spec"])
        spec["params"] = (spec.get("params") or {}) | {"random_state": None}  # the seed once more
        for name in spec.keys() - apart:
            found.setdefault(name, set()).add(json.dumps(spec[name], sort_keys=True))
    mixed = sorted(name for name, values in found.items() if len(values) > 1)
    if mixed:
        methods = sorted({record["spec"]["method"] for record in records})
        raise ValueError(f"records of {', '.join(methods)} differ in {', '.join(mixed)}.")


def accuracies(records: list[Record]) -> list[float]:
    """In percent, of every network of every seed."""
    return [100 * one for r in records for kind in r["scores"] for one in kind["scores"]]


def spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def ahead(ours: list[float], others: list[float]) -> str:
    """By how much, and the standard error of that."""
    gap = f"{statistics.mean(ours) - statistics.mean(others):+.2f}"
    if min(len(ours), len(others)) < 2:
        return gap
    error = sum(statistics.variance(values) / len(values) for values in (ours, others)) ** 0.5
    return f"{gap} ± {error:.2f}"


def between(values: list[int]) -> str:
    low, high = (f"{value:,}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def table(records: list[Record]) -> str:
    """A row a method and ipc, the best last."""
    lines = [
        "| ipc | method | accuracy | M3D is ahead by | seeds × networks | iterations | fit, s |",
        "| ---: | :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    done = [record for record in records if record["status"] == "done"]
    refuse_mixed(done, APART)
    for ipc in sorted({record["spec"]["ipc"] for record in done}):
        methods: dict[str, list[Record]] = {}
        for record in done:
            if record["spec"]["ipc"] == ipc:
                methods.setdefault(record["spec"]["method"], []).append(record)
        ours = accuracies(methods.get(OURS, []))
        for name, own in sorted(methods.items(), key=lambda m: statistics.mean(accuracies(m[1]))):
            refuse_mixed(own, {"seed"})
            found = accuracies(own)
            iterations = [r["fit"].get("n_iter") for r in own]
            cells = [
                ipc,
                name,
                spread(found),
                ahead(ours, found) if ours and name != OURS else "–",
                f"{len(own)} × {len(found) // len(own)}",
                "–" if None in iterations or not any(iterations) else between(iterations),
                f"{statistics.mean(r['fit']['seconds'] for r in own):.0f}",
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.folders:
        records = [r for folder in options.folders for r in ResultsFolder(folder).records()]
        options.json.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    print(table([json.loads(line) for line in options.json.read_text("utf-8").splitlines()]))


if __name__ == "__main__":
    main(sys.argv[1:])
