"""The published figures, and what keeps one from standing beside a figure of ours.

``poster.csv`` is the table of the poster of M3D (Zhang et al., AAAI-24, arXiv 2312.15927):
accuracy in % and its standard deviation, of a ConvNet of depth 3 and width 128. The column of M3D
was measured under the protocol that is called "m3d" here, all others under "dc".
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["MEANINGS", "Published", "Setting", "published"]

WIDTH = 128
METHODS = {"whole set": "whole"}  # the rest go by their own names
ON_FEATURES = ("Herding", "KCenter")
EPOCHS = 1000
PLAIN_EPOCHS = 300  # of protocol "dc" on colour images, which it does not augment


@dataclass(frozen=True)
class Original:
    """A data set of the poster: its name there, and the size of what it was measured on."""

    name: str
    n_rows: int
    shape: tuple[int, ...]  # (h, w) or (h, w, c)


ORIGINALS = {
    "mnist": Original("MNIST", 60_000, (28, 28)),
    "fashion_mnist": Original("F-MNIST", 60_000, (28, 28)),
    "svhn": Original("SVHN", 73_257, (32, 32, 3)),
    "cifar10": Original("CIFAR-10", 50_000, (32, 32, 3)),
    "cifar100": Original("CIFAR-100", 50_000, (32, 32, 3)),
}
COPIES = {"cifar10_jpeg": "cifar10"}  # the same images with other pixels

MEANINGS = {
    "other protocol": "M3D's column was measured under protocol m3d, all others under dc; "
    "figures of two protocols do not compare",
    "other pixels": "the images here are a compressed or resized copy",
    "other rows": "the training set here has another number of rows",
    "other augmentation": "ours was asked to train with other augmentation than the protocol's",
    "other width": "the published network has width 128",
    "fewer epochs": "ours trained for fewer epochs than the protocol publishes: 1,000, or 300 "
    "for colour images under dc",
    "on pixels": "Herding and KCenter choose here by pixels, unless told otherwise; the poster's "
    "choose by the features of a trained network",
}
"""Every caveat, and what it means. The last two leave a figure worth reading, in black."""
MILD = ("fewer epochs", "on pixels")


@dataclass(frozen=True)
class Setting:
    """What of a figure of ours decides whether a published one stands beside it.

    Attributes
    ----------
    dataset, method, model : str
    ipc : int or None
        None for the whole set.
    protocol, augmentation : str or None
    width, epochs : int or None
        Of the network and its training.
    features : str or None
        What a coreset method was told to choose by.
    n_rows : int or None
        Training rows, where known.
    shape : tuple of int or None
        (h, w) or (h, w, c) of an image, where known.
    """

    dataset: str
    ipc: int | None
    method: str
    model: str
    protocol: str | None
    augmentation: str | None = "auto"
    width: int | None = WIDTH
    epochs: int | None = None
    features: str | None = None
    n_rows: int | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Published:
    """A figure of the poster in %, and why it may not compare."""

    accuracy: float
    std: float
    caveats: tuple[str, ...]

    @property
    def compares(self) -> bool:
        """Whether it stands beside ours, if with a word."""
        return all(caveat in MILD for caveat in self.caveats)


def published(ours: Setting) -> Published | None:
    """The poster's figure for a data set, an ipc and a method; None where it has none.

    Only "convnet" has published figures. Methods are matched by name.

    Examples
    --------
    >>> published(Setting("mnist", 10, "M3D", "convnet", "m3d", epochs=1000))
    Published(accuracy=97.6, std=0.1, caveats=())
    >>> published(Setting("cifar10_jpeg", 1, "DM", "convnet", "m3d")).caveats
    ('other protocol', 'other pixels')
    """
    original = ORIGINALS.get(COPIES.get(ours.dataset, ours.dataset))
    if original is None or ours.model != "convnet":
        return None
    ipc = "all" if ours.ipc is None else str(ours.ipc)
    figure = _figures().get((original.name, ipc, METHODS.get(ours.method, ours.method)))
    if figure is None:
        return None
    resized = ours.shape is not None and ours.shape != original.shape
    found = {
        "other protocol": ours.protocol != ("m3d" if ours.method == "M3D" else "dc"),
        "other pixels": ours.dataset in COPIES or resized,
        "other rows": ours.n_rows is not None and ours.n_rows != original.n_rows,
        "other augmentation": ours.augmentation != "auto",
        "other width": ours.width != WIDTH,
        "fewer epochs": ours.epochs is not None and ours.epochs < _epochs(ours, original),
        "on pixels": ours.method in ON_FEATURES and ours.features in (None, "pixels"),
    }
    return Published(*figure, tuple(caveat for caveat in MEANINGS if found[caveat]))


def _epochs(ours: Setting, original: Original) -> int:
    """Epochs that the protocol publishes for such images."""
    plain = ours.protocol == "dc" and len(original.shape) == 3
    return PLAIN_EPOCHS if plain else EPOCHS


@cache
def _figures() -> dict[tuple[str, str, str], tuple[float, float]]:
    """(accuracy, std) by (data set, ipc, method) in the poster's words."""
    text = files("m3d_sklearn.report").joinpath("poster.csv").read_text("utf-8")
    return {
        (row["dataset"], row["ipc"], row["method"]): (float(row["accuracy"]), float(row["std"]))
        for row in csv.DictReader(text.splitlines())
    }
