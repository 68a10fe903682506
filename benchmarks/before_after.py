"""Time of fits in this checkout beside another one, such as the commit before a change.

    git worktree add ../before HEAD~1
    python benchmarks/before_after.py --before ../before [--turns 20] [--json FILE]

Two processes, one a checkout, take turns: fits of a few iterations on the same random rows,
so that a machine's slow minutes hit both. What counts is the ratio of the medians of the
processor's seconds a fit takes, now over before, and the range in which it lies when the turns
are drawn again (2.5 to 97.5 %, bootstrap). Rows go to FILE as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]
# Shape of a row, rows, classes, method, and settings that make a fit of a second or so.
CASES: dict[str, tuple[tuple[int, ...], int, int, str, dict[str, Any]]] = {
    "table": ((30,), 2000, 10, "M3DCondenser", {"ipc": 10, "max_iter": 200}),
    "8x8": ((8, 8), 2000, 10, "M3DCondenser", {"ipc": 10, "max_iter": 20}),
    "MNIST": ((28, 28), 2000, 10, "M3DCondenser", {"ipc": 1, "max_iter": 2, "pool": 0}),
    "MNIST, pool": (
        (28, 28),
        2000,
        10,
        "M3DCondenser",
        {"ipc": 1, "max_iter": 4, "iterations_per_network": 1, "pool": 2},
    ),
    "CIFAR-10": ((32, 32, 3), 2000, 10, "M3DCondenser", {"ipc": 1, "max_iter": 10, "pool": 0}),
    "CIFAR-10, ipc 10": (
        (32, 32, 3),
        2000,
        10,
        "M3DCondenser",
        {"ipc": 10, "max_iter": 5, "pool": 0},
    ),
    "DM": ((28, 28), 2000, 10, "DMCondenser", {"ipc": 1, "max_iter": 2}),
    "Herding": ((30,), 20000, 10, "Herding", {"ipc": 20}),
}
ROUNDS = 2000


def serve() -> None:
    """Fit each case that is named on a line of the input, and answer with its seconds."""
    import m3d_sklearn

    print(m3d_sklearn.__file__, flush=True)
    rng = np.random.default_rng(0)
    for line in sys.stdin:
        shape, n, n_classes, method, settings = CASES[line.strip()]
        y = np.arange(n) % n_classes
        X = rng.integers(0, 256, (n, *shape)).astype(np.uint8 if len(shape) > 1 else np.float32)
        estimator = getattr(m3d_sklearn, method)(**settings, random_state=0)
        started = time.process_time()
        estimator.fit(X, y)
        print(time.process_time() - started, flush=True)


def start(checkout: Path) -> subprocess.Popen[str]:
    """A process that fits by the package of a checkout."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    imported = Path(server.stdout.readline().strip())
    if checkout not in imported.parents:
        raise SystemExit(f"{checkout} holds no m3d_sklearn; {imported} was imported.")
    return server


def ask(server: subprocess.Popen[str], name: str) -> float:
    server.stdin.write(f"{name}\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def ratio(before: list[float], now: list[float]) -> tuple[float, float, float]:
    """Of the medians, and the range of it over turns drawn again; a turn stays a pair."""
    pairs = np.array([before, now])
    rng = np.random.default_rng(0)
    drawn = pairs[:, rng.integers(0, pairs.shape[1], (ROUNDS, pairs.shape[1]))]
    medians = np.median(drawn, axis=2)
    low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
    whole = np.median(pairs, axis=1)
    return float(whole[1] / whole[0]), float(low), float(high)


def measure(
    servers: list[subprocess.Popen[str]], names: list[str], turns: int
) -> Iterator[dict[str, Any]]:
    for name in names:
        for server in servers:
            ask(server, name)  # what is done once is left out
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(turns):
            for k in (0, 1) if turn % 2 else (1, 0):
                seconds[k].append(ask(servers[k], name))
        now_over_before, low, high = ratio(*seconds)
        row = {
            "case": name,
            "turns": turns,
            "before_s": float(np.median(seconds[0])),
            "now_s": float(np.median(seconds[1])),
            "ratio": now_over_before,
            "ratio_low": low,
            "ratio_high": high,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "processor": platform.processor() or platform.machine(),
        }
        print(
            f"{name:12} before {row['before_s']:.3f} s  now {row['now_s']:.3f} s  "
            f"ratio {now_over_before:.3f} ({low:.3f} to {high:.3f})",
            flush=True,
        )
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="of the commit before")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the rows to FILE")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    if args.before is None:
        parser.error("--before is needed")
    servers = [start(args.before.resolve()), start(HERE)]
    for row in measure(servers, args.only, args.turns):
        if args.json:
            with args.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
    for server in servers:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
