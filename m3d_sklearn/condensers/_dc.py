"""DC: condensation by matching gradients (ICLR-21)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3d_sklearn._validation import Integral, Interval, StrOptions
from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser
from m3d_sklearn.condensers._settings import default_iterations, in_units, need_images, steps
from m3d_sklearn.core import formation
from m3d_sklearn.core.augmentation import Policy
from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.gradient_matching import gradient_distance
from m3d_sklearn.core.randomness import borrowed_global_generators
from m3d_sklearn.core.sampling import ClassPools, range_numbers
from m3d_sklearn.core.sources import FreshNetworks, NetworksOfStoredRows, NetworkSource
from m3d_sklearn.core.step import Batch, Objective
from m3d_sklearn.core.training import TrainingRecipe

__all__ = ["DCCondenser"]

TURNS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Published steps under a network, and epochs of its training after each, by ipc."""
PUBLISHED_NETWORKS = 1_000
BATCH = 256
RATE = 0.1  # of the published SGD, on normalised images


class DCCondenser(MatchingCondenser):
    """Condense a labelled data set into `ipc` rows per class by matching gradients.

    DC [1]_ minimises, over the stored rows themselves, the distance between the gradients
    that real and stored rows of each class give a network's weights, while the network is
    trained on the stored rows.

    .. warning::
       A condenser is a transformer: ``make_pipeline(DCCondenser(), LogisticRegression())``
       trains on *all* rows of X, described by their similarities to the condensed ones. To
       train on the condensed rows use :class:`CondensedClassifier`, or
       :class:`CondensedSampler` in an imbalanced-learn pipeline.

    Parameters
    ----------
    ipc : int, dict or callable, default=10
        Stored rows of each class: a number for all, a dict naming every class, or a
        callable from y to such a dict or Series. A class with fewer rows starts with repeats.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for, such as (28, 28) or (32, 32, 3). Without
        it 2-D X is a table.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels. "auto" takes the only axis of 4 or fewer.
    preset : {"paper"}, default=None
        Whose settings "auto" takes: None is ours, "paper" the published ones, for images:
        1,000 networks, SGD with 256 real rows per class, a start from noise. What is given
        beside it stays as given; ``params_`` holds them all.
    network : str or callable, default="auto"
        The network whose gradients are matched, as for :class:`M3DCondenser`; its outputs are
        a logit per class, and its operations can be differentiated twice.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 1.
    augmentation : list, None or "auto", default="auto"
        As for :class:`M3DCondenser`, and for the network's training as well. "auto" is none.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start, as for :class:`M3DCondenser`. "auto" is "mix" where factor is above 1, else
        "real"; the paper's is "noise".
    max_iter : int, default="auto"
        Iterations, each one step of the stored rows. "auto" is 100 for tables and 30 for small
        images; for images of 28 pixels or more 60 on a CPU and 1,000 on a GPU; with `max_time`
        as many as that allows. The paper's is 1,000 times `iterations_per_network`.
    max_time : float, default=None
        Seconds after which to stop; the rate falls to zero by then. Results then depend on
        the machine's speed.
    iterations_per_network : int, default="auto"
        Iterations between two networks, the paper's outer loop. "auto" is 1 where `ipc` is 1,
        else 10; the paper's is 1, 10, 20, 30, 40 or 50, as the ipc nearest to it.
    inner_epochs : int, default="auto"
        Epochs of the network's training on the stored rows after each step but the last under
        a network, the paper's inner loop. "auto" is 5; the paper's is 1, 50, 25, 20, 15 or 10
        at ipc 1 to 50.
    batch_real : int, default="auto"
        Real rows of each class per iteration. "auto" is 32, on a GPU 128; the paper's is 256.
    optimizer : {"auto", "adam", "sgd"}, default="auto"
        "auto" is "adam"; the paper's is "sgd".
    learning_rate : float, default="auto"
        In units: of the range of X for images, of a column's standard deviation for tables.
        "auto" is, with Adam, 0.03; with SGD the published 0.1 of normalised images.
    momentum : float, default="auto"
        Adam's β₁ (0.9) or SGD's momentum (0.5).
    schedule : {"auto", "cosine", "constant"}, default="auto"
        How the rate falls. "auto" is cosine for Adam, constant for SGD.
    tol : float, default=None
        Stop when the mean loss over `n_iter_no_change` iterations is not below the best one
        before by this fraction. None never stops early.
    n_iter_no_change : int, default=100
        Iterations of such a window, 10 or more. Only read where `tol` is set.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the network's passes. "auto" is float32: gradients of gradients need its digits.
    cache : int or "auto", default="auto"
        As for :class:`M3DCondenser`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Seeds everything. The same number gives the same bits on a CPU.
    checkpoint : str or Path, default=None
        File in which the run is kept, so that it can be stopped. Where it exists, ``fit`` with
        the same parameters and data goes on from it, to the same bits on a CPU at the same
        number of threads; a finished run's gives the result at once. Other parameters or data
        are refused. What SIGTERM or Ctrl-C stops is written first. Callables count by their
        names.
    checkpoint_every : int or str, default="60s"
        Between two writes: iterations, or a time such as "60s", "5min" or "1.5h".
    checkpoint_errors : {"warn", "raise"}, default="warn"
        What a failed write does, on a full disk say: the fit goes on with a warning, or stops
        with an OSError. The last good checkpoint stays either way.
    verbose : int, default=0
        Shows a progress bar. Changes what is printed, not the result.

    Attributes
    ----------
    condensed_ : CondensedSet
        The result: unpacks as ``X_c, y_c``.
    classes_ : ndarray of shape (n_classes,)
    ipc_ : dict
        Stored rows of each class.
    params_ : dict
        Parameters, with what each "auto" came to.
    loss_curve_ : ndarray
        Mean distance over the classes at iterations 0, 10, 20 and so on.
    n_iter_ : int
        Iterations run.
    bandwidth_ : float
        Of the similarities that ``transform(X)`` gives.
    n_features_in_ : int
        Values in a row of X.
    feature_names_in_ : ndarray
        Column names, where X was a DataFrame of string names.
    sample_shape_in_ : tuple of int
        Shape of a row of X.

    See Also
    --------
    DSACondenser : The same under augmentation.
    M3DCondenser : Matches distributions of features, at a fraction of the cost.

    Notes
    -----
    The published code optimises normalised images at a rate of 0.1. In units of the range that
    is 0.1 times the square of the images' standard deviation, which is what "auto" comes to
    with SGD. Published images are not clamped; these are.

    Cost per iteration: a forward and a backward pass of C·(`batch_real` + m) rows, m the decoded
    rows of a class (at most 200), a backward pass through the latter, and `inner_epochs` of
    training on all of them. Memory: C copies of the network's gradients.

    References
    ----------
    .. [1] Zhao, Mopuri, Bilen. "Dataset Condensation with Gradient Matching." ICLR 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import DCCondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = DCCondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    _parameter_constraints: dict[str, list[Any]] = MatchingCondenser._parameter_constraints | {
        "inner_epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
    }
    _AUTOMATIC = (*MatchingCondenser._AUTOMATIC, "inner_epochs")
    _PUBLISHED_START = "noise"

    def __init__(
        self,
        ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any] = 10,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        preset: str | None = None,
        network: str | Callable[..., nn.Module] = "auto",
        factor: str | int = "auto",
        augmentation: str | list[Any] | None = "auto",
        init: Any | CondensedSet = "auto",
        max_iter: str | int = "auto",
        max_time: float | None = None,
        iterations_per_network: str | int = "auto",
        inner_epochs: str | int = "auto",
        batch_real: str | int = "auto",
        optimizer: str = "auto",
        learning_rate: str | float = "auto",
        momentum: str | float = "auto",
        schedule: str = "auto",
        tol: float | None = None,
        n_iter_no_change: int = 100,
        precision: str = "auto",
        cache: str | int = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | str = "60s",
        checkpoint_errors: str = "warn",
        verbose: int = 0,
    ) -> None:
        self.ipc = ipc
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.preset = preset
        self.network = network
        self.factor = factor
        self.augmentation = augmentation
        self.init = init
        self.max_iter = max_iter
        self.max_time = max_time
        self.iterations_per_network = iterations_per_network
        self.inner_epochs = inner_epochs
        self.batch_real = batch_real
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.schedule = schedule
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.precision = precision
        self.cache = cache
        self.device = device
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.checkpoint_errors = checkpoint_errors
        self.verbose = verbose

    def _policy(self, shape: tuple[int, ...]) -> Policy:
        """What augmentation="auto" comes to."""
        return ()

    def _objective(self, settings: Mapping[str, Any]) -> Objective:
        return gradient_distance

    def _precision(self, task: Task) -> torch.dtype:
        return torch.float32 if self.precision == "auto" else super()._precision(task)

    def _source(
        self,
        fresh: FreshNetworks,
        task: Task,
        pools: ClassPools,
        settings: Mapping[str, Any],
        rows: float,
    ) -> NetworkSource:
        _check_gradients(fresh)
        factor = int(settings["factor"])

        def decode(stored: Tensor) -> Tensor:
            return pools.scale.normalise(formation.decode(stored, factor))

        recipe = TrainingRecipe(
            steps=0,
            batch_size=BATCH,
            momentum=0.0,
            weight_decay=0.0,
            policy=settings["augmentation"],
            precision=self._precision(task),
        )
        labels = range_numbers([n * factor**2 for n in task.ipc.tolist()], task.device)
        return NetworksOfStoredRows(fresh, decode, labels, recipe, int(settings["inner_epochs"]))

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        shape, paper = task.data.layout.canonical_shape, self.preset == "paper"
        if paper:
            need_images(shape)
        factor = given.get("factor", 1)
        start = self._PUBLISHED_START if paper else "real"
        optimizer = given.get("optimizer", "sgd" if paper else "adam")
        settings = {
            "factor": factor,
            "augmentation": self._policy(shape),
            "init": "mix" if factor > 1 and start == "real" else start,
            "optimizer": optimizer,
            **steps(optimizer, task.ipc),
            **(self._published_turns(task, given) if paper else self._own_turns(task, given)),
        }
        if optimizer == "sgd":
            settings |= {"learning_rate": in_units(RATE, task.units.std), "momentum": 0.5}
        return settings

    def _published_turns(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        outer, inner = TURNS[min(TURNS, key=lambda ipc: abs(ipc - task.ipc.mean()))]
        outer = given.get("iterations_per_network", outer)
        return {
            "max_iter": PUBLISHED_NETWORKS * outer,
            "iterations_per_network": outer,
            "inner_epochs": inner,
            "batch_real": 256,
        }

    def _own_turns(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        shape, slow = task.data.layout.canonical_shape, not is_accelerator(task.device)
        share = 5 if slow else 3  # of the iterations that matching features affords
        return {
            "max_iter": default_iterations(shape, task.device) // share,
            "iterations_per_network": 1 if task.ipc.max() == 1 else 10,
            "inner_epochs": 5,
            "batch_real": 32 if slow else 128,
        }


def _check_gradients(fresh: FreshNetworks) -> None:
    """Match two grey rows with themselves, so that a factory's mistake shows before any work."""
    rows = torch.zeros(2, *fresh.input_shape, device=fresh.stream.device)
    synthetic = rows.clone().requires_grad_(True)
    try:
        with borrowed_global_generators(fresh.stream) as drew:
            outputs = tuple(fresh.network(rows).shape)
            loss = gradient_distance(fresh.network, Batch(rows, [2], synthetic, [2])).sum()
            torch.autograd.grad(loss, synthetic, allow_unused=True)
            fresh.random_passes |= drew()
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            "network must be made of operations that can be differentiated twice and mapped over "
            f"classes; it failed with: {error}"
        ) from error
    if outputs != (2, fresh.n_outputs):
        raise ValueError(
            f"network must give {fresh.n_outputs} outputs per row, one per class; it gave "
            f"{outputs} for 2 rows."
        )
