"""
Continual learning: a memory of condensed images
================================================

The ten digits come in five tasks of two classes. When a task is over its images are gone: what
stays is a memory of ``ipc`` images per class. After each task a network is trained afresh **on
the memory alone**, and scored on the test images of all classes seen so far.

The memory is filled in five ways: with images of the task (**Random**, **Herding**,
**KCenter**), with means of them (class-wise **k-means**) or with condensed images (**M3D**). Each
task's images are condensed by themselves, without a look at other tasks, and old sets stay as
they are. That costs M3D little: its loss has a term per class, and no term between classes. All
sets are in the values of the images that they were made from, so the memory is one array.

**How to read it.** A line a method: accuracy after each task. More classes are harder to tell
apart, so in the main it falls with any memory. The **whole set** is all training images of the
classes seen, with as many training steps: what a memory without limit would give. A network
that knew the last task alone would get about 1/k of the test images right after k tasks. Seeds
differ in the order of the classes, which all methods share, and in all random numbers; behind ±
stands the standard deviation over the seeds.

**What not to conclude.** Two digits are an easy task, and 8 by 8 pixels are few. The network is
told when tasks begin, each class comes once, and it starts anew after each task: how a network
forgets that goes on learning is another question. A condensed image is also no safe one: see
"What a condensed set is not" in the user guide.

Run it with ``python examples/continual_learning.py --out continual``. The folder then holds
``continual.png``, ``accuracies.json``, and ``memory.npz``, M3D's last memory of seed 0.
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

from m3d_sklearn import Herding, KCenter, KMeansCenters, M3DCondenser, Random, evaluate
from m3d_sklearn.datasets import load

parser = argparse.ArgumentParser(description="Class-incremental learning from a memory.")
parser.add_argument("--out", type=Path, default=Path("continual"), help="folder for the results")
parser.add_argument("--ipc", type=int, default=2, help="images per class in the memory")
parser.add_argument("--tasks", type=int, default=5, help="into which the classes are dealt")
parser.add_argument("--iterations", type=int, help="M3D's max_iter (default: its own)")
parser.add_argument("--steps", type=int, default=100, help="training steps of each network")
parser.add_argument("--networks", type=int, default=1, help="networks a task and seed")
parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
args = parser.parse_args()
iterations = "auto" if args.iterations is None else args.iterations
args.out.mkdir(parents=True, exist_ok=True)
digits = load("digits")

# %%
# What is kept of a task
# ----------------------
# ``transform()`` without an argument gives the images to train on, in the values of X.


def methods(seed):
    return {
        "Random": Random(args.ipc, random_state=seed),
        "Herding": Herding(args.ipc, random_state=seed),
        "KCenter": KCenter(args.ipc, random_state=seed),
        "k-means": KMeansCenters(args.ipc, random_state=seed),
        "M3D": M3DCondenser(args.ipc, max_iter=iterations, random_state=seed),
    }


def rows_of(classes, X, y):
    here = np.isin(y, classes)
    return X[here], y[here]


def keep(condenser, X, y):
    return (X, y) if condenser is None else condenser.fit(X, y).transform()


# %%
# One run
# -------
# ``evaluate`` takes the memory as a pair, and normalises it by its own mean and deviation: there
# are no others left.


def accuracies(condenser, seed):
    """Accuracy after each task, and the memory after the last; None keeps all images."""
    order = np.random.default_rng(seed).permutation(len(digits.class_names))
    parts, scores = [], []
    for task in np.array_split(order, args.tasks):
        parts.append(keep(condenser, *rows_of(task, digits.X_train, digits.y_train)))
        memory = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        result = evaluate(
            memory,
            *rows_of(memory[1], digits.X_test, digits.y_test),
            n_networks=args.networks,
            max_steps=args.steps,
            random_state=seed,
        )
        scores.append(result.mean)
    return scores, memory


results, memories = {}, {}
for seed in range(args.seeds):
    condensers = methods(seed)
    for name, condenser in [*condensers.items(), ("whole set", None)]:
        scores, memory = accuracies(condenser, seed)
        results.setdefault(name, []).append(scores)
        memories.setdefault(name, memory)  # the first seed's
(args.out / "accuracies.json").write_text(json.dumps(results, indent=1) + "\n")
np.savez(args.out / "memory.npz", X=memories["M3D"][0], y=memories["M3D"][1])

# %%
# The table
# ---------


def mean_and_std(values):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


parts = np.array_split(np.arange(len(digits.class_names)), args.tasks)
seen = np.cumsum([len(part) for part in parts]).tolist()
print("Accuracy in % on the test images of all classes seen so far.\n")
print(f"| {'classes seen':<12} | {' | '.join(f'{count:>10}' for count in seen)} |")
print(f"| :{'-' * 11} | {' | '.join('-' * 9 + ':' for _ in seen)} |")
for name, runs in results.items():
    cells = [mean_and_std(column) for column in 100 * np.transpose(runs)]
    print(f"| {name:<12} | {' | '.join(f'{cell:>10}' for cell in cells)} |")
memory_sizes = [len(memories[name][1]) for name in ("M3D", "whole set")]
print(
    f"\nMemory: {args.ipc} images per class, {memory_sizes[0]} in the end (whole set: "
    f"{memory_sizes[1]}). Mean ± std over the seeds ({args.seeds}):\n"
    f"networks a task and seed: {args.networks}, training steps of each: {args.steps}. "
    f"Device {condensers['M3D'].params_['device']}, "
    f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores;\n"
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# The figure
# ----------

figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
for place, ((name, runs), marker) in enumerate(zip(results.items(), "os^DPv", strict=True)):
    mean = 100 * np.mean(runs, axis=0)
    std = 100 * np.std(runs, axis=0, ddof=1) if args.seeds > 1 else np.zeros(len(seen))
    aside = 0.06 * (place - (len(results) - 1) / 2)  # error bars side by side
    look = {"color": "k", "linestyle": "--"} if name == "whole set" else {}
    ax.errorbar(np.array(seen) + aside, mean, std, marker=marker, capsize=3, label=name, **look)
ax.set_xticks(seen)
ax.set_xlabel("classes seen")
ax.set_ylabel("accuracy on the classes seen (%)")
ax.set_title(f"Digits in {args.tasks} tasks, a memory of {args.ipc} images per class")
ax.grid(color="#dddddd", linewidth=0.6)
figure.legend(loc="outside right center")
figure.savefig(args.out / "continual.png", dpi=110)
print(f"\nPicture: {args.out / 'continual.png'}")
