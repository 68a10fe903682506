"""M3D in another precision, or on torch's own modules: one accuracy cell.

    python benchmarks/accuracy.py --data mnist --ipc 10 --seed 0 [--json FILE]

Fits once, trains networks on the set, scores the test data once; prints the row, and adds
it to FILE as a JSON line. ``--modules`` computes features by torch's own modules instead of
the engine's passes, with the same draws. MNIST and CIFAR-10 are read from the folder in
M3D_DATA, or ../shared/data. Tables of methods come from ``python -m m3d_sklearn compare``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import Any

import numpy as np
import torch
from real_data import load

from m3d_sklearn import M3DCondenser, evaluate
from m3d_sklearn.core.networks import ConvNet
from m3d_sklearn.evaluation import Evaluation


class ModulesConvNet(ConvNet):
    """ConvNet through torch's own modules on every device."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x).flatten(1)


def fitted(options: argparse.Namespace, X: np.ndarray, y: np.ndarray) -> Any:
    settings: dict[str, Any] = {}
    if options.max_iter is not None:
        settings["max_iter"] = options.max_iter
    if options.modules:
        settings["network"] = ModulesConvNet
    settings |= {"precision": options.precision, "random_state": options.seed}
    return M3DCondenser(options.ipc, **settings).fit(X, y)


def cell(options: argparse.Namespace) -> dict[str, Any]:
    X, y, X_test, y_test = load(options.data)
    started = time.perf_counter()
    condenser = fitted(options, X, y)
    seconds = time.perf_counter() - started
    result: Evaluation = evaluate(
        condenser.condensed_,
        X_test,
        y_test,
        n_networks=options.networks,
        max_steps=options.steps,
        random_state=options.seed,
        precision=options.precision,
    )
    return {
        "data": options.data,
        "method": "m3d",
        "ipc": options.ipc,
        "seed": options.seed,
        "precision": condenser.params_.get("precision"),
        "modules": options.modules,
        "iterations": getattr(condenser, "n_iter_", None),
        "accuracy": result.mean,
        "std": result.std,
        "scores": result.scores.tolist(),
        "epochs": result.epochs,
        "steps": result.steps,
        "fit_s": seconds,
        "evaluate_s": result.seconds,
        "device": condenser.params_["device"],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=["mnist", "cifar10"], required=True)
    parser.add_argument("--ipc", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--max-iter", type=int, help="in the place of the method's own")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of each network's training")
    parser.add_argument("--modules", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    row = cell(options)
    print(json.dumps(row))
    if options.json:
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
