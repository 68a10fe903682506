"""
Condense handwritten digits, and compare with coresets
======================================================

Scikit-learn's digits are 1,797 grey images of 8 by 8 pixels. Here 70 % of them are condensed
to 1 and to 10 images per class, in six ways:

- **Random**, **Herding** and **KCenter** keep rows of the data (coresets);
- **k-means** is ``KMeansCenters``: the centres of scikit-learn's ``KMeans``, fitted to each
  class alone;
- **M3D's start** is ``M3DCondenser(max_iter=0)``: the random rows that M3D begins with;
- **M3D** is ``M3DCondenser(ipc)`` with nothing else set.

Each set then trains a linear model, a nearest-neighbour classifier, a support vector machine
and a small convolutional network, and the other 30 % of the images score them. Every cell
gets the same seed, and every network the same number of training steps.

Run it with ``make demo``, or ``python examples/quickstart.py --out quickstart``. The folder
then holds ``quickstart.png``, a picture of the condensed sets, and ``winner.joblib``, the best
classifier trained on an M3D set.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from matplotlib.layout_engine import ConstrainedLayoutEngine
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from m3d_sklearn import (
    CondensedClassifier,
    Herding,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    Random,
    evaluate,
)
from m3d_sklearn.plotting import plot_condensed

parser = argparse.ArgumentParser(description="Condense scikit-learn's digits and compare methods.")
parser.add_argument("--out", type=Path, default=Path("quickstart"), help="folder for the results")
parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], help="images per class")
parser.add_argument("--iterations", type=int, help="M3D's max_iter (default: its own)")
parser.add_argument("--steps", type=int, default=200, help="training steps of each network")
parser.add_argument("--networks", type=int, default=1, help="networks a cell")
parser.add_argument("--seed", type=int, default=0, help="of the split and of every method")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
started = time.perf_counter()

# %%
# The data
# --------
# Images go in as they are, (n, 8, 8) with values from 0 to 16.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.3, stratify=digits.target, random_state=args.seed
)

# %%
# The methods
# -----------
# All share one interface: ``fit(X, y)``, then ``condensed_``.


def methods(ipc):
    iterations = {} if args.iterations is None else {"max_iter": args.iterations}
    return {
        "Random": Random(ipc, random_state=args.seed),
        "Herding": Herding(ipc, random_state=args.seed),
        "KCenter": KCenter(ipc, random_state=args.seed),
        "k-means": KMeansCenters(ipc, random_state=args.seed),
        "M3D's start": M3DCondenser(ipc, max_iter=0, random_state=args.seed),
        "M3D": M3DCondenser(ipc, random_state=args.seed, **iterations),
    }


# %%
# The comparison
# --------------
# ``CondensedClassifier`` joins a condenser and a classifier: it condenses the training rows and
# trains on the condensed ones alone. With ``memory`` each method is fitted once for all three
# classifiers. ``evaluate`` trains fresh networks on a condensed set.
#
# A line is printed as soon as its cells are known. The last one is trained on all rows: its
# distance to the others is what condensing costs.

CLASSIFIERS = {
    "linear": LogisticRegression(max_iter=1000),
    "1-NN": KNeighborsClassifier(1),
    "SVM": SVC(),
}
HEADER = ["ipc", "method", *CLASSIFIERS, "mean of 3", "network", "fit, s"]
WIDTHS = [4, 11, 6, 6, 6, 9, 7, 6]


def print_line(cells):
    padded = [
        cell.ljust(width) if place == 1 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    print(f"| {' | '.join(padded)} |", flush=True)


def print_scores(ipc, name, scores, network, seconds=""):
    accuracies = [*scores, np.mean(scores), network.mean]
    print_line([ipc, name, *(f"{100 * accuracy:.1f}" for accuracy in accuracies), seconds])


def flat(X):
    return X.reshape(len(X), -1)


def train_networks(condensed):
    return evaluate(
        condensed,
        X_test,
        y_test,
        n_networks=args.networks,
        max_steps=args.steps,
        random_state=args.seed,
    )


print(f"Accuracy in % on {len(X_test)} images after training on ipc images per class.\n")
print_line(HEADER)
print_line(["--:", ":--"] + ["--:"] * 6)

pairs, means, epochs = {}, {}, {}
with tempfile.TemporaryDirectory() as memory:
    for ipc in args.ipc:
        for name, method in methods(ipc).items():
            before = time.perf_counter()
            fitted = [
                CondensedClassifier(method, classifier, memory=memory, random_state=args.seed).fit(
                    X_train, y_train
                )
                for classifier in CLASSIFIERS.values()
            ]
            seconds = f"{time.perf_counter() - before:.1f}"
            scores = [pair.score(X_test, y_test) for pair in fitted]
            network = train_networks(fitted[0].condenser_.condensed_)
            print_scores(str(ipc), name, scores, network, seconds)
            pairs[ipc, name], means[ipc, name] = fitted, np.mean(scores)
            epochs[f"ipc {ipc}"] = network.epochs

scores = [
    clone(classifier).fit(flat(X_train), y_train).score(flat(X_test), y_test)
    for classifier in CLASSIFIERS.values()
]
network = train_networks((X_train, y_train))
print_scores("all", "whole set", scores, network)
epochs["whole set"] = network.epochs

print(
    f"\nnetwork: {args.networks} {network.network} of width {network.width} a cell, protocol "
    f"{network.protocol}, {network.steps} steps of up to 64 images\n"
    f"(epochs: {', '.join(f'{name}: {count}' for name, count in epochs.items())}), "
    "scored after the last step."
)
print(
    f"One split and one seed ({args.seed}). {os.cpu_count()} CPU cores, device "
    f"{pairs[args.ipc[0], 'M3D'][0].condenser_.params_['device']};\n"
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# The condensed sets
# ------------------
# A row of pictures per class, ipc of them side by side.

ipc = max(args.ipc)
names = [name for count, name in pairs if count == ipc]
spaced = ConstrainedLayoutEngine(hspace=0.05)
figure, axes = plt.subplots(2, 3, figsize=(9, 6.6), layout=spaced)
for ax, name in zip(axes.flat, names, strict=True):
    plot_condensed(pairs[ipc, name][0].condenser_.condensed_, ax=ax)
    ax.set_title(
        f"{name}: {100 * means[ipc, name]:.1f} %", weight="bold" if name == "M3D" else "normal"
    )
figure.suptitle(
    f"Digits, {len(X_train):,} images condensed to {ipc} a class, and the mean accuracy of\n"
    "a linear model, 1-NN and an SVM trained on them"
)
figure.savefig(args.out / "quickstart.png", dpi=110)
print(f"\nPicture: {args.out / 'quickstart.png'}")

# %%
# Keep the winner
# ---------------
# Of the classifiers trained on an M3D set, the one with the best accuracy on the training rows:
# the test rows choose nothing.

candidates = [pair for ipc in args.ipc for pair in pairs[ipc, "M3D"]]
winner = max(candidates, key=lambda pair: pair.score(X_train, y_train))
accuracy = winner.score(X_test, y_test)
path = args.out / "winner.joblib"
joblib.dump(winner, path)

# %%
# A new process knows nothing of this one but the file, and scores the same.

NEW_PROCESS = """
import sys
import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits()
_, X_test, _, y_test = train_test_split(
    digits.images, digits.target, test_size=0.3, stratify=digits.target,
    random_state=int(sys.argv[2]),
)
print(repr(float(joblib.load(sys.argv[1]).score(X_test, y_test))))
"""
answer = subprocess.run(
    [sys.executable, "-c", NEW_PROCESS, str(path), str(args.seed)],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
)
again = float(answer.stdout)
if again != accuracy:
    raise SystemExit(f"{path} scores {again} in a new process, and {accuracy} in this one.")
print(
    f"Winner:  {path}, {path.stat().st_size / 1024:.0f} kB: M3D at ipc "
    f"{winner.condenser_.ipc}, {type(winner.estimator_).__name__}.\n"
    f"         Accuracy {100 * accuracy:.1f} %, and {100 * again:.1f} % once loaded in a new "
    "process."
)
print(f"Done in {time.perf_counter() - started:.0f} s.")
