"""DM: condensation by matching mean features (WACV-23)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser
from m3d_sklearn.condensers._settings import defaults, in_units, need_images
from m3d_sklearn.core.augmentation import single_operation
from m3d_sklearn.core.matching import mean_distances
from m3d_sklearn.core.networks import embed
from m3d_sklearn.core.step import Batch, Objective

__all__ = ["DMCondenser"]


def mean_matching(network: nn.Module, batch: Batch) -> Tensor:
    """The objective of DM: the distance of mean features, of each class."""
    with torch.no_grad():
        real = embed(network, batch.real, batch.effort)
    return mean_distances(real, embed(network, batch.synthetic, batch.effort), batch)


class DMCondenser(MatchingCondenser):
    """Condense a labelled data set into `ipc` rows per class by matching mean features.

    DM [1]_ minimises, over the stored rows themselves, the squared distance between the mean
    features of real and stored rows of each class, under a new random network every
    iteration. It is M3D with the linear kernel.

    .. warning::
       A condenser is a transformer: ``make_pipeline(DMCondenser(), LogisticRegression())``
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
        20,000 iterations of SGD with 256 real rows per class. What is given beside it stays as
        given; ``params_`` holds them all.
    network : str or callable, default="auto"
        The embedding, as for :class:`M3DCondenser`.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 1.
    augmentation : list, None or "auto", default="auto"
        As for :class:`M3DCondenser`. "auto" is one of colour, crop, cutout, flip (colour images
        alone), scale and rotate for images of 28 pixels or more, and none otherwise.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start, as for :class:`M3DCondenser`. "auto" is "mix" where factor is above 1, else
        "real".
    max_iter : int, default="auto"
        Iterations. "auto" is 500 for tables and 150 for small images; for images of 28
        pixels or more 300 on a CPU and 3,000 on a GPU; with `max_time` as many as that allows.
    max_time : float, default=None
        Seconds after which to stop; the rate falls to zero by then. Results then depend on
        the machine's speed.
    iterations_per_network : int, default="auto"
        Iterations between two networks. "auto" is 1.
    batch_real : int, default="auto"
        Real rows of each class per iteration. "auto" is 128, and 64 for images of 28 pixels or
        more on a CPU; the paper's is 256.
    optimizer : {"auto", "adam", "sgd"}, default="auto"
        "auto" is "adam"; the paper's is "sgd".
    learning_rate : float, default="auto"
        In units: of the range of X for images, of a column's standard deviation for tables.
        "auto" is, with Adam, 0.03; with SGD the published rate (see Notes).
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
    M3DCondenser : Matches more of the distribution than its mean.

    Notes
    -----
    The published code optimises normalised images at a rate of 1. In units of the range that
    is the square of the images' standard deviation, which is what "auto" comes to with SGD.
    Published images are not clamped; these are.

    Cost per iteration: forward of C·(`batch_real` + m) rows and backward of C·m, with m =
    min(ipc·factor², 200).

    References
    ----------
    .. [1] Zhao, Bilen. "Dataset Condensation with Distribution Matching." WACV 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import DMCondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = DMCondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

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
        return mean_matching

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        published = {"max_iter": 20_000, "batch_real": 256, "optimizer": "sgd"}
        shape = task.data.layout.canonical_shape
        if self.preset == "paper":
            need_images(shape)
            given = {**published, **given}
        own = {"factor": 1, "iterations_per_network": 1, **given}
        settings = defaults(shape, task.ipc, task.device, self.network, own)
        if settings["augmentation"] or self.preset == "paper":
            settings["augmentation"] = single_operation(shape)
        if settings["optimizer"] == "sgd":
            settings |= {"learning_rate": in_units(1.0, task.units.std), "momentum": 0.5}
        return settings | own
