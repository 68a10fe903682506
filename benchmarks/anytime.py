"""What a budget of seconds buys on MNIST: M3D, DM and the published loop, scored at its end.

    python benchmarks/anytime.py --json FILE --sets FOLDER [--ipc 1,10] [--seconds 10,30,100,300]
        [--threads 1] [--fit-only]
    python benchmarks/anytime.py --json FILE --picture PNG --coresets RECORDS

Every cell is a run of its own, as a user with that much time would make it: M3D and DM by
``max_time``, the published loop (benchmarks/plain.py, torch's modules) until the time is
over, all on a CPU. All start from the same mosaics. One ConvNet is trained for 1,000 steps
of 64 on each set and scored on the test images after the last. A set that FOLDER holds is
not made again, and one that FILE has a row of is not scored again, of this version and so
many threads. So a stopped call can be repeated, and sets that were made with ``--fit-only``
scored later, on a GPU say. The second form draws FILE, with dotted lines at the coresets of
RECORDS (benchmarks/grid_results.py wrote them), and prints the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from plain import PlainCondenser
from real_data import Arrays, load

from m3d_sklearn import CondensedSet, DMCondenser, M3DCondenser, __version__, evaluate

STEPS = 1000
KEY = ("method", "ipc", "seconds", "seed", "threads", "version")
Key = tuple[str, int, float, int, int, str]
CORESETS = ("Random", "Herding", "KCenter", "k-means")


def m3d(data: Arrays, ipc: int, seconds: float, seed: int) -> tuple[CondensedSet, int]:
    condenser = M3DCondenser(ipc, max_time=seconds, device="cpu", random_state=seed).fit(*data[:2])
    return condenser.condensed_, condenser.n_iter_


def dm(data: Arrays, ipc: int, seconds: float, seed: int) -> tuple[CondensedSet, int]:
    condenser = DMCondenser(ipc, factor=2, max_time=seconds, device="cpu", random_state=seed)
    condenser.fit(*data[:2])
    return condenser.condensed_, condenser.n_iter_


def published_loop(data: Arrays, ipc: int, seconds: float, seed: int) -> tuple[CondensedSet, int]:
    X, y = data[:2]
    torch.manual_seed(seed)
    images = torch.from_numpy(X)[:, None].float() / 255
    loop = PlainCondenser(images, torch.from_numpy(y), 10, ipc, batch_real=128)
    begin = M3DCondenser(ipc, max_iter=0, device="cpu", random_state=seed).fit(X, y).condensed_
    loop.stored.data.copy_(torch.from_numpy(begin.X)[:, None].float() / 255)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        loop.step()
    rows = (255 * loop.stored.detach().clamp(0, 1)).round().byte().numpy()[:, 0]
    return replace(begin, X=rows), loop.iteration


METHODS: dict[str, Callable[..., tuple[CondensedSet, int]]] = {
    "M3D": m3d,
    "DM": dm,
    "published loop": published_loop,
}


def made(data: Arrays, key: Key, folder: Path) -> tuple[CondensedSet, dict[str, Any]]:
    """The condensed set of a cell and what is to be said of its making, kept in the folder."""
    stem = "-".join(str(part).replace(" ", "_") for part in key)
    archive, about = folder / f"{stem}.npz", folder / f"{stem}.json"
    if not about.exists():
        method, ipc, seconds, seed, *_ = key
        started = time.perf_counter()
        condensed, iterations = METHODS[method](data, ipc, seconds, seed)
        row = dict(zip(KEY, key, strict=True)) | {
            "iterations": iterations,
            "fit_s": time.perf_counter() - started,
            "torch": torch.__version__,
        }
        folder.mkdir(parents=True, exist_ok=True)
        condensed.save(archive)
        about.write_text(json.dumps(row), "utf-8")
    return CondensedSet.load(archive), json.loads(about.read_text("utf-8"))


def scored(condensed: CondensedSet, row: dict[str, Any], data: Arrays) -> dict[str, Any]:
    result = evaluate(condensed, *data[2:], n_networks=1, max_steps=STEPS, random_state=row["seed"])
    return row | {"accuracy": result.mean, "steps": result.steps}


def run(options: argparse.Namespace) -> None:
    """Make the sets that the folder lacks and score those that the file lacks, shortest first."""
    known = {tuple(row[name] for name in KEY) for row in read(options.json)}
    data = load("mnist")
    for seconds in options.seconds:
        for ipc in options.ipc:
            for method in METHODS:
                key = (method, ipc, seconds, options.seed, options.threads, __version__)
                if key in known:
                    continue
                condensed, row = made(data, key, options.sets)
                if options.fit_only:
                    print(json.dumps(row), flush=True)
                    continue
                row = scored(condensed, row, data)
                print(json.dumps(row), flush=True)
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def table(rows: list[dict[str, Any]]) -> str:
    """A row a method and ipc, a column a budget: accuracy, and the iterations it paid for."""
    budgets = sorted({row["seconds"] for row in rows})
    lines = [
        "| ipc | method | " + " | ".join(f"{budget:g} s" for budget in budgets) + " |",
        "| ---: | :--- |" + " ---: |" * len(budgets),
    ]
    for ipc in sorted({row["ipc"] for row in rows}):
        for method in METHODS:
            cells = []
            for budget in budgets:
                wanted = (ipc, method, budget)
                own = [r for r in rows if (r["ipc"], r["method"], r["seconds"]) == wanted]
                cells.append(
                    f"{100 * statistics.mean(r['accuracy'] for r in own):.1f} "
                    f"({statistics.mean(r['iterations'] for r in own):.0f})"
                    if own
                    else ""
                )
            lines.append(f"| {ipc} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]], coresets: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against the budget, a panel an ipc."""
    ipcs = sorted({row["ipc"] for row in rows})
    size = (4.6 * len(ipcs) + 1.4, 3.8)
    figure, axes = plt.subplots(1, len(ipcs), figsize=size, layout="constrained", squeeze=False)
    for ax, ipc in zip(axes.flat, ipcs, strict=True):
        for place, method in enumerate(METHODS):
            own = sorted(
                (r["seconds"], 100 * r["accuracy"])
                for r in rows
                if (r["ipc"], r["method"]) == (ipc, method)
            )
            ax.plot(*zip(*own, strict=True), "o-", color=f"C{place}", label=method)
        for place, method in enumerate(CORESETS, len(METHODS)):
            scores = [
                100 * score
                for r in coresets
                if (r["spec"]["ipc"], r["spec"]["method"]) == (ipc, method)
                for score in r["scores"][0]["scores"]
            ]
            if scores:
                height = statistics.mean(scores)
                ax.axhline(height, linestyle=":", color=f"C{place}", label=method)
        ax.set_xscale("log")
        budgets = sorted({row["seconds"] for row in rows})
        ax.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        ax.minorticks_off()
        ax.set_xlabel("budget in seconds")
        ax.set_ylabel("accuracy in %")
        ax.set_title(f"MNIST, ipc {ipc}")
        ax.grid(alpha=0.3)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=110)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def durations(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--sets", type=Path, metavar="FOLDER", help="of the condensed sets")
    parser.add_argument("--fit-only", action="store_true", help="make the sets, score none")
    parser.add_argument("--ipc", type=numbers, default=[1, 10])
    parser.add_argument("--seconds", type=durations, default=[10.0, 30.0, 100.0, 300.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--picture", type=Path, metavar="PNG")
    parser.add_argument("--coresets", type=Path, metavar="RECORDS")
    options = parser.parse_args(arguments)
    if options.picture is None:
        if options.sets is None:
            parser.error("give --sets, or --picture")
        torch.set_num_threads(options.threads)
        run(options)
        return
    plt.switch_backend("agg")
    rows = read(options.json)
    if len({(row["version"], row["threads"]) for row in rows}) > 1:
        parser.error(f"{options.json} must be of one version and number of threads")
    picture(rows, read(options.coresets) if options.coresets else [], options.picture)
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
