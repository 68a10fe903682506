"""
The poster's figure: accuracy along the iterations
==================================================

The poster of M3D draws the accuracy of the condensed set while it is being made, beside that of
DM. Here scikit-learn's digits are condensed with the two losses, from the same starts:

- **M3D**: ``M3DCondenser(kernel="rbf")``, whose loss compares whole distributions;
- **DM's loss**: ``M3DCondenser(kernel="linear")``, whose loss is the squared distance of the
  class means, and nothing else.

``kernel="linear"`` is **DM's loss within M3D's other settings** (Adam, the networks and how
often they change, the number of iterations, the start). It is not the method DM as published,
which has settings of its own. So the figure shows what the loss does, with all else equal.

**How to read it.** Left: at some iterations a fresh network is trained on the condensed set of
that moment and scored; a line is the mean over seeds, its band one standard deviation.
Iteration 0 is the start, random rows of the data. Right: the images of one class as one random
network sees them, in the plane of the real images' first two principal components. A set that
matches the class has its large marker (the mean) on the grey one, and its ellipse (the spread,
a second moment) over the grey one. Only the first of the two is what DM's loss asks for.

**What not to conclude.** A point is no shorter run: the rate falls along a cosine to the last
iteration, so a run of 30 iterations ends elsewhere than a run of 150 is at its 30th. The
right-hand picture is one class, one seed, two directions and a network of random weights. And
where bands overlap, the seeds do not tell the losses apart.

Run it with ``python examples/training_steps.py --out steps``. It needs scikit-learn 1.9 or
newer, for its callbacks. The folder then holds ``steps.png`` and ``curves.json``.
"""

import argparse
import json
import os
import platform
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch

from m3d_sklearn import M3DCondenser, evaluate
from m3d_sklearn.callbacks import AccuracyCurve
from m3d_sklearn.datasets import load
from m3d_sklearn.plotting import plot_embedding, plot_steps

KERNELS = {"M3D": "rbf", "DM's loss": "linear"}

parser = argparse.ArgumentParser(description="Accuracy along the iterations, by the loss.")
parser.add_argument("--out", type=Path, default=Path("steps"), help="folder for the results")
parser.add_argument("--ipc", type=int, default=10, help="images per class")
parser.add_argument("--iterations", type=int, default=150, help="of each run")
parser.add_argument("--points", type=int, default=6, help="iterations at which to evaluate")
parser.add_argument("--steps", type=int, default=100, help="training steps of each network")
parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
parser.add_argument("--label", type=int, default=0, help="class of the right-hand picture")
args = parser.parse_args()
if not hasattr(M3DCondenser, "set_callbacks"):
    raise SystemExit(f"This needs scikit-learn 1.9 or newer; here is {sklearn.__version__}.")
args.out.mkdir(parents=True, exist_ok=True)
X_train, y_train, X_test, y_test = load("digits")

# %%
# Follow the accuracy
# -------------------
# ``AccuracyCurve`` is a callback of scikit-learn: set on a condenser, it evaluates the condensed
# set at the iterations that it is given, and leaves the run as it is. Most happens early, so the
# iterations are spaced by factors. A callback begins after the first iteration; what is before
# it comes from ``max_iter=0``.

watched = np.unique(np.geomspace(1, args.iterations, args.points).round().astype(int)).tolist()


def start(seed):
    """The point at iteration 0, which both losses share."""
    condenser = M3DCondenser(args.ipc, max_iter=0, random_state=seed).fit(X_train, y_train)
    result = evaluate(
        condenser.condensed_,
        X_test,
        y_test,
        n_networks=1,
        max_steps=args.steps,
        random_state=seed,
    )
    return {"iteration": 0, "seconds": 0.0, "accuracy": result.mean, "std": result.std}


def follow(kernel, seed):
    """The fitted condenser, and its curve."""
    curve = AccuracyCurve(X_test, y_test, watched, max_steps=args.steps, random_state=seed)
    condenser = M3DCondenser(
        args.ipc, kernel=kernel, max_iter=args.iterations, random_state=seed
    ).set_callbacks(curve)
    return condenser.fit(X_train, y_train), curve.curve_


starts = [start(seed) for seed in range(args.seeds)]
curves, sets = {}, {}
for name, kernel in KERNELS.items():
    curves[name] = []
    for seed in range(args.seeds):
        condenser, curve = follow(kernel, seed)
        curves[name].append([starts[seed], *curve])
        sets.setdefault(name, condenser.condensed_)  # the first seed's, for the picture
(args.out / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")

# %%
# The table
# ---------


def mean_and_std(values):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


print(f"| {'iteration':>9} | {' | '.join(f'{name:>10}' for name in curves)} |")
print(f"| {'-' * 8}: | {' | '.join('-' * 9 + ':' for _ in curves)} |")
for place, iteration in enumerate([0, *watched]):
    cells = [
        mean_and_std([100 * run[place]["accuracy"] for run in runs]) for runs in curves.values()
    ]
    print(f"| {iteration:>9} | {' | '.join(f'{cell:>10}' for cell in cells)} |")

print(
    f"\nAccuracy in % on {len(X_test)} test images, mean ± std over the seeds "
    f"({args.seeds}): one network\na point, {args.steps} training steps, ipc "
    f"{args.ipc}. One split of the data.\nDevice {condenser.params_['device']}, "
    f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores; "
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# The figure
# ----------
# The axis of the iterations is spaced by factors too, and linear from 0 to 1.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
plot_steps(curves, ax=left)
left.set_xscale("symlog", linthresh=1)
left.set_xticks([0, *watched], [str(iteration) for iteration in [0, *watched]])
left.set_xticks([], minor=True)
left.set_title(f"digits, ipc {args.ipc} (seeds: {args.seeds})")
plot_embedding(X_train, y_train, sets, ax=right, label=args.label)
right.set_title(f"class {args.label} in a random network, seed 0")
figure.savefig(args.out / "steps.png", dpi=110)
print(f"\nPicture: {args.out / 'steps.png'}")
