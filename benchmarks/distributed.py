"""Seconds an iteration of one process, and of several that share the classes, in one run.

    OMP_NUM_THREADS=1 python benchmarks/distributed.py [--sizes 1 2] [--turns 5] [--json FILE]

Groups of processes, one of each size, take turns with fits of a few iterations of the same
random images, so that a machine's slow minutes hit all of them. Efficiency is the time of one
process over that of N, over N. What the exchange of rows costs alone is in the last column:
broadcasts of all stored rows, as a method that trains on them does once an iteration.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import socket
import statistics
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m3d_sklearn import distributed

EXCHANGES = 20
# Shape, classes, rows of each, method, and settings.
CASES: dict[str, tuple[tuple[int, ...], int, int, str, dict[str, Any]]] = {
    "M3D, MNIST, ipc 10": ((28, 28), 10, 100, "M3DCondenser", {"ipc": 10, "max_iter": 3}),
    "M3D, 100 classes": ((32, 32, 3), 100, 20, "M3DCondenser", {"ipc": 1, "max_iter": 2}),
    "DM, CIFAR-10, ipc 10": ((32, 32, 3), 10, 100, "DMCondenser", {"ipc": 10, "max_iter": 2}),
    "DC, MNIST, ipc 1": ((28, 28), 10, 100, "DCCondenser", {"ipc": 1, "max_iter": 3}),
}
SAME = {"factor": 2, "random_state": 0}


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    shape, n_classes, each, _, _ = CASES[name]
    rng = np.random.default_rng(0)
    y = np.arange(n_classes * each) % n_classes
    return rng.integers(0, 256, (len(y), *shape)).astype(np.uint8), y


def condenser(name: str) -> Any:
    import m3d_sklearn

    _, _, _, method, settings = CASES[name]
    own = {} if method != "M3DCondenser" else {"pool": 0}
    return getattr(m3d_sklearn, method)(**SAME, **settings, **own)


def serve(rank: int, size: int, port: int, pipe: Connection) -> None:
    """Fit what is asked for, in one of the processes of a group; the first one answers."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({key: str(number) for key, number in numbers.items()})
    os.environ["MASTER_ADDR"] = "localhost"
    with distributed() as ranks:
        while (name := pipe.recv()) is not None:
            X, y = data(name)
            started = time.perf_counter()
            fitted = condenser(name).fit(X, y)
            seconds = (time.perf_counter() - started) / fitted.n_iter_
            rows = torch.from_numpy(np.array(fitted.condensed_.rows(), np.float32))
            cuts = np.linspace(0, len(rows), size + 1).astype(int).tolist()
            places = [slice(a, b) for a, b in pairwise(cuts)]
            started = time.perf_counter()
            for _ in range(EXCHANGES):
                ranks.exchange_(rows, places)
            exchange = (time.perf_counter() - started) / EXCHANGES
            pipe.send((max(ranks.collect(seconds)), exchange))


def begin(size: int) -> list[Connection]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    pipes = []
    for rank in range(size):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(rank, size, port, theirs), daemon=True).start()
        pipes.append(ours)
    return pipes


def ask(group: list[Connection], name: str | None) -> tuple[float, float]:
    for pipe in group:
        pipe.send(name)
    return max(pipe.recv() for pipe in group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the rows to FILE")
    args = parser.parse_args()
    groups = {size: begin(size) for size in sorted({1, *args.sizes})}
    print("| case | processes | s per iteration | speedup | efficiency | exchange, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in CASES:
        for group in groups.values():
            ask(group, name)  # what is done once is left out
        turns = [
            {size: ask(group, name) for size, group in groups.items()} for _ in range(args.turns)
        ]
        alone = statistics.median(turn[1][0] for turn in turns)
        for size in groups:
            seconds, exchange = (statistics.median(turn[size][k] for turn in turns) for k in (0, 1))
            row = {
                "case": name,
                "processes": size,
                "turns": args.turns,
                "seconds": seconds,
                "speedup": alone / seconds,
                "exchange_seconds": exchange,
                "threads": torch.get_num_threads(),
                "processor": platform.processor() or platform.machine(),
                "torch": torch.__version__,
            }
            print(
                f"| {name} | {size} | {seconds:.3f} | {row['speedup']:.2f} | "
                f"{row['speedup'] / size:.2f} | {1e3 * exchange:.1f} |",
                flush=True,
            )
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    for group in groups.values():
        for pipe in group:
            pipe.send(None)


if __name__ == "__main__":
    main()
