"""CAFE: condensation by aligning the features of every layer (CVPR-22)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3d_sklearn._validation import StrOptions
from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser
from m3d_sklearn.condensers._pool import check_outputs
from m3d_sklearn.condensers._settings import defaults, in_units, need_images
from m3d_sklearn.core import formation
from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.layer_matching import layer_distances
from m3d_sklearn.core.sampling import ClassPools, range_numbers
from m3d_sklearn.core.sources import BilevelNetworks, FreshNetworks, NetworkSource
from m3d_sklearn.core.sources.bilevel import WINDOW
from m3d_sklearn.core.step import Objective
from m3d_sklearn.core.training import TrainingRecipe

__all__ = ["CAFECondenser"]

RATE = 0.1  # of the published SGD, on normalised images
BATCH = 256
NETWORKS = 2_000  # published iterations: a network each, and ten steps or more under it
QUERY = 20  # real rows of each class that accuracies are looked at on


class CAFECondenser(MatchingCondenser):
    """Condense a labelled data set into `ipc` rows per class by aligning features of all layers.

    CAFE [1]_ minimises, over the stored rows themselves, the squared distance between the mean
    features of real and stored rows of each class in every layer, plus the cross-entropy of
    real rows classified by the stored rows' centres. Between steps the network is trained on
    the stored rows, and replaced once its accuracy on real rows has settled.

    .. warning::
       A condenser is a transformer: ``make_pipeline(CAFECondenser(), LogisticRegression())``
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
        20,000 iterations of SGD with 256 real rows per class, which are 2,000 networks of ten,
        the fewest each has, and a start from noise. What is given beside it stays as given;
        ``params_`` holds them all.
    network : str or callable, default="auto"
        The network whose layers are matched, as for :class:`M3DCondenser`; its outputs are a
        logit per class. Of a ConvNet and an MLP every layer counts, of another module what it
        embeds to.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 1.
    augmentation : list, None or "auto", default="auto"
        As for :class:`M3DCondenser`, and for the networks' training as well. "auto" is none. With
        ``[("color", "crop", "cutout", "flip", "scale", "rotate")]`` (no "flip" for digits)
        this is CAFE+DSA.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start, as for :class:`M3DCondenser`. "auto" is "mix" where factor is above 1, else
        "real"; the paper's is "noise".
    max_iter : int, default="auto"
        Iterations. "auto" is 250 for tables and 75 for small images; for images of 28
        pixels or more 150 on a CPU and 1,500 on a GPU; with `max_time` as many as that allows.
    max_time : float, default=None
        Seconds after which to stop; the rate falls to zero by then. Results then depend on
        the machine's speed.
    batch_real : int, default="auto"
        Real rows of each class per iteration. "auto" is 128, and 32 for images on a CPU; the
        paper's is 256.
    optimizer : {"auto", "adam", "sgd"}, default="auto"
        "auto" is "adam"; the paper's is "sgd".
    learning_rate : float, default="auto"
        In units: of the range of X for images, of a column's standard deviation for tables.
        "auto" is, with Adam, 0.03; with SGD the published 0.1 of normalised images.
    momentum : float, default="auto"
        Adam's β₁ (0.9) or SGD's momentum (0.5).
    schedule : {"auto", "cosine", "constant", "step"}, default="auto"
        How the rate falls. "auto" is cosine for Adam, and for SGD "step": halved after 60, 80 and
        90 % of the run, as published.
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
    DMCondenser : The last layer alone, under random networks.

    Notes
    -----
    The published code optimises normalised images, see :class:`DMCondenser`. The query set, on
    which a network's accuracy is looked at after each step, is 20 real rows per class, drawn once.

    Cost per iteration: forward of C·(`batch_real` + m) rows and backward of C·m, with m =
    min(ipc·factor², 200), and 10 to 100 epochs of training on the stored rows, with a look at the
    query set after each, until 10 of them lie within 0.03. A network is replaced when the looks
    after its last 10 steps lie within 0.04. The device is waited for at each look. All classes
    go through together, their rows in chunks. The published loop draws the query set anew for
    each look, and copies of it are about that train until 10 looks are *not* within 0.03.

    References
    ----------
    .. [1] Wang et al. "CAFE: Learning to Condense Dataset by Aligning Features." CVPR 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import CAFECondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = CAFECondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    _parameter_constraints: dict[str, list[Any]] = MatchingCondenser._parameter_constraints | {
        "schedule": [StrOptions({"auto", "cosine", "constant", "step"})],
    }
    _parameter_constraints.pop("iterations_per_network")
    _INDEPENDENT = False  # real rows are classified by the centres of all classes
    _AUTOMATIC = tuple(n for n in MatchingCondenser._AUTOMATIC if n != "iterations_per_network")

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
        return layer_distances

    def _source(
        self,
        fresh: FreshNetworks,
        task: Task,
        pools: ClassPools,
        settings: Mapping[str, Any],
        rows: float,
    ) -> NetworkSource:
        check_outputs(fresh, "CAFECondenser")
        factor = int(settings["factor"])
        chosen = pools.pick([min(QUERY, size) for size in pools.sizes], task.stream)

        def decode(stored: Tensor) -> Tensor:
            return pools.scale.normalise(formation.decode(stored, factor))

        def query() -> tuple[Tensor, Tensor]:
            return pools.scale.normalise(pools.take(chosen)), pools.labels[chosen]

        recipe = TrainingRecipe(
            steps=0,
            batch_size=BATCH,
            momentum=0.0,
            weight_decay=0.0,
            policy=settings["augmentation"],
            precision=self._precision(task),
        )
        labels = range_numbers([n * factor**2 for n in task.ipc.tolist()], task.device)
        return BilevelNetworks(fresh, decode, labels, recipe, query)

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        shape = task.data.layout.canonical_shape
        own = {"factor": 1, **given}
        if self.preset == "paper":
            need_images(shape)
            own = {"optimizer": "sgd"} | own
        settings = defaults(shape, task.ipc, task.device, self.network, own)
        settings |= {"augmentation": (), "max_iter": settings["max_iter"] // 2}
        if len(shape) == 3 and not is_accelerator(task.device):
            settings["batch_real"] = 32  # all layers by torch's modules, which take their time
        if self.preset == "paper":
            settings |= {"max_iter": NETWORKS * WINDOW, "batch_real": BATCH, "init": "noise"}
        if settings["optimizer"] == "sgd":
            rate = in_units(RATE, task.units.std)
            settings |= {"learning_rate": rate, "momentum": 0.5, "schedule": "step"}
        return settings
