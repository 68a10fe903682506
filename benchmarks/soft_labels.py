"""Soft labels and hard ones on the same condensed rows of scikit-learn's digits.

    python benchmarks/soft_labels.py [--seeds 5] [--json FILE]

8×8 images, 70/30 stratified, the splits of `main_job.py`. One fit gives the rows and their
soft labels; a network is trained for the same steps on each kind and scored on the held-out
images. Prints a markdown table; ``--json`` adds the rows as JSON lines.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from main_job import FIRST_SPLIT
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from m3d_sklearn import CondensedSet, IDMCondenser, M3DCondenser, evaluate

METHODS = {"M3D, pool of 4": (M3DCondenser, {"pool": 4}), "IDM": (IDMCondenser, {})}
NETWORK_STEPS = 300  # as in main_job.py


def fitted(method: str, ipc: int, seed: int, X: np.ndarray, y: np.ndarray) -> CondensedSet:
    kind, settings = METHODS[method]
    return kind(ipc, soft_labels=True, random_state=seed, **settings).fit(X, y).condensed_


def split_rows(ipc: int, seed: int) -> list[dict[str, Any]]:
    """Both methods on one split."""
    digits, rows = load_digits(), []
    X, X_test, y, y_test = train_test_split(
        digits.images, digits.target, test_size=0.3, stratify=digits.target, random_state=seed
    )
    for method in METHODS:
        soft = fitted(method, ipc, seed, X, y)
        row = {"data": "digits 8×8", "ipc": ipc, "method": method, "seed": seed}
        own = soft.soft_labels[np.arange(len(soft)), soft.labels]
        row |= {"own class": float(own.mean())}
        for labels, condensed in {"hard": replace(soft, soft_labels=None), "soft": soft}.items():
            result = evaluate(
                condensed, X_test, y_test, n_networks=1, max_steps=NETWORK_STEPS, random_state=seed
            )
            row[labels] = result.mean
        rows.append(row | {"network steps": NETWORK_STEPS})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print a markdown table in %: mean ± standard deviation over the splits."""
    print("| ipc | method | own class | hard labels | soft labels | soft less hard |")
    print("| --- | --- | --- | --- | --- | --- |")
    for ipc, method in sorted({(row["ipc"], row["method"]) for row in rows}):
        cell = [row for row in rows if (row["ipc"], row["method"]) == (ipc, method)]
        own, hard, soft = (
            100 * np.array([r[k] for r in cell]) for k in ("own class", "hard", "soft")
        )
        texts = [f"{v.mean():.1f} ± {v.std(ddof=1):.1f}" for v in (own, hard, soft, soft - hard)]
        print("| " + " | ".join([str(ipc), method, *texts]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="splits (5)")
    parser.add_argument("--json", type=Path, help="file to add the rows to, as JSON lines")
    options = parser.parse_args()
    splits = range(FIRST_SPLIT, FIRST_SPLIT + options.seeds)
    rows = [row for ipc in (1, 10) for seed in splits for row in split_rows(ipc, seed)]
    show(rows)
    if options.json:
        with options.json.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
