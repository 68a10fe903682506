"""Memory that condensing a file takes: python benchmarks/memory.py [--rows N] [--json FILE]

Writes N (2,000,000) images of 32×32×3 bytes to a file in a temporary folder, 3 kB each, and
condenses its memory map with each method in a process of its own. Prints the most anonymous
memory (RssAnon, read by a thread every 10 ms) above the interpreter's own after its imports.
Pages of the map are the system's to drop, and do not count. The file is deleted afterwards.
Linux alone has the figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m3d_sklearn import DMCondenser, Herding, KCenter, M3DCondenser, Random
from m3d_sklearn.benchmark.measure import give_back_memory

SHAPE = (32, 32, 3)
CLASSES = 10
METHODS = {
    "M3DCondenser": lambda: M3DCondenser(1, max_iter=5, random_state=0),
    "DMCondenser": lambda: DMCondenser(1, max_iter=5, random_state=0),
    "Herding": lambda: Herding(2),
    "KCenter": lambda: KCenter(2),
    "Random": lambda: Random(10, random_state=0),
}
DEFAULT = "M3DCondenser", "Herding", "KCenter", "Random"
EVERY = 0.01  # seconds between two looks
BLOCK = 20_000  # rows written at once
BOUND = 1e9


def labels(n: int) -> np.ndarray:
    return np.arange(n) % CLASSES


def write(path: Path, n: int) -> None:
    """Images whose brightness tells the class, n of them."""
    needed = n * int(np.prod(SHAPE))
    free = shutil.disk_usage(path.parent).free
    if free < needed + 2**30:
        raise SystemExit(f"{path.parent} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} + 1")
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *SHAPE))
    noise = rng.integers(0, 120, (BLOCK, *SHAPE), np.uint8)
    for start in range(0, n, BLOCK):
        part = labels(n)[start : start + BLOCK]
        # Another roll each time, so that no two blocks have the same rows.
        rows = np.roll(noise, (start // BLOCK) * 7, axis=1)[: len(part)]
        file[start : start + len(part)] = rows + (12 * part).astype(np.uint8)[:, None, None, None]
    file.flush()


def anonymous() -> int:
    """Bytes of this process that no file holds."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])


class Peak:
    """The most anonymous memory while a ``with`` block runs, above that at its start."""

    def __enter__(self) -> Peak:
        give_back_memory()
        self.before = self.most = anonymous()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.most, anonymous()) - self.before


def measured(method: str, path: str) -> dict[str, Any]:
    """Fit one method on the file, in this process."""
    X = np.load(path, mmap_mode="r")
    condenser = METHODS[method]()
    with Peak() as peak:
        y = labels(len(X))
        wall, cpu = time.perf_counter(), time.process_time()
        condenser.fit(X, y)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert np.isfinite(condenser.condensed_.X).all()
    return {
        "method": method,
        "params": repr(condenser),
        "rows": len(X),
        "file_mb": X.nbytes / 1e6,
        "anonymous_mb": peak.bytes / 1e6,
        "seconds": wall,
        "cpu_seconds": cpu,
        "threads": torch.get_num_threads(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }


def in_a_process(method: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--method", method, "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=DEFAULT)
    parser.add_argument("--folder", help="where the file is written for the time being")
    parser.add_argument("--json", metavar="FILE", help="add the rows to FILE as JSON lines")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.method:
        print(json.dumps(measured(options.method, options.file)))
        return []
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "X.npy"
        write(path, options.rows)
        print("| method | rows | file, MB | anonymous memory, MB | seconds |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for method in options.methods:
            row = in_a_process(method, path)
            rows.append(row)
            figures = (f"{row[key]:,.0f}" for key in ("rows", "file_mb", "anonymous_mb", "seconds"))
            print(f"| {method} | " + " | ".join(figures) + " |", flush=True)
            if options.json:
                with open(options.json, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    return rows


if __name__ == "__main__":
    worst = max((row["anonymous_mb"] * 1e6 for row in main()), default=0)
    sys.exit(f"more than {BOUND / 1e9:.0f} GB" if worst > BOUND else 0)
