"""IDM: improved distribution matching, with a queue of networks that learn (CVPR-23)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3d_sklearn._validation import Integral, Interval, Real, StrOptions
from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser, is_auto
from m3d_sklearn.condensers._pool import check_outputs, need_learning
from m3d_sklearn.condensers._settings import defaults, in_units, published
from m3d_sklearn.core.augmentation import single_operation
from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.matching import cross_entropies, mean_distances
from m3d_sklearn.core.networks import embed
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks, NetworkQueue, NetworkSource
from m3d_sklearn.core.sources.queue import ACCURACY
from m3d_sklearn.core.step import Batch, Objective
from m3d_sklearn.core.training import TrainingRecipe

__all__ = ["IDMCondenser"]

RATE = 0.2  # of the published SGD, on normalised images
MANY_CLASSES = 100


class CalibratedMeans:
    """‖mean difference‖² + w·accuracy·cross-entropy of each class (IDM, eq. 7)."""

    def __init__(self, calibration: float) -> None:
        self.calibration = calibration

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            real = embed(network, batch.real, batch.effort)
        synthetic = embed(network, batch.synthetic, batch.effort)
        known = self.calibration * getattr(network, ACCURACY)
        entropies = cross_entropies(network, synthetic, batch)
        return mean_distances(real, synthetic, batch) + known * entropies


class IDMCondenser(MatchingCondenser):
    """Condense a labelled data set into `ipc` rows per class by improved distribution matching.

    IDM [1]_ minimises, over the stored rows themselves, the squared distance between the mean
    features of real and stored rows of each class, plus the stored rows' cross-entropy, under
    networks of a queue that learn from X during the run.

    .. warning::
       A condenser is a transformer: ``make_pipeline(IDMCondenser(), LogisticRegression())``
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
        20,000 iterations of SGD with 256 real rows per class, mosaics of factor 2. What is given
        beside it stays as given; ``params_`` holds them all.
    network : str or callable, default="auto"
        The embedding, as for :class:`M3DCondenser`; it must give an output per class, by its
        ``head`` if it has ``embed``.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 2 for images
        of 28 pixels a side or more, and 1 below and for tables.
    augmentation : list, None or "auto", default="auto"
        As for :class:`M3DCondenser`, and for the networks' training as well. "auto" is one of
        colour, crop, cutout, flip (colour images alone), scale and rotate for images of 28 pixels
        or more, and none otherwise.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start, as for :class:`M3DCondenser`. "auto" is "mix" where factor is above 1, else
        "real".
    max_iter : int, default="auto"
        Iterations. "auto" is 250 for tables and 75 for small images; for images of 28
        pixels or more 150 on a CPU and 1,500 on a GPU; with `max_time` as many as that allows.
    max_time : float, default=None
        Seconds after which to stop; the rate falls to zero by then. Results then depend on
        the machine's speed.
    queue_size : int, default=100
        Most networks in the queue. It begins with 3; the oldest leave.
    push_every : int, default="auto"
        Iterations between two fresh networks that join the queue. "auto" is 30; the paper's is
        5 where `ipc` is 1.
    training_steps : int, default="auto"
        Batches of real rows on which two networks of the queue are trained after each iteration.
        "auto" is 2 batches of 64, on a GPU and in the paper's preset 10 of 256; the paper's for 100
        classes or more 50 at ipc 10 and 40 at 50.
    calibration : float, default="auto"
        Weight of the stored rows' cross-entropy, times the network's running accuracy in percent.
        "auto" is 0.01; the paper's is 0.5 at ipc 1 and 0.1 at 50, at 10 one or the other (below
        100 classes, and from 100 on).
    soft_labels : bool, default=False
        Whether the set gets ``soft_labels`` beside its hard ones: the mean class probabilities
        that the queue's networks, weighted by their running accuracy, give its decoded rows at
        the end of the run. Needs `training_steps` above 0.
    batch_real : int, default="auto"
        Real rows of each class per iteration. "auto" is 128, and 64 for images of 28 pixels or
        more on a CPU; the paper's is 256, and 5,000 where `ipc` is 1.
    optimizer : {"auto", "adam", "sgd"}, default="auto"
        "auto" is "adam"; the paper's is "sgd".
    learning_rate : float, default="auto"
        In units: of the range of X for images, of a column's standard deviation for tables.
        "auto" is, with Adam, 0.03; with SGD the published 0.2 of normalised images.
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
        Of the network's passes. "auto" is bfloat16 on CUDA devices that compute in it, and
        float32 elsewhere.
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
        Mean loss over the classes at iterations 0, 10, 20 and so on.
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
    DMCondenser : Mean features alone, under random networks.
    M3DCondenser : Distributions of features, under networks that learn too.

    Notes
    -----
    The published code optimises normalised images, see :class:`DMCondenser`. Its networks' accuracy
    is a running one over training batches; here it is measured on the first batch of a burst before
    that is trained on, and half of what was known is kept.

    Cost per iteration: forward of C·(`batch_real` + m) rows and backward of C·m, with m =
    min(ipc·factor², 200), and two networks' training. Memory: `queue_size` networks' weights.

    References
    ----------
    .. [1] Zhao, Li, Qin, Yu. "Improved Distribution Matching for Dataset Condensation." CVPR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import IDMCondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = IDMCondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    _parameter_constraints: dict[str, list[Any]] = MatchingCondenser._parameter_constraints | {
        "queue_size": [Interval(Integral, 1, None, closed="left")],
        "push_every": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "training_steps": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "calibration": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "soft_labels": ["boolean"],
    }
    _parameter_constraints.pop("iterations_per_network")
    _AUTOMATIC = (
        *(name for name in MatchingCondenser._AUTOMATIC if name != "iterations_per_network"),
        "push_every",
        "training_steps",
        "calibration",
    )

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
        queue_size: int = 100,
        push_every: str | int = "auto",
        training_steps: str | int = "auto",
        calibration: str | float = "auto",
        soft_labels: bool = False,
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
        self.queue_size = queue_size
        self.push_every = push_every
        self.training_steps = training_steps
        self.calibration = calibration
        self.soft_labels = soft_labels
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

    def _objective(self, settings: Mapping[str, Any]) -> Objective:
        return CalibratedMeans(float(settings["calibration"]))

    def _settings(self, task: Task) -> dict[str, Any]:
        settings = super()._settings(task)
        weight = 0.0 if is_auto(self.calibration) else self.calibration
        wanted = {"soft_labels": self.soft_labels, "calibration": weight}
        way = f"training_steps above 0; got training_steps={self.training_steps!r}"
        need_learning(wanted, settings["training_steps"], way)
        return settings

    def _source(
        self,
        fresh: FreshNetworks,
        task: Task,
        pools: ClassPools,
        settings: Mapping[str, Any],
        rows: float,
    ) -> NetworkSource:
        check_outputs(fresh, "IDMCondenser")
        large = self.preset == "paper" or is_accelerator(task.device)
        recipe = TrainingRecipe(
            steps=int(settings["training_steps"]),
            batch_size=256 if large else 64,
            policy=settings["augmentation"],
            precision=self._precision(task),
        )
        return NetworkQueue(
            fresh,
            lambda index: pools.scale.normalise(pools.take(index)),
            pools.labels,
            recipe,
            push_every=int(settings["push_every"]),
            size=self.queue_size,
        )

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        shape = task.data.layout.canonical_shape
        if self.preset == "paper":
            settings = published(shape, task.ipc, self.network, given) | _published(task)
        else:
            settings = defaults(shape, task.ipc, task.device, self.network, given)
            settings |= {
                "max_iter": settings["max_iter"] // 2,
                "push_every": 30,
                "training_steps": 10 if is_accelerator(task.device) else 2,
                "calibration": 0.01,
            }
        if settings["augmentation"]:
            settings["augmentation"] = single_operation(shape)
        if settings["optimizer"] == "sgd":
            settings |= {"learning_rate": in_units(RATE, task.units.std), "momentum": 0.5}
        return settings


def _published(task: Task) -> dict[str, Any]:
    """What IDM's settings differ in from M3D's."""
    few, some = task.ipc.mean() < 5, task.ipc.mean() < 30
    many = len(task.ipc) >= MANY_CLASSES
    middle = 0.1 if many else 0.5
    steps = (10 if few else 50 if some else 40) if many else 10
    return {
        "max_iter": 20_000,
        "batch_real": 5_000 if few else 256,
        "push_every": 5 if few else 30,
        "training_steps": steps,
        "calibration": 0.5 if few else middle if some else 0.1,
    }
