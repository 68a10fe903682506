"""
The poster's table, on data of your own choosing
================================================

Methods at several numbers of images per class, mean and standard deviation over seeds: the table
by which the papers of this field compare. ``compare`` runs it. Each cell is one method at one
ipc and seed: one ``fit``, and networks that are trained on the result and scored on the test
rows.

**How to read it.** Beside the methods stand what they have to beat: ``M3D start``, the rows
that M3D begins with, and class-wise ``k-means``. The ``whole set`` says what there was to
reach. All networks get the same number of training steps. The page ``report.html`` shows the
same as a table to sort, with pictures and the condensed images, and, for the data sets that the
poster of M3D has, its figures beside yours.

**What not to conclude.** A difference smaller than the deviations is none. With few steps the
whole set is trained on least thoroughly, and is no strict ceiling. The published figures are of
networks trained for 1,000 epochs or 300, and those of M3D come from another training protocol
than all others: the page marks what does not compare. ``--epochs`` trains as long as the
protocol says.

Run it with ``python examples/poster_table.py --out table``. What is in the folder is not run
again: stop it when you like, and the same command goes on from there. Other seeds, methods or
data join the same folder. The poster's own rows are
``--datasets mnist fashion_mnist svhn cifar10 cifar100 --ipc 1 10 50 --epochs``, which download
the data and want a GPU.
"""

import argparse
import os
import platform
from pathlib import Path

import sklearn
import torch

from m3d_sklearn.benchmark import compare
from m3d_sklearn.plotting import plot_ipc
from m3d_sklearn.report import write_report

parser = argparse.ArgumentParser(description="The poster's table on data of your own choosing.")
parser.add_argument("--out", type=Path, default=Path("table"), help="folder for the results")
parser.add_argument("--datasets", nargs="+", default=["digits"], help="names or folders")
parser.add_argument("--methods", nargs="+", default=["random", "herding", "kcenter", "m3d"])
parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], help="stored rows per class")
parser.add_argument("--seeds", type=int, default=2, help="how many, from 0 on")
parser.add_argument("--steps", type=int, default=200, help="training steps of each network")
parser.add_argument("--epochs", action="store_true", help="the protocol's epochs, not --steps")
parser.add_argument("--networks", type=int, default=1, help="networks a cell")
parser.add_argument("--jobs", type=int, help="cells side by side, -1 for all cores")
args = parser.parse_args()

# %%
# The comparison
# --------------
# One call. It checks everything before any work, shows a bar with the time left, and gives a
# DataFrame of a row a cell and score.

table = compare(
    args.methods,
    args.datasets,
    args.ipc,
    seeds=args.seeds,
    n_networks=args.networks,
    max_steps=None if args.epochs else args.steps,
    n_jobs=args.jobs,
    out=args.out,
    verbose=1,
)

# %%
# The table
# ---------

cells = table.groupby(["dataset", "ipc", "method"], sort=False, dropna=False)
summary = (100 * cells["accuracy"].agg(["mean", "std"])).round(1)
summary["fit, s"] = cells["fit_seconds"].mean().round(1)
summary = summary.reset_index()
summary["ipc"] = summary["ipc"].astype(object).where(summary["ipc"].notna(), "all")
print(summary.to_string(index=False, na_rep="–"))

scored = table.dropna(subset="accuracy")
models, steps, device, threads = (
    ", ".join(str(value) for value in scored[name].unique())
    for name in ("model", "steps", "device", "threads")
)
print(
    f"\nAccuracy in %, mean and standard deviation over the seeds ({args.seeds}). Networks a "
    f"cell: {args.networks} {models},\nprotocol m3d; training steps: {steps}. "
    f"Device {device}, {threads} of {os.cpu_count()} CPU cores a cell;\n"
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# Pictures and the page
# ---------------------
# The page is one file, which a browser opens without a network. It is about all that the folder
# holds.

print()
for name in scored["dataset"].unique():
    picture = args.out / f"{name}.png"
    plot_ipc(scored, dataset=name).figure.savefig(picture, dpi=110)
    print(f"Picture: {picture}")
print(f"Report:  {write_report(args.out, args.out / 'report.html')}")
