"""Speed and memory of the engine beside the published loop, in one run.

    python benchmarks/speed.py [--quick] [--json FILE] [--only CASE ...] [--precision bfloat16]

Each case alternates a few iterations of the plain loop (benchmarks/plain.py) with as many
of the engine's, and compares the medians: a machine's slow minutes hit both. Warm-up, and
compiling, are left out. ``--quick`` is MNIST's shapes alone, under 3 minutes on 2 cores.
Images are random: time does not depend on what they show. Rows go to FILE as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from plain import PlainCondenser, plain_convnet, plain_training
from speed_cases import CASES, CIFAR, GROWTH, LARGE_ON, QUICK, Case, Engine, images_of
from speed_methods import Method, PlainMethod
from speed_methods import rows as method_rows

from m3d_sklearn.benchmark import measure
from m3d_sklearn.core.coresets import herd, k_center
from m3d_sklearn.core.cpu.convnet import Passes, compiled_passes
from m3d_sklearn.core.devices import (
    PRECISIONS,
    is_accelerator,
    resolve_device,
    resolve_precision,
)
from m3d_sklearn.core.networks import build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.training import PROTOCOLS, TrainingRecipe, train

Row = dict[str, Any]
PAPER_ITERATIONS = 10_000
FORMS = ("eager", "compiled")
LOOKS = 40  # at the clock in one run on a GPU


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def alternate(
    runs: dict[str, Callable[[int], Any]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Median seconds per iteration of each, in turns of about a second."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    each = {}
    for name, run in runs.items():
        for _ in range(2):  # the first compiles
            once = seconds(lambda run=run: run(1), device)
        each[name] = max(1, min(50, int(1 / once)))
    for _ in range(rounds):
        for name, run in runs.items():
            spent = seconds(lambda run=run, name=name: run(each[name]), device)
            times[name].append(spent / each[name])
    return {name: statistics.median(values) for name, values in times.items()}


def counted(case: Case) -> tuple[float, float]:
    """FLOP and bytes of an iteration's passes, as published: direct convolutions in float32.

    Bytes are those of a block's activations, each written and read once, forward, and twice
    more for a gradient.
    """
    network, x = plain_convnet(case.shape, case.n_classes), torch.zeros(1, *case.shape)
    flop = values = 0
    for layer in network:
        y = layer(x)
        if isinstance(layer, torch.nn.Conv2d):
            flop += 2 * layer.weight.numel() * y.shape[2] * y.shape[3]
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.AvgPool2d)):
            values += y.numel()
        x = y
    real, decoded = case.n_classes * case.batch_real, case.n_classes * min(4 * case.ipc, 200)
    return flop * (real + 2 * decoded), 4 * 2 * values * (real + 3 * decoded)


def peak_memory(case: Case, device: torch.device) -> float | None:
    """MB that the loop takes beside the data, in a process of its own on a CPU."""
    about = case, device, torch.get_num_threads()
    if is_accelerator(device):
        return _peak_here(*about)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, about)


def _peak_here(case: Case, device: torch.device, threads: int) -> float | None:
    torch.set_num_threads(threads)
    engine = Engine(case, device, "eager")
    with measure.measured(device) as cost:
        engine.run(2)
    return cost.peak_mb


def rates(device: torch.device) -> Row:
    """Matrix products and copies of this machine in this run, the ceilings."""
    n = 8192 if is_accelerator(device) else 2048
    row: Row = {"case": "rates"}
    dtypes = {"float32": torch.float32}
    if is_accelerator(device):  # a CPU without units for it takes minutes
        dtypes["bfloat16"] = torch.bfloat16
    for name, dtype in dtypes.items():
        a = torch.randn(n, n, device=device).to(dtype)
        spent = alternate({"": lambda k, a=a: [a @ a for _ in range(k)]}, 5, device)[""]
        row[f"{name}_tflops"] = 2 * n**3 / spent / 1e12
    x = torch.randn(2**28 if is_accelerator(device) else 2**25, device=device)
    y = torch.empty_like(x)
    spent = alternate({"": lambda k: [y.copy_(x) for _ in range(k)]}, 5, device)[""]
    row["copy_gbs"] = 2 * 4 * len(x) / spent / 1e9
    return row


def condensing(case: Case, device: torch.device) -> Row:
    """One case: the plain loop, the engine without a compiler, and on a CPU with one."""
    runs: dict[str, Callable[[int], Any]] = {}
    if case.plain:
        images, labels = images_of(case, device)
        plain = PlainCondenser(
            images.float() / 255, labels, case.n_classes, case.ipc, case.batch_real
        )
        runs["plain"] = lambda k: [plain.step() for _ in range(k)]
    engine = Engine(case, device, "eager")
    if is_accelerator(device):
        spent = alternate(runs, case.rounds, device) if runs else {}
        spent["eager"] = _interval_seconds(engine.run, 10 * LOOKS, every=10)
    else:
        runs["eager"] = engine.run
        if case.plain:
            runs["compiled"] = Engine(case, device, "compiled").run
        spent = alternate(runs, case.rounds, device)
    ours = min(spent.get("compiled", spent["eager"]), spent["eager"])
    flop, moved = counted(case)
    row: Row = {
        "case": case.name,
        "precision": str(engine.recipe.precision).removeprefix("torch."),
        "plain_s": spent.get("plain"),
        "eager_s": spent["eager"],
        "compiled_s": spent.get("compiled"),
        "ours_s": ours,
        "iterations_per_s": 1 / ours,
        "paper_run_s": ours * PAPER_ITERATIONS,
        "tflops": flop / ours / 1e12,
        "gbs": moved / ours / 1e9,
        "peak_mb": peak_memory(case, device),
    }
    if case.plain:
        row["ratio"] = spent["plain"] / ours
        row["eager_ratio"] = spent["plain"] / spent["eager"]
    return row


def of_methods(device: torch.device, case: Case) -> Iterator[Row]:
    """Every other method's iteration at one shape, beside its plain loop."""

    def run(method: Method) -> tuple[float, float]:
        images, labels = images_of(case, device)
        shape = (images.float() / 255, labels, case.n_classes, case.ipc, case.batch_real)
        loop = PlainMethod(method, *shape)
        runs: dict[str, Callable[[int], Any]] = {"plain": lambda k: [loop.step() for _ in range(k)]}
        engine = Engine(case, device, "eager", method)
        if is_accelerator(device):
            spent = alternate(runs, case.rounds, device)
            return spent["plain"], _interval_seconds(engine.run, 10 * LOOKS, every=10)
        spent = alternate(runs | {"eager": engine.run}, case.rounds, device)
        return spent["plain"], spent["eager"]

    yield from method_rows(run)


def evaluating(device: torch.device, n_networks: int = 5) -> Row:
    """CIFAR-10 at ipc 10: five networks on 400 images, 7 steps an epoch."""
    images = torch.rand(400, *CIFAR, device=device)
    labels = torch.arange(400, device=device) % 10
    protocol = PROTOCOLS["m3d"]
    recipe = TrainingRecipe(
        steps=0,
        batch_size=64,
        policy=protocol.policies[1],
        cutmix=protocol.cutmix,
        precision=resolve_precision("auto", device),
    )
    streams = [Stream(seed, device) for seed in range(n_networks)]
    networks = [build("convnet", CIFAR, 10, stream) for stream in streams]

    def ours(form: str, steps: int, watch: Callable[..., bool] | None = None) -> None:
        for network in networks:
            network.passes = compiled_passes() if form == "compiled" else Passes()
        own = replace(recipe, steps=steps)
        train(networks, images.__getitem__, labels, own, streams, CIFAR, watch)

    def plain(k: int) -> None:
        plain_training(images, labels, 10, n_networks, k)

    if is_accelerator(device):
        spent = alternate({"plain": plain}, 3, device)
        spent["eager"] = _interval_seconds(partial(ours, "eager"), 7 * LOOKS, every=7)
    else:
        runs = {form: partial(ours, form) for form in FORMS}
        spent = alternate({"plain": plain, **runs}, 3, device)
    best = min(spent.get("compiled", spent["eager"]), spent["eager"])
    return {
        "case": f"evaluate-{n_networks}networks",
        "plain_s": spent["plain"],
        "eager_s": spent["eager"],
        "compiled_s": spent.get("compiled"),
        "ours_s": best,
        "ratio": spent["plain"] / best,
        "eager_ratio": spent["plain"] / spent["eager"],
        "thousand_epochs_s": 7_000 * best,
    }


def _interval_seconds(run: Callable[..., None], steps: int, every: int) -> float:
    """Median seconds of a step on a GPU within one run, whose first steps are recorded.

    `run` is given steps, and a watcher that it calls after every `every` steps or more often.
    """
    ends, calls = [], 0

    def watch(*_: Any) -> bool:
        nonlocal calls
        calls += 1
        if every == 7 or calls % every == 0:  # trainings look once an epoch of 7 steps
            torch.cuda.synchronize()
            ends.append(time.perf_counter())
        return False

    run(steps, watch)
    return statistics.median(after - before for before, after in pairwise(ends[5:])) / every


def coresets(device: torch.device) -> Iterator[Row]:
    """One class of 50,000 rows of 2,048 features, 50 of them chosen."""
    features = torch.randn(50_000, 2_048, device=device)
    for name, rule in (("herding", herd), ("kcenter", k_center)):
        rule(features[:1000], 5)
        yield {
            "case": f"{name}-50000x2048-k50",
            "ours_s": seconds(lambda r=rule: r(features, 50), device),
        }


def names(kind: str) -> set[str]:
    """What ``--only`` knows."""
    cases = {case.name for case in (*CASES, LARGE_ON[kind], *GROWTH)}
    return cases | {"growth", "evaluate", "coresets", "methods"}


def measured(
    device: torch.device, quick: bool, only: list[str], precision: str = "auto"
) -> Iterator[Row]:
    """All rows, the most wanted first."""

    def wanted(*names: str) -> bool:
        return not only or not set(names).isdisjoint(only)

    def condensed(case: Case) -> Row:
        return condensing(replace(case, precision=precision), device)

    yield rates(device)
    if quick:
        yield from map(condensed, QUICK)
        return
    for case in (*CASES, LARGE_ON[device.type]):
        if wanted(case.name):
            yield condensed(case)
    if wanted("evaluate"):
        yield evaluating(device)
    if wanted("methods"):
        yield from of_methods(device, Case("", CIFAR, 10, 10, rounds=3))
    if wanted("coresets"):
        yield from coresets(device)
    for case in GROWTH:
        if wanted("growth", case.name):
            yield condensed(case)


def machine(device: torch.device) -> Row:
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    account = Path("/proc/cpuinfo")
    lines = account.read_text().splitlines() if account.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def shown(row: Row) -> str:
    values = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
        if value is not None and key not in ("hardware", "python", "torch", "device", "threads")
    ]
    return "  ".join(values)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="MNIST's shapes alone")
    parser.add_argument("--json", metavar="FILE", help="add the rows to FILE as JSON lines")
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--precision", choices=["auto", *PRECISIONS], default="auto", help="of the engine's passes"
    )
    options = parser.parse_args(arguments)
    device = resolve_device(options.device)
    print(json.dumps(machine(device)))
    ceilings: Row = {}
    for row in measured(device, options.quick, options.only, options.precision):
        if row["case"] == "rates":
            ceilings = {key: row[key] for key in row if key.endswith(("_tflops", "_gbs"))}
        row = row | ceilings | machine(device)
        print(shown(row), flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
