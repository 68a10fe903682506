"""
A folder of one's own images
============================

From a folder of images to a few images per class, and back from the file. The folder holds a
folder a class, ``FOLDER/cat/*.png`` and ``FOLDER/dog/*.jpg``, which are split into training and
test images; or it has ``train`` and ``test`` beside each other, with the classes in both.
Without a folder this script writes one from scikit-learn's digits first, so that it runs
anywhere.

**How to read it.** Three lines: networks trained on as many random images, on the condensed
ones, and on the whole set of training images, with equally many training steps, scored on the
test images. Random images are what the condensed ones have to beat, and the whole set says what
there was to reach.

**What not to conclude.** The table is of one split and one seed, and in a small test set one
image is a large share. With few steps the whole set is trained on least thoroughly, and is no
strict ceiling. And condensed images are made from your images: what was private stays so.

Run it with ``python examples/own_images.py FOLDER --image-size 64 --out condensed``. A smaller
size is quicker, by the square: begin small. From 28 pixels on a stored image is a mosaic of four
smaller ones, which are cut out and up-sampled before they are used; ``sheet.png`` then shows the
mosaics, ``images`` what is cut out of them. On a GPU nothing else is to be set.

The output folder holds ``condensed.npz`` (the set, with all that is to be known about it),
``sheet.png``, and ``images/CLASS/*.png``, for eyes and other programs.
"""

import argparse
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import sklearn
import torch
from PIL import Image
from sklearn.datasets import load_digits

from m3d_sklearn import CondensedSet, M3DCondenser, Random, evaluate
from m3d_sklearn.datasets import load

parser = argparse.ArgumentParser(description="Condense a folder of images.")
parser.add_argument("folder", type=Path, nargs="?", help="of images (default: some digits)")
parser.add_argument("--out", type=Path, default=Path("condensed"), help="folder for the results")
parser.add_argument("--image-size", type=int, default=16, help="pixels a side, once read")
parser.add_argument("--ipc", type=int, default=5, help="stored images per class")
parser.add_argument("--iterations", type=int, help="M3D's max_iter (default: its own)")
parser.add_argument("--steps", type=int, default=100, help="training steps of each network")
parser.add_argument("--networks", type=int, default=1, help="networks a line")
parser.add_argument("--seed", type=int, default=0, help="of the split and of both methods")
args = parser.parse_args()
iterations = "auto" if args.iterations is None else args.iterations
args.out.mkdir(parents=True, exist_ok=True)

# %%
# A folder to begin with
# ----------------------
# Digits as PNG files of 32 pixels a side, a folder a class. Not needed where you have your own.

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write_digits(folder):
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / NAMES[label] / f"{number:04}.png"
        path.parent.mkdir(exist_ok=True)
        grey = Image.fromarray((image * 255 / 16).astype(np.uint8))
        grey.resize((32, 32), Image.Resampling.BICUBIC).save(path)


# %%
# Read it
# -------
# ``load`` resizes the shorter side to ``image_size`` and cuts the centre square out. Classes are
# numbered in the order of their names; with the names as labels, all that follows is labelled
# by them.

with tempfile.TemporaryDirectory() as temporary:
    if args.folder is None:
        write_digits(Path(temporary))
    data = load(args.folder or Path(temporary), image_size=args.image_size, random_state=args.seed)
names = np.array(data.class_names)
X_train, y_train = data.X_train, names[data.y_train]
X_test, y_test = data.X_test, names[data.y_test]
print(
    f"{'Digits' if args.folder is None else args.folder}: {len(X_train)} training and "
    f"{len(X_test)} test images of shape {X_train.shape[1:]}, {len(names)} classes.\n"
)

# %%
# Condense, and compare
# ---------------------

condenser = M3DCondenser(args.ipc, max_iter=iterations, random_state=args.seed, verbose=1).fit(
    X_train, y_train
)
condensed = condenser.condensed_
chosen = Random(args.ipc, random_state=args.seed).fit(X_train, y_train)


def accuracy(images):
    return evaluate(
        images,
        X_test,
        y_test,
        n_networks=args.networks,
        max_steps=args.steps,
        random_state=args.seed,
    )


result = accuracy(condensed)
lines = {
    "random images": (chosen.condensed_, accuracy(chosen.condensed_)),
    "M3D": (condensed, result),
    "whole set": (X_train, accuracy((X_train, y_train))),
}
print(f"| {'trained on':<13} | {'stored':>6} | {'accuracy, %':>11} |")
print(f"| :{'-' * 12} | {'-' * 5}: | {'-' * 10}: |")
for name, (stored, scored) in lines.items():
    spread = f" ± {100 * scored.std:.1f}" if args.networks > 1 else ""
    print(f"| {name:<13} | {len(stored):>6} | {f'{100 * scored.mean:.1f}{spread}':>11} |")
print(
    f"\nNetworks a line: {args.networks} {result.network}, {result.steps} training steps each. "
    f"M3D: factor {condensed.factor}, {condenser.n_iter_} iterations.\n"
    f"One split and one seed ({args.seed}). Device {condenser.params_['device']}, "
    f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores;\n"
    f"Python {platform.python_version()}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}."
)

# %%
# Write it
# --------
# The ``.npz`` holds plain arrays and loads without executing anything. The contact sheet has a
# class a row. ``decoded=True`` cuts mosaics up; where there are none it changes nothing.

path = condensed.save(args.out / "condensed.npz")
ax = condensed.plot()
ax.set_title(f"{args.ipc} stored images per class")
ax.figure.savefig(args.out / "sheet.png", dpi=160, bbox_inches="tight")
pictures = condensed.export_images(args.out / "images", decoded=True)

# %%
# Load it again
# -------------
# On another machine this is where one begins: ``decode()`` gives the images to train on, and
# their labels.

again = CondensedSet.load(path)
X_ready, y_ready = again.decode()
if not np.array_equal(X_ready, condensed.decode()[0]) or accuracy(again).mean != result.mean:
    raise SystemExit(f"{path} holds another set than the one that was written.")
print(
    f"\nFile:    {path}, {path.stat().st_size / 1024:.0f} kB, loaded again: {len(y_ready)} images "
    f"to train on, the same score.\nPicture: {args.out / 'sheet.png'}\n"
    f"Images:  {len(pictures)} in {args.out / 'images'}"
)
