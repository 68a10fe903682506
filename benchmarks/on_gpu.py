"""Everything that waits for a GPU, in order of worth, in the time there is.

    python benchmarks/on_gpu.py --budget SECONDS --out FOLDER [--jobs 4] [--list]
        [--known benchmarks/results/gpu-grid.jsonl]

Runs the GPU tests, the grids of accuracies, then the speed table case by case, each as a
process of its own. What is timed runs alone, and of the rest a few side by side, so that the
GPU is not idle while a process imports and reads. Under the driver's multi-process service
(``nvidia-cuda-mps-control -d``) they share the card's units, and without it only its time. A
job that is done is not run again: FOLDER/done.jsonl says which are, and a later call goes on
with the missing ones, failed ones among them. Cells of the grids that FILE after ``--known``
has a record of are not run again either. A job that would not fit into what is left of the
budget is left for that call; one that passes the budget is stopped. Rows are in
FOLDER/speed.jsonl, FOLDER/accuracy.jsonl and FOLDER/grid (which ``python -m m3d_sklearn
report FOLDER/grid --out FILE`` turns into a page), output in FOLDER/*.log.

MNIST and CIFAR-10 are read from the folder in M3D_DATA, or ../shared/data. Any torch from
2.6 on will do; the package need not be installed (PYTHONPATH=. is set for the jobs).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTES = threading.Lock()  # of the file that says what is done
DATA = {"mnist": "mnist", "cifar10": "cifar10_jpeg"}


@dataclass(frozen=True)
class Job:
    """One command and about how long it takes on an H200.

    Attributes
    ----------
    name : str
    command : tuple of str
        After the interpreter; {out} stands for the folder.
    seconds : float
        A guess: what has to be left of the budget for it to start.
    alone : bool
        Whether nothing else may run meanwhile.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    alone: bool = False


def _speed(case: str, seconds: float) -> Job:
    command = ("benchmarks/speed.py", "--device", "cuda", "--only", case)
    return Job(f"speed {case}", (*command, "--json", "{out}/speed.jsonl"), seconds, alone=True)


def _accuracy(data: str, ipc: int, seed: int, seconds: float, *more: str) -> Job:
    cell = ("--data", data, "--ipc", str(ipc), "--seed", str(seed), *more)
    name = " ".join(["accuracy", data, str(ipc), str(seed), *more])
    return Job(name, ("benchmarks/accuracy.py", *cell, "--json", "{out}/accuracy.jsonl"), seconds)


def _grid(name: str, data: str, ipc: int, seed: int, seconds: float) -> Job:
    """The cells of a file of benchmarks/grids at one ipc and seed.

    A grid that is stopped goes on where it was: it may ask for less than it takes.
    """
    cells = ("--datasets", DATA[data], "--ipc", str(ipc), "--seed-list", str(seed))
    command = ("-m", "m3d_sklearn", "compare", *cells, "--config", f"benchmarks/grids/{name}.toml")
    return Job(f"{name} {data} {ipc} {seed}", (*command, "--quiet", "--out", "{out}/grid"), seconds)


def _trial(ipc: int, seconds: float, *words: str) -> Job:
    """A choice at ipc on held-out training images of CIFAR-10."""
    how = ("--data", "cifar10", "--ipc", str(ipc), "--networks", "3", "--steps", "5000", *words)
    command = ("benchmarks/tuning.py", *how, "--json", "{out}/trials.jsonl")
    return Job(" ".join(["trial", str(ipc), *words]), command, seconds)


# Those first that most is waiting for.
JOBS = [
    *(_grid("defaults", data, ipc, 0, 60) for ipc in (50, 10) for data in ("cifar10", "mnist")),
    # By name: collecting all tests would ask for packages that such a machine may lack.
    Job(
        "tests",
        ("-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py", "tests/core/test_devices.py"),
        140,
    ),
    _grid("transfer", "cifar10", 10, 0, 150),
    _grid("table", "cifar10", 50, 0, 100),
    # What may be better than the defaults (docs/results.md).
    _trial(10, 45),
    _trial(10, 45, "--set", "calibration=0.01"),
    _trial(10, 60, "--pool", "PART=1.0"),
    _trial(50, 60),
    _trial(50, 60, "--set", "batch_real=512"),
    _trial(50, 120, "--set", "max_iter=10000"),
    _trial(50, 60, "--set", "soft_labels=True"),
    _trial(1, 45),
    _trial(1, 45, "--pool", "PART=1.0"),
    _trial(1, 45, "--set", "calibration=0.1"),
    *(
        _grid("table", data, ipc, seed, 100)
        for seed in range(3)
        for ipc in (50, 10, 1)
        for data in ("cifar10", "mnist")
        if (data, ipc, seed) != ("cifar10", 50, 0)
    ),
    *(_grid("transfer", "cifar10", 10, seed, 150) for seed in (1, 2)),
    _grid("curve", "cifar10", 10, 0, 150),
    *(_grid("ablation", "cifar10", 10, seed, 200) for seed in range(3)),
    *(_grid("published", "mnist", 1, seed, 300) for seed in range(3)),
    *(
        _speed(case, 60)
        for case in (
            "methods",
            "cifar10-ipc10",
            "evaluate",
            "coresets",
            "mnist-ipc1",
            "mnist-ipc10",
            "cifar10-ipc1",
            "cifar10-ipc50",
            "100classes-ipc10",
            "224px-ipc10",
            "growth",
        )
    ),
    Job(
        "fused kernel",
        ("benchmarks/fused_kernel.py", "--json", "{out}/fused-kernel.jsonl"),
        40,
        alone=True,
    ),
    # The default precision against float32, the accuracy of the final sets, five seeds.
    *(
        _accuracy("cifar10", 10, seed, 60, *precision)
        for seed in range(5)
        for precision in ((), ("--precision", "float32"))
    ),
]


def done_already(folder: Path) -> set[str]:
    """Names of the jobs that have ended well."""
    file = folder / "done.jsonl"
    if not file.exists():
        return set()
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
    return {row["job"] for row in rows if row["status"] == "done"}


def recall(records: Path, folder: Path) -> None:
    """Put records of grids where their cells are looked for."""
    cells = folder / "grid" / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    for line in records.read_text("utf-8").splitlines():
        cell = cells / f"{json.loads(line)['name']}.json"
        if not cell.exists():
            cell.write_text(line + "\n", "utf-8")


def run_job(job: Job, folder: Path, limit: float) -> str:
    """Run one job; "done", "failed" or "stopped"."""
    command = [sys.executable, *(part.replace("{out}", str(folder)) for part in job.command)]
    log = folder / (job.name.replace(" ", "-").replace("/", "-") + ".log")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    data = os.environ.get("M3D_DATA", str(ROOT.parent / "shared" / "data"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "M3D_DATA": data}
    with log.open("w", encoding="utf-8") as output:
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "stopped"
    return "done" if ended.returncode == 0 else "failed"


def run(jobs: Sequence[Job], folder: Path, budget: float, side_by_side: int = 1) -> list[str]:
    """Run what is missing and fits; the names of the jobs that are left."""
    end = time.monotonic() + budget
    folder.mkdir(parents=True, exist_ok=True)
    finished = done_already(folder)
    waiting = [job for job in jobs if job.name not in finished]
    for alone, group in groupby(waiting, lambda job: job.alone):
        with ThreadPoolExecutor(1 if alone else side_by_side) as workers:
            list(workers.map(lambda job: run_if_it_fits(job, folder, end), group))
    finished = done_already(folder)
    return [job.name for job in jobs if job.name not in finished]


def run_if_it_fits(job: Job, folder: Path, end: float) -> None:
    """Run a job unless it would pass the end, and note how it went."""
    began = time.monotonic()
    if job.seconds > end - began:
        return
    status = run_job(job, folder, end - began)
    spent = time.monotonic() - began
    with NOTES, (folder / "done.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"job": job.name, "status": status, "seconds": spent}) + "\n")
        print(f"{status:8} {spent:6.0f} s  {job.name}", flush=True)


def main(arguments: list[str] | None = None, jobs: Sequence[Job] = JOBS) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, required=True, help="seconds in all")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--jobs", type=int, default=4, help="side by side, where untimed (4)")
    parser.add_argument("--known", type=Path, metavar="FILE", help="records of cells that were run")
    parser.add_argument("--list", action="store_true", help="show the jobs, and run none")
    options = parser.parse_args(arguments)
    folder = options.out.resolve()
    if options.list:
        finished = done_already(folder)
        for job in jobs:
            print(
                f"{'done' if job.name in finished else 'waits':8} {job.seconds:6.0f} s  {job.name}"
            )
        return
    if options.known is not None:
        recall(options.known, folder)
    left = run(jobs, folder, options.budget, options.jobs)
    print(f"{len(jobs) - len(left)} of {len(jobs)} jobs done; left: {', '.join(left) or 'none'}")


if __name__ == "__main__":
    main()
