"""One choice of M3D's, judged on training images that it has not seen.

    python benchmarks/tuning.py --data cifar10 --side 16 --width 64 --ipc 10 \
        --set pool=4 --set calibration=0.03 [--seeds 2] [--json FILE]

The test images are not read: 5,000 of the training images are held out, drawn once. The
rest are condensed with these settings beside the defaults, and networks of the same kind
are trained on the set and scored on the held-out ones. `--side` shrinks the images and
`--width` narrows the networks, to what two cores can compare many of. MNIST and CIFAR-10 are
read from the folder in M3D_DATA, or ../shared/data.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from real_data import load

from m3d_sklearn import Herding, KMeansCenters, M3DCondenser, __version__, evaluate
from m3d_sklearn.core.networks import ConvNet

HELD_OUT, SPLIT = 5_000, 12_345
LEARNT = {"pool": 4, "calibration": 0.03}  # as by default; a factory of a network alone has none
STARTS = {"herding": Herding, "kmeans": KMeansCenters}

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def held_out(name: str, side: int | None) -> Split:
    """Images (n, c, h, w) and labels to condense, and those to judge by."""
    X, y, _, _ = load(name)
    images = torch.from_numpy(X)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    if side is not None:
        images = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        images = images.round().clamp(0, 255).to(torch.uint8)
    order = np.random.default_rng(SPLIT).permutation(len(y))
    judge, rest = order[:HELD_OUT], order[HELD_OUT:]
    return images[rest].numpy(), y[rest], images[judge].numpy(), y[judge]


def row(options: argparse.Namespace, split: Split, seed: int) -> dict[str, Any]:
    X, y, X_judge, y_judge = split
    network = partial(ConvNet, width=options.width, depth=options.depth)
    settings = {"factor": 2, "augmentation": ["color", "crop", "cutout"], "batch_real": 64}
    settings |= {"max_iter": 300} | LEARNT | options.set
    if options.start is not None:
        rows = options.ipc * settings["factor"] ** 2
        settings["init"] = STARTS[options.start](rows, channel_axis=1).fit(X, y)
    started = time.perf_counter()
    condenser = M3DCondenser(
        options.ipc, channel_axis=1, network=network, random_state=seed, **settings
    ).fit(X, y)
    seconds = time.perf_counter() - started
    result = evaluate(
        condenser.condensed_,
        X_judge,
        y_judge,
        network=network,
        n_networks=options.networks,
        max_steps=options.steps,
        random_state=seed,
    )
    return {
        "data": options.data,
        "side": X.shape[-1],
        "width": options.width,
        "ipc": options.ipc,
        "settings": {name: str(value) for name, value in options.set.items()},
        "start": options.start,
        "seed": seed,
        "accuracy": result.mean,
        "scores": result.scores.tolist(),
        "steps": result.steps,
        "iterations": condenser.n_iter_,
        "fit_s": seconds,
        "device": condenser.params_["device"],
        "threads": torch.get_num_threads(),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def setting(text: str) -> tuple[str, Any]:
    """``name=value`` with a Python literal, or else a word."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=["mnist", "cifar10"], required=True)
    parser.add_argument("--side", type=int, help="pixels to shrink the images to")
    parser.add_argument("--width", type=int, default=128, help="of the networks")
    parser.add_argument("--depth", type=int, help="of the networks")
    parser.add_argument("--ipc", type=int, required=True)
    parser.add_argument("--set", type=setting, action="append", metavar="NAME=VALUE", default=[])
    parser.add_argument("--start", choices=STARTS, help="rows for the mosaics, not random ones")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600, help="of each network's training")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    options.set = dict(options.set)
    split = held_out(options.data, options.side)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        found = json.dumps(row(options, split, seed))
        print(found, flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(found + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
