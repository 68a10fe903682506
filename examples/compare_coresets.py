"""
A first script: M3D beside three coresets
=========================================

Scikit-learn's digits (grey images of 8 by 8 pixels) are brought down to 10 images per class in
four ways, and a support vector machine is trained on each result alone:

- **Random**, **Herding** and **KCenter** keep images of the data;
- **M3D** makes new ones, which no one has written.

**How to read it.** A line a method: the accuracy on images that neither the method nor the
classifier has seen, and the seconds of ``fit``. The last line, the whole set, is trained on all
training images: its distance to the others is what condensing costs. Each seed has a split of
the data and random numbers of its own; behind ± stands the standard deviation over the seeds.

**What not to conclude.** This is one classifier on one small data set. Others put the methods
in another order; ``quickstart.py`` has more of both, and class-wise k-means beside them.

Run it with ``python examples/compare_coresets.py --out coresets``. The folder then holds
``coresets.png``, and ``condensers.joblib`` and ``results.joblib``, from which everything
printed can be worked out again.
"""

import argparse
import os
import platform
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.svm import SVC

from m3d_sklearn import Herding, KCenter, M3DCondenser, Random
from m3d_sklearn.datasets import load
from m3d_sklearn.plotting import plot_condensed

parser = argparse.ArgumentParser(description="M3D beside three coresets, on digits.")
parser.add_argument("--out", type=Path, default=Path("coresets"), help="folder for the results")
parser.add_argument("--ipc", type=int, default=10, help="images per class")
parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
parser.add_argument("--iterations", type=int, help="M3D's max_iter (default: its own)")
args = parser.parse_args()
iterations = "auto" if args.iterations is None else args.iterations
args.out.mkdir(parents=True, exist_ok=True)

# %%
# The methods
# -----------
# All are scikit-learn estimators with one interface.


def methods(seed):
    return {
        "Random": Random(args.ipc, random_state=seed),
        "Herding": Herding(args.ipc, random_state=seed),
        "KCenter": KCenter(args.ipc, random_state=seed),
        "M3D": M3DCondenser(args.ipc, max_iter=iterations, random_state=seed),
    }


# %%
# Fit, train, score
# -----------------
# ``fit`` takes the images as they are. ``transform()`` without an argument gives the images to
# train on, with their labels. (With an argument it gives similarities, which is another thing:
# see "the trap" in the user guide.) A support vector machine wants flat rows.


def flat(images):
    return images.reshape(len(images), -1)


def accuracy(split, X, y):
    return SVC().fit(flat(X), y).score(flat(split.X_test), split.y_test)


fitted, results = {}, []
for seed in range(args.seeds):
    split = load("digits", random_state=seed)
    for name, method in methods(seed).items():
        before = time.perf_counter()
        fitted[name, seed] = method.fit(split.X_train, split.y_train)
        seconds = time.perf_counter() - before
        score = accuracy(split, *method.transform())
        results.append({"method": name, "seed": seed, "accuracy": score, "seconds": seconds})
    score = accuracy(split, split.X_train, split.y_train)
    results.append({"method": "whole set", "seed": seed, "accuracy": score, "seconds": 0.0})

# %%
# The table
# ---------


def mean_and_std(values):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


print(f"| {'method':<10} | {'accuracy, %':>11} | {'fit, s':>6} |")
print(f"| :{'-' * 9} | {'-' * 10}: | {'-' * 5}: |")
for name in dict.fromkeys(row["method"] for row in results):
    own = [row for row in results if row["method"] == name]
    shown = mean_and_std([100 * row["accuracy"] for row in own])
    seconds = np.mean([row["seconds"] for row in own])
    print(f"| {name:<10} | {shown:>11} | {f'{seconds:.1f}' if seconds else '':>6} |")

print(
    f"\nA support vector machine on {args.ipc} images per class, {len(split.X_test)} test images, "
    f"mean ± std over the\nseeds ({args.seeds}), each with its own split; M3D ran "
    f"{fitted['M3D', 0].n_iter_} iterations.\nDevice {fitted['M3D', 0].params_['device']}, "
    f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores; "
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# The images
# ----------
# A class a row. What the coresets keep are digits that somebody wrote; M3D's are drawn by the
# optimisation, from a start of random ones.

figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for ax, name in zip(axes, methods(0), strict=True):
    plot_condensed(fitted[name, 0].condensed_, ax=ax)
    ax.set_title(name)
figure.suptitle(f"Digits condensed to {args.ipc} a class (seed 0)")
figure.savefig(args.out / "coresets.png", dpi=110)

# %%
# Keep them, and load them again
# ------------------------------
# Fitted condensers are scikit-learn estimators, and joblib keeps them. Load joblib files from
# sources that you trust alone: loading one can run any program. To send a condensed set to
# somebody else there is ``condensed_.save``.

joblib.dump(fitted, args.out / "condensers.joblib")
joblib.dump(results, args.out / "results.joblib")

loaded = joblib.load(args.out / "condensers.joblib")
known = {(row["method"], row["seed"]): row for row in joblib.load(args.out / "results.joblib")}
for (name, seed), condenser in loaded.items():
    again = accuracy(load("digits", random_state=seed), *condenser.transform())
    if again != known[name, seed]["accuracy"]:
        raise SystemExit(f"{name}, seed {seed}: {again} once loaded, and not {known[name, seed]}.")
print(f"\n{len(loaded)} condensers loaded again from {args.out}: the scores agree.")
