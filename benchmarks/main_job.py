"""The main job, measured: what a user gets from the defaults.

    python benchmarks/main_job.py digits  [--json FILE]   ipc 1 and 10, 5 seeds
    python benchmarks/main_job.py tables  [--json FILE]   27 cells, 10 paired seeds
    python benchmarks/main_job.py mnist   [--json FILE]   ipc 1 on MNIST, one fit
    python benchmarks/main_job.py rates   [--json FILE]   our default and the published SGD, 1-NN
    python benchmarks/main_job.py mmd     [--json FILE]   MMD² on networks drawn afresh
    python benchmarks/main_job.py clamp   [--json FILE]   what clamping does to the momentum

Each prints a markdown table; ``--json`` adds the rows as JSON lines. MNIST is read from
the folder in M3D_DATA, or ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import real_data
import sklearn
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from m3d_sklearn import Herding, KCenter, KMeansCenters, M3DCondenser, Random, evaluate
from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.formation import mix
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.mmd import mmd2, stack_classes
from m3d_sklearn.core.networks import ConvNet, auto_network, build, embed
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools, Scale
from m3d_sklearn.core.sources import FreshNetworks

Row = dict[str, Any]
NETWORK_STEPS = 500  # the same training for every method
FIRST_SPLIT = 100


def three_classifiers(train: tuple[Any, Any], test: tuple[Any, Any]) -> list[float]:
    """Accuracy of a linear model, 1-NN and an SVM, on rows as they are."""
    (X_c, y_c), (X, y) = train, test
    X_c, X = X_c.reshape(len(X_c), -1), X.reshape(len(X), -1)
    models = (LogisticRegression(max_iter=1000), KNeighborsClassifier(1), SVC())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [float(model.fit(X_c, y_c).score(X, y)) for model in models]


def condensed_sets(X: np.ndarray, y: np.ndarray, ipc: int, seed: int) -> dict[str, Any]:
    """Every method at its defaults, and M3D's own start."""
    fitted = {
        "Random": Random(ipc, random_state=seed).fit(X, y),
        "Herding": Herding(ipc).fit(X, y),
        "KCenter": KCenter(ipc).fit(X, y),
        "k-means": KMeansCenters(ipc, random_state=seed).fit(X, y),
    }
    sets: dict[str, Any] = {name: model.condensed_ for name, model in fitted.items()}
    sets["M3D start"] = M3DCondenser(ipc, max_iter=0, random_state=seed).fit(X, y).condensed_
    started = time.perf_counter()
    sets["M3D"] = M3DCondenser(ipc, random_state=seed).fit(X, y).condensed_
    sets["seconds"] = time.perf_counter() - started
    return sets


def digits(
    seeds: int = 5,
    ipcs: tuple[int, ...] = (1, 10),
    images: bool = False,
    n_networks: int = 2,
    steps: int = NETWORK_STEPS,
) -> list[Row]:
    """Digits, 70/30 stratified, all defaults; flat rows, or 8×8 images.

    The splits begin at FIRST_SPLIT: those before it were looked at when defaults were chosen.
    """
    data = load_digits()
    X = data.images if images else data.data
    rows = []
    for ipc in ipcs:
        for seed in range(FIRST_SPLIT, FIRST_SPLIT + seeds):
            X_a, X_b, y_a, y_b = train_test_split(
                X, data.target, test_size=0.3, stratify=data.target, random_state=seed
            )
            sets = condensed_sets(X_a, y_a, ipc, seed)
            seconds = sets.pop("seconds")
            for method, condensed in sets.items():
                linear, nearest, svm = three_classifiers(condensed.decode(), (X_b, y_b))
                network = evaluate(
                    condensed, X_b, y_b, n_networks=n_networks, max_steps=steps, random_state=seed
                )
                rows.append(
                    {
                        "data": "digits 8×8" if images else "digits",
                        "ipc": ipc,
                        "method": method,
                        "seed": seed,
                        "linear": linear,
                        "1-NN": nearest,
                        "SVM": svm,
                        "mean of three": (linear + nearest + svm) / 3,
                        "network": network.mean,
                        "network steps": network.steps,
                        "fit seconds": seconds if method == "M3D" else None,
                    }
                )
    return rows


def tables(seeds: int = 10) -> list[Row]:
    """Iris, wine and breast cancer at three scales: M3D and Random, paired."""
    rows = []
    loaders = {"iris": load_iris, "wine": load_wine, "cancer": load_breast_cancer}
    for name, load in loaders.items():
        raw, y = load(return_X_y=True)
        scales = {
            "raw": raw,
            "standardised": StandardScaler().fit_transform(raw),
            "×1000": raw * 1000,
        }
        for scale, X in scales.items():
            for ipc in (1, 5, 10):
                for seed in range(seeds):
                    X_a, X_b, y_a, y_b = train_test_split(
                        X, y, test_size=0.3, stratify=y, random_state=seed
                    )
                    started = time.perf_counter()
                    m3d = M3DCondenser(ipc, random_state=seed).fit(X_a, y_a)
                    seconds = time.perf_counter() - started
                    random = Random(ipc, random_state=seed).fit(X_a, y_a)
                    for method, model in (("M3D", m3d), ("Random", random)):
                        scores = three_classifiers(model.transform(), (X_b, y_b))
                        rows.append(
                            {
                                "data": f"{name} {scale}",
                                "ipc": ipc,
                                "method": method,
                                "seed": seed,
                                "mean of three": float(np.mean(scores)),
                                "fit seconds": seconds if method == "M3D" else None,
                            }
                        )
    return rows


def rates(seeds: int = 3) -> list[Row]:
    """1-NN on held-out rows: the start, the published SGD (its rate and schedule), our default."""
    digits_data = load_digits()
    narrow = {"network": partial(ConvNet, width=8)}
    standardised = StandardScaler().fit_transform
    iris, cancer = load_iris(), load_breast_cancer()
    cases = (
        ("digits 8×8", digits_data.images, digits_data.target, 10, {}),
        ("digits 8×8, ConvNet of width 8", digits_data.images, digits_data.target, 10, narrow),
        ("digits, flat", digits_data.data, digits_data.target, 10, {}),
        ("iris standardised", standardised(iris.data), iris.target, 1, {}),
        ("cancer standardised", standardised(cancer.data), cancer.target, 10, {}),
    )
    methods = {"start": {"max_iter": 0}, "published SGD": {"optimizer": "sgd"}, "default": {}}
    rows = []
    for data, X, y, ipc, options in cases:
        for method, chosen in methods.items():
            for seed in range(seeds):
                X_a, X_b, y_a, y_b = train_test_split(
                    X, y, test_size=0.3, stratify=y, random_state=seed
                )
                model = M3DCondenser(ipc, random_state=seed, **chosen, **options).fit(X_a, y_a)
                nearest = three_classifiers(model.transform(), (X_b, y_b))[1]
                rows.append(
                    {"data": data, "ipc": ipc, "method": method, "seed": seed, "1-NN": nearest}
                )
    return rows


def paired_difference(rows: list[Row], data: str, ipc: int) -> tuple[float, float]:
    """Mean of M3D less Random over seeds, and its standard error."""
    cell = [r for r in rows if r["data"] == data and r["ipc"] == ipc]
    by_method = {
        m: np.array([r["mean of three"] for r in cell if r["method"] == m])
        for m in ("M3D", "Random")
    }
    difference = by_method["M3D"] - by_method["Random"]
    return float(difference.mean()), float(difference.std(ddof=1) / len(difference) ** 0.5)


def mnist(ipc: int = 1, seed: int = 0, n_networks: int = 2) -> list[Row]:
    """MNIST, defaults, within 15 minutes of 2 cores; every method trained for the same steps."""
    X_a, y_a, X_b, y_b = real_data.load("mnist")
    sets = condensed_sets(X_a, y_a, ipc, seed)
    seconds = sets.pop("seconds")
    rows = []
    for method, condensed in sets.items():
        result = evaluate(
            condensed, X_b, y_b, n_networks=n_networks, max_steps=NETWORK_STEPS, random_state=seed
        )
        print(f"{method}: {result}", flush=True)
        rows.append(
            {
                "data": "MNIST",
                "ipc": ipc,
                "method": method,
                "seed": seed,
                "network": result.mean,
                "network scores": result.scores.tolist(),
                "network steps": result.steps,
                "fit seconds": seconds if method == "M3D" else None,
            }
        )
    return rows


def fresh_mmd(condensed: Any, X: np.ndarray, y: np.ndarray, n_networks: int = 20) -> float:
    """Mean MMD² of a set to all of X, on networks that no run has seen."""
    units, shape = condensed.units, condensed.layout.canonical_shape
    order = np.argsort(y, kind="stable")
    real = torch.from_numpy(units.to_units(condensed.layout.to_rows(X[order])))
    mean, std = (torch.as_tensor(v, dtype=torch.float32) for v in (units.mean, units.std))
    stored, labels = condensed.to_torch()
    kernel, values = make_kernel("rbf"), []
    for seed in range(n_networks):
        stream = Stream(10**6 + seed, torch.device("cpu"))
        network = build(auto_network(shape), shape, len(condensed.classes), stream)
        with torch.no_grad():
            blocks = []
            for rows, y_rows in ((real - mean) / std, y[order]), (stored, labels.numpy()):
                counts = np.unique(y_rows, return_counts=True)[1].tolist()
                blocks.append(stack_classes(embed(network, rows), counts))
            (a, u), (b, v) = blocks
            values.append(float(mmd2(a, b, kernel, u, v).mean()))
    return float(np.mean(values))


def mmd(seed: int = 0) -> list[Row]:
    """MMD² from the start to the end of a default fit, on networks drawn afresh."""
    data = load_digits()
    rows = []
    for name, X in (("digits", data.data), ("digits 8×8", data.images)):
        for ipc in (1, 10):
            for method, options in (("M3D start", {"max_iter": 0}), ("M3D", {})):
                model = M3DCondenser(ipc, random_state=seed, **options).fit(X, data.target)
                value = fresh_mmd(model.condensed_, X, data.target)
                rows.append(
                    {"data": name, "ipc": ipc, "method": method, "seed": seed, "MMD²": value}
                )
    return rows


def clamp() -> list[Row]:
    """How far per-class momentum and the published shared one part where the clamp binds.

    MNIST, ipc 1, factor 2, 24 real images per class, 20 iterations at the published rate of 1.
    """
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from reference import gaps_at_own_turns

    X, y, _, _ = real_data.load("mnist")
    keep = np.concatenate([np.flatnonzero(y == c)[:1000] for c in range(10)])
    rows, labels = torch.from_numpy(X[keep][:, None]), torch.from_numpy(y[keep])
    own, cpu = 0.5**10, torch.device("cpu")
    recipe = Recipe([1] * 10, 2, MATCHING, 24, "sgd", 2 * (1 - own), own, "constant", 20)
    results = []
    for name, low, high in (("clamped", 0.0, 1.0), ("unclamped", -np.inf, np.inf)):
        values = (torch.tensor(v) for v in (0.0, 255.0, low, high, 0.1307, 0.3081))
        scale = Scale(*values)

        def fresh(scale: Scale = scale) -> tuple[ClassPools, FreshNetworks, Stream]:
            stream = Stream(0, cpu)
            networks = FreshNetworks("convnet", (1, 28, 28), 10, 5, stream)
            return ClassPools(rows, labels, 10, scale), networks, stream

        pools, _, stream = fresh()
        start = mix(pools.take(pools.pick([4] * 10, stream)), 2)
        mean, largest = gaps_at_own_turns(start, recipe, fresh, lr=1.0, momentum=0.5)
        results.append(
            {
                "data": "MNIST",
                "ipc": 1,
                "method": name,
                "mean gap": float(mean[-1].mean()),
                "largest gap": float(largest[-1].max()),
            }
        )
    return results


def show(rows: list[Row]) -> None:
    """Print a markdown table: mean ± standard deviation over seeds."""
    values = [k for k, v in rows[-1].items() if isinstance(v, float)]
    print("| data | ipc | method | " + " | ".join(values) + " |")
    print("| --- " * (3 + len(values)) + "|")
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["data"], row["ipc"], row["method"]), []).append(row)
    for names, cell in cells.items():
        texts = []
        for value in values:
            numbers = np.array([r[value] for r in cell if r.get(value) is not None])
            if not len(numbers):
                texts.append("–")
                continue
            if "gap" in value or value == "MMD²":
                texts.append(f"{numbers.mean():.2g}")
                continue
            scale = 1 if value == "fit seconds" else 100
            spread = f" ± {scale * numbers.std(ddof=1):.1f}" if len(numbers) > 1 else ""
            texts.append(f"{scale * numbers.mean():.1f}{spread}")
        print("| " + " | ".join([*map(str, names), *texts]) + " |")


def main() -> None:
    jobs = {
        "digits": lambda: digits() + digits(images=True, n_networks=1, steps=300),
        "tables": tables,
        "mnist": mnist,
        "rates": rates,
        "mmd": mmd,
        "clamp": clamp,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=jobs)
    parser.add_argument("--json", type=Path, help="file to add the rows to, as JSON lines")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}"
    )
    rows = jobs[arguments.job]()
    show(rows)
    if arguments.json:
        with arguments.json.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
