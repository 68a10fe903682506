"""One choice of M3D's, judged on training images that it has not seen.

    python benchmarks/tuning.py --data cifar10 --side 16 --width 64 --ipc 10 \
        --set pool=4 --set calibration=0.03 [--seeds 2] [--json FILE]
    python benchmarks/tuning.py --data mnist --ipc 1 --seconds 120 --set pool=0 [--method dm]
    python benchmarks/tuning.py --table FILE

The test images are not read: 5,000 of the training images are held out, drawn once. The
rest are condensed with these settings beside the defaults, and networks of the same kind
are trained on the set and scored on the held-out ones. `--side` shrinks the images and
`--width` narrows the networks, to what two cores can compare many of in 300 iterations each.
Without `--side` it is the images as they are, the library's own defaults and its ConvNet, for
so many seconds or iterations. With ``--set soft_labels=True`` networks are also trained on the
set's hard labels. MNIST and CIFAR-10 are read from the folder in M3D_DATA, or
../shared/data. The last form prints FILE's rows as a table: each choice beside the defaults,
by the seeds that both have.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import statistics
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from real_data import load

from m3d_sklearn import DMCondenser, Herding, KMeansCenters, M3DCondenser, __version__, evaluate
from m3d_sklearn.condensers import _pool
from m3d_sklearn.core.networks import ConvNet

HELD_OUT, SPLIT = 5_000, 12_345
METHODS = {"m3d": M3DCondenser, "dm": DMCondenser}
SHRUNK = {  # the defaults of larger images; a factory of a network has no pool of its own
    "factor": 2,
    "augmentation": ["color", "crop", "cutout"],
    "batch_real": 64,
    "max_iter": 300,
    "pool": 4,
    "calibration": 0.03,
}
STARTS = {"herding": Herding, "kmeans": KMeansCenters}
DEFAULTS = "defaults"

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def held_out(
    name: str, side: int | None, classes: list[int] | None = None, most: int | None = None
) -> Split:
    """Images (n, c, h, w) and labels to condense, and those to judge by."""
    X, y, _, _ = load(name)
    images = torch.from_numpy(X)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    if side is not None:
        images = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        images = images.round().clamp(0, 255).to(torch.uint8)
    order = np.random.default_rng(SPLIT).permutation(len(y))
    parts = order[:HELD_OUT], order[HELD_OUT:]
    if classes is not None:
        parts = tuple(part[np.isin(y[part], classes)] for part in parts)
    judge, rest = parts[0], parts[1][:most]
    return images[rest].numpy(), y[rest], images[judge].numpy(), y[judge]


def row(options: argparse.Namespace, split: Split, seed: int) -> dict[str, Any]:
    X, y, X_judge, y_judge = split
    network, settings = "auto", {}
    make = partial(METHODS[options.method], options.ipc, channel_axis=1, random_state=seed)
    if options.side is not None:
        network = partial(ConvNet, width=options.width, depth=options.depth)
        known = make().get_params()
        settings = {name: value for name, value in SHRUNK.items() if name in known}
        settings["network"] = network
    settings |= {"max_time": options.seconds} | options.set
    if options.start is not None:
        start = make(**settings | {"max_iter": 0, "max_time": None}).fit(X, y).condensed_
        rows = options.ipc * start.factor**2
        settings["init"] = STARTS[options.start](rows, channel_axis=1).fit(X, y)
    started = time.perf_counter()
    condenser = make(**settings).fit(X, y)
    seconds = time.perf_counter() - started
    training = {
        "network": network,
        "n_networks": options.networks,
        "max_steps": options.steps,
        "random_state": seed,
    }
    condensed, hard = condenser.condensed_, None
    result = evaluate(condensed, X_judge, y_judge, **training)
    if condensed.soft_labels is not None:
        hard = evaluate(replace(condensed, soft_labels=None), X_judge, y_judge, **training)
    return {
        "data": options.data,
        "method": options.method,
        "seconds": options.seconds,
        "side": X.shape[-1],
        "width": options.width if options.side else condenser.params_.get("width", options.width),
        "classes": options.classes,
        "images": options.images,
        "ipc": options.ipc,
        "settings": {name: str(value) for name, value in options.set.items()},
        "start": options.start,
        "pool": {name: str(value) for name, value in options.pool},
        "seed": seed,
        "accuracy": result.mean,
        "scores": result.scores.tolist(),
        "hard_labels": None if hard is None else hard.mean,
        "steps": result.steps,
        "iterations": condenser.n_iter_,
        "fit_s": seconds,
        "device": condenser.params_["device"],
        "threads": torch.get_num_threads(),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A line a choice: its accuracy, and by how much it differs from the defaults' and costs."""
    lines = [
        "| data | ipc | choice | accuracy | beside the defaults | time of a fit | seeds |",
        "| :--- | ---: | :--- | ---: | ---: | ---: | ---: |",
    ]
    groups: dict[tuple[Any, ...], dict[str, dict[int, dict[str, Any]]]] = {}
    for found in rows:
        classes = found.get("classes")
        shown = (
            *(found[name] for name in ("data", "side", "width", "ipc")),
            *(found.get(name) for name in ("seconds", "images")),
            None if classes is None else tuple(classes),
        )
        groups.setdefault(shown, {}).setdefault(choice(found), {})[found["seed"]] = found
    for (data, side, width, ipc, seconds, images, classes), choices in groups.items():
        kind = f"{data}, {side} px, width {width}"
        kind += "" if seconds is None else f", {seconds:g} s"
        kind += "" if images is None else f", {images:,} images"
        kind += "" if classes is None else f", classes {', '.join(map(str, classes))}"
        for name, own in choices.items():
            accuracy = [100 * found["accuracy"] for found in own.values()]
            lines.append(
                f"| {kind} | {ipc} | {name} | {spread(accuracy)} | "
                f"{beside(own, choices.get(DEFAULTS, {}))} | {len(own)} |"
            )
    return "\n".join(lines)


def choice(found: dict[str, Any]) -> str:
    settings = [f"{name}={value}" for name, value in found["settings"].items()]
    settings = ([] if found.get("method", "m3d") == "m3d" else [found["method"]]) + settings
    start = [] if found["start"] is None else [f"start: {found['start']}"]
    pool = [f"the pool's {name}={value}" for name, value in found.get("pool", {}).items()]
    return ", ".join(settings + start + pool) or DEFAULTS


def beside(own: dict[int, dict[str, Any]], default: dict[int, dict[str, Any]]) -> str:
    """Mean difference in accuracy with its standard error, and ratio of the seconds."""
    shared = sorted(own.keys() & default.keys())
    if own is default or not shared:
        return "– | –"
    gaps = [100 * (own[seed]["accuracy"] - default[seed]["accuracy"]) for seed in shared]
    seconds = [own[seed]["fit_s"] / default[seed]["fit_s"] for seed in shared]
    error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else None
    shown = f"{statistics.mean(gaps):+.1f}" + ("" if error is None else f" ± {error:.1f}")
    return f"{shown} | ×{statistics.mean(seconds):.1f}"


def spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def setting(text: str) -> tuple[str, Any]:
    """``name=value`` with a Python literal, or else a word."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=["mnist", "cifar10"])
    parser.add_argument("--method", choices=METHODS, default="m3d")
    parser.add_argument("--seconds", type=float, help="of a fit")
    parser.add_argument("--side", type=int, help="pixels to shrink the images to")
    parser.add_argument("--classes", type=int, nargs="+", help="that are condensed, not all")
    parser.add_argument("--images", type=int, help="that are condensed at most")
    parser.add_argument("--width", type=int, default=128, help="of the networks")
    parser.add_argument("--depth", type=int, help="of the networks")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--set", type=setting, action="append", metavar="NAME=VALUE", default=[])
    parser.add_argument("--start", choices=STARTS, help="rows for the mosaics, not random ones")
    parser.add_argument(
        "--pool",
        type=setting,
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="a constant of m3d_sklearn/condensers/_pool.py",
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600, help="of each network's training")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--table", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if (options.table is None) == (options.data is None):
        parser.error("give --data to judge a choice, or --table to show what was judged")
    if options.table is not None:
        lines = options.table.read_text("utf-8").splitlines()
        print(table([json.loads(line) for line in lines]))
        return
    options.set = dict(options.set)
    for name, value in options.pool:
        if not hasattr(_pool, name):
            parser.error(f"--pool must name a constant of _pool.py; got {name!r}")
        setattr(_pool, name, value)
    split = held_out(options.data, options.side, options.classes, options.images)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        found = json.dumps(row(options, split, seed))
        print(found, flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(found + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
