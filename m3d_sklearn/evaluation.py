"""evaluate(): fresh networks trained on a condensed set, scored on held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import nn
from tqdm.auto import tqdm

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral, Interval
from m3d_sklearn.classifier import SEEDS, NetworkClassifier, check_outputs, make_recipe
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.devices import resolve_device, resolve_precision
from m3d_sklearn.core.distributed import ranks, share_out
from m3d_sklearn.core.networks import auto_network, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.training import predict_logits, train
from m3d_sklearn.device_rows import device_rows
from m3d_sklearn.held_out import held_out
from m3d_sklearn.layout import Units, row_blocks
from m3d_sklearn.row_source import LazyRows

__all__ = ["Evaluation", "as_condensed_set", "evaluate", "held_out"]


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of networks trained on a condensed set: last epoch, every run.

    Attributes
    ----------
    scores : ndarray of shape (n_networks,)
        Accuracy of each network.
    mean, std : float
        Of the scores; the standard deviation is the sample's (n − 1).
    network, protocol : str
    epochs, steps : int
        Passes over the decoded rows, and batches, of each training.
    width : int or None
        Of the network, where it says.
    n_train : int
        Decoded rows trained on.
    seconds : float
        Training and scoring of all networks.
    """

    scores: np.ndarray
    network: str
    protocol: str
    epochs: int
    steps: int
    width: int | None
    n_train: int
    seconds: float

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def std(self) -> float:
        return float(self.scores.std(ddof=1)) if len(self.scores) > 1 else 0.0

    def __str__(self) -> str:
        width = "" if self.width is None else f" of width {self.width}"
        return (
            f"{100 * self.mean:.1f} ± {100 * self.std:.1f} % ({len(self.scores)} × "
            f"{self.network}{width}, protocol {self.protocol}, {self.epochs} epochs, "
            f"{self.steps} steps, {self.seconds:.0f} s)"
        )


@validation.validate_params(
    {
        name: NetworkClassifier._parameter_constraints[name]
        for name in (
            "network",
            "protocol",
            "max_iter",
            "batch_size",
            "augmentation",
            "cutmix",
            "image_shape",
            "channel_axis",
            "precision",
            "device",
            "random_state",
            "verbose",
        )
    }
    | {
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def evaluate(
    condensed: CondensedSet | tuple[Any, Any],
    X_test: Any,
    y_test: Any,
    *,
    network: str | Callable[..., nn.Module] = "auto",
    n_networks: int = 5,
    protocol: str = "m3d",
    max_iter: int | str = "auto",
    max_steps: int | None = None,
    batch_size: int | str = "auto",
    augmentation: str | Sequence[Any] | None = "auto",
    cutmix: float | str = "auto",
    image_shape: tuple[int, ...] | None = None,
    channel_axis: str | int | None = "auto",
    precision: str = "auto",
    device: str | torch.device = "auto",
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> Evaluation:
    """Train fresh networks on a condensed set and score them on held-out rows.

    In :func:`distributed` each process trains a part of the networks, and has all scores.

    Parameters
    ----------
    condensed : CondensedSet or (X, y)
        Mosaics are decoded, and a set's soft labels, where it has them, are what is trained on.
        Rows are normalised by the statistics of the data the set was
        made from, for a bare pair by its own.
    X_test, y_test : array-like
        Held-out rows in the layout of the set. A data set of PyTorch may stand for X_test;
        y_test=None takes its own labels.
    network : str or callable, default="auto"
        As for :class:`NetworkClassifier`.
    n_networks : int, default=5
        Trainings, each with its own weights, batches and augmentation.
    protocol : {"m3d", "dc"}, default="m3d"
        As for :class:`NetworkClassifier`. Figures of two protocols do not compare.
    max_iter : int or "auto", default="auto"
        Epochs of each training.
    max_steps : int, default=None
        Batches of each training, in the place of `max_iter`: sets of different size (mosaics
        decode to factor² times the rows) then get the same amount of training.
    batch_size, augmentation, cutmix
        As for :class:`NetworkClassifier`.
    image_shape, channel_axis
        Layout of a bare pair; a CondensedSet knows its own.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        As for :class:`NetworkClassifier`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Seeds all trainings.
    verbose : int, default=0
        Shows a progress bar over epochs; all networks are trained together.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, what is allowed and what came.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import Herding, evaluate
    >>> X, y = load_iris(return_X_y=True)
    >>> condensed = Herding(ipc=5).fit(X, y).condensed_
    >>> result = evaluate(condensed, X, y, n_networks=2, max_iter=50, random_state=0)
    >>> result.scores.shape, result.epochs, result.steps
    ((2,), 50, 50)
    """
    started = time.perf_counter()
    place = resolve_device(device)
    if max_steps is not None and max_iter != "auto":
        raise ValueError(
            f"max_iter must be 'auto' where max_steps says how long to train; got {max_iter=} "
            f"and {max_steps=}."
        )
    if not isinstance(condensed, CondensedSet):
        condensed = as_condensed_set(condensed, image_shape, channel_axis)
    shape = condensed.layout.canonical_shape
    test_rows, test_labels = held_out(condensed, X_test, y_test)
    rows, labels = condensed.to_torch()
    if condensed.soft_labels is not None:
        labels = torch.from_numpy(condensed.soft_labels)
    rows, labels = rows.to(place), labels.to(place)
    recipe, epochs = make_recipe(
        shape,
        len(rows),
        protocol=protocol,
        epochs=max_iter,
        steps=max_steps,
        batch_size=batch_size,
        policy=augmentation,
        cutmix=cutmix,
        precision=resolve_precision(precision, place),
    )
    spec = auto_network(shape) if network == "auto" else network
    seeds = check_random_state(random_state).randint(SEEDS, size=n_networks).tolist()
    others = ranks()
    own = share_out([1] * n_networks, others.size)[others.rank]
    seeds = others.agree(seeds)[own]
    # A process that has none builds one, to know what it is.
    streams = [Stream(seed, place) for seed in seeds or [0]]
    modules = [build(spec, shape, len(condensed.classes), stream) for stream in streams]
    check_outputs(modules[0], shape, len(condensed.classes), place)
    with tqdm(total=epochs, disable=not verbose, desc="evaluate", unit="epoch") as bar:

        def advance(epoch: int, losses: torch.Tensor) -> bool:
            bar.update()
            return False

        watch = advance if verbose else None
        if seeds:
            train(modules, rows.__getitem__, labels, recipe, streams, shape, watch)
    module, scored = modules[0], modules if seeds else []
    places = _predicted(scored, test_rows, condensed.units, place)
    scores = np.concatenate(others.collect((places == test_labels).mean(1)))
    return Evaluation(
        scores=scores,
        network=spec if isinstance(spec, str) else type(module).__name__,
        protocol=protocol,
        epochs=epochs,
        steps=recipe.steps,
        width=getattr(module, "width", None),
        n_train=len(rows),
        seconds=time.perf_counter() - started,
    )


def _predicted(
    modules: Sequence[nn.Module], rows: np.ndarray | LazyRows, units: Units, device: torch.device
) -> np.ndarray:
    """Places of the classes that each network predicts, (N, n); rows in files block by block."""
    found = []
    for block in row_blocks(rows) if isinstance(rows, LazyRows) else [rows]:
        test, scale = device_rows(block, units, device)
        logits = (predict_logits(module, test, scale) for module in modules)
        places = [own.argmax(1).cpu().numpy() for own in logits]
        found.append(np.array(places, np.int64).reshape(len(modules), len(block)))
    return np.concatenate(found, 1)


class _Pair(BaseEstimator):
    """Stands where scikit-learn's checks want an estimator to name."""


def as_condensed_set(
    pair: Any,
    image_shape: tuple[int, ...] | None = None,
    channel_axis: str | int | None = "auto",
) -> CondensedSet:
    """A bare pair (X, y) as a set with its own statistics."""
    if hasattr(pair, "condensed_"):
        raise TypeError(
            f"condensed must be a CondensedSet or a pair (X, y); got a fitted "
            f"{type(pair).__name__}: give its condensed_."
        )
    try:
        X, y = pair
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"condensed must be a CondensedSet or a pair (X, y); got {type(pair).__name__}."
        ) from error
    data = validation.check_training_data(
        _Pair(), X, y, image_shape=image_shape, channel_axis=channel_axis
    )
    return CondensedSet(
        data.layout.from_rows(data.rows[:]),
        data.classes[data.labels],
        data.classes,
        data.layout,
        data.units,
    )
