"""M3D: condensation by minimising the maximum mean discrepancy (AAAI-24)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m3d_sklearn._validation import Integral, Interval, Real, StrOptions
from m3d_sklearn.base import Task
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._base import MatchingCondenser, is_auto
from m3d_sklearn.condensers._pool import need_learning, trained_networks
from m3d_sklearn.condensers._settings import defaults, frugal, is_dear, mosaics, published
from m3d_sklearn.core.kernels import KERNELS, Kernel, make_kernel
from m3d_sklearn.core.matching import cross_entropies
from m3d_sklearn.core.mmd import mmd2, stack_classes
from m3d_sklearn.core.networks import NETWORKS, SIZED, NetworkSpec, embed
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks, NetworkSource
from m3d_sklearn.core.step import Batch, Objective

__all__ = ["M3DCondenser"]


class MMDObjective:
    """MMD² between the features of real and synthetic rows, a value per class.

    With `calibration` the cross-entropy of the synthetic rows under the network's own
    outputs, times this weight, is added (IDM, CVPR-23; DANCE, IJCAI-24).
    """

    def __init__(self, kernel: Kernel, calibration: float = 0.0) -> None:
        self.kernel = kernel
        self.calibration = calibration
        self.real: dict[int, Tensor] = {}  # features of real rows that come again, by first class

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor:
        real = self.real.get(batch.first) if batch.same_real else None
        if real is None:
            with torch.no_grad():
                real = embed(network, batch.real, batch.effort)
                if batch.keep_real:
                    real = self._kept(batch.first, real)
        synthetic = embed(network, batch.synthetic, batch.effort)
        real, real_weights = stack_classes(real, batch.real_counts)
        stacked, weights = stack_classes(synthetic, batch.synthetic_counts)
        loss = mmd2(real, stacked, self.kernel, real_weights, weights, whole=batch.whole)
        if self.calibration:
            loss = loss + self.calibration * cross_entropies(network, synthetic, batch)
        return loss

    def _kept(self, first: int, real: Tensor) -> Tensor:
        """The features, where recorded steps read those of the same classes."""
        kept = self.real.setdefault(first, real)
        if kept.shape != real.shape:
            kept = self.real[first] = real
        return kept if kept is real else kept.copy_(real)


class M3DCondenser(MatchingCondenser):
    """Condense a labelled data set into `ipc` rows per class by matching feature distributions.

    M3D [1]_ minimises, over the stored rows themselves, the squared maximum mean
    discrepancy between the features of real and stored rows of each class, under networks
    that change every few iterations: random ones, or, for large images, networks that learn from
    X during the run.

    .. warning::
       A condenser is a transformer: ``make_pipeline(M3DCondenser(), LogisticRegression())``
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
        10,000 iterations of SGD at the rate 1·ipc with 128 real rows per class, mosaics of
        factor 2. What is given beside it stays as given; ``params_`` holds them all.
    network : str or callable, default="auto"
        The embedding. "auto" is "convnet" for images and "mlp" for tables; "resnet10",
        "resnet18" and "densenet121" need 16 pixels a side. A callable is a factory of a
        module, called with (input_shape, n_outputs), or with nothing where it takes no
        arguments; features are the module's ``embed(x)`` where it has one, else its output.
        ``functools.partial(ConvNet, width=32)`` from ``m3d_sklearn.core.networks`` is one.
    width : int, default="auto"
        Channels of "convnet", units of "mlp". "auto" is the paper's 128, and 64 for images of
        28 pixels or more on a CPU, where more iterations are worth more. None, and for other
        networks "auto", leaves the network as it is.
    kernel : {"rbf", "laplace", "linear", "polynomial"} or callable, default="rbf"
        "rbf" sums five Gaussians; "linear" is the loss of DM [2]_. A callable takes
        (C, N, D) and (C, M, D) and gives (C, N, M).
    bandwidth : "mean", float or sequence of float, default="mean"
        Of "rbf" (squared distances) and "laplace" (distances): the mean distance of each
        class's rows, or numbers.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 2 for images
        of 28 pixels a side or more, but for grey ones from `ipc` 20 on, else 1.
    augmentation : list, None or "auto", default="auto"
        Operations applied to real and stored images alike, one draw per class and iteration:
        "color" (or "brightness", "saturation", "contrast"), "crop", "cutout", "flip",
        "scale", "rotate"; a tuple stands for one of its members, the same for all classes.
        "auto" is, for images of 28 pixels or more, colour, crop and cutout, or for grey ones
        one of crop, scale and rotate; and none otherwise.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start: "mix" (mosaics of real images), "real" (real rows), "noise", a fitted
        selector or condenser, or rows to go on from, in X's columns, range and classes. "auto"
        is "mix" where factor is above 1, else "real".
    max_iter : int, default="auto"
        Iterations. "auto" is 500 for tables and 150 for small images; for images of 28
        pixels or more 1,000 on a CPU and 3,000 on a GPU; with `max_time` as many as that allows.
    max_time : float, default=None
        Seconds after which to stop; the rate falls to zero by then. Results then depend on
        the machine's speed.
    pool : int, default="auto"
        Networks that learn from X in the first third of the run. An embedding is a random
        mix of one's first and present weights; they see `augmentation`, or for "auto" that of
        :func:`evaluate`. 0 takes random ones alone, as the paper does. "auto" is 4 for images of
        28 pixels or more under a `network` by name, but for grey ones on a CPU without
        `soft_labels`; else 0. A factory's module must give an output per class, by its ``head``
        if it has ``embed``.
    calibration : float, default="auto"
        Weight of the stored rows' cross-entropy under such a network, beside the MMD². "auto"
        is 0 without a pool and 0.03 with one, but for images of 28 pixels or more on a GPU 1.2
        divided by the number of decoded rows per class where that is less.
    soft_labels : bool, default=False
        Whether the set gets ``soft_labels`` beside its hard ones: the mean class probabilities
        that the pool gives its decoded rows at the end of the run. Needs a pool.
    iterations_per_network : int, default="auto"
        Iterations between two networks. "auto" is 5.
    iterations_per_draw : int, default="auto"
        Iterations between two draws of real rows and augmentation. Under the same network and
        draw real rows go through once, which saves most of an iteration where `ipc` is small.
        "auto" is `iterations_per_network` for images of 28 pixels or more on a CPU, else 1.
    batch_real : int, default="auto"
        Real rows of each class per iteration. "auto" is the paper's 128; for images of 28
        pixels or more on a CPU 64 to 256, which cost about what the stored rows do.
    optimizer : {"auto", "adam", "sgd"}, default="auto"
        "auto" is "adam"; the paper's is "sgd".
    learning_rate : float, default="auto"
        In units: of the range of X for images, of a column's standard deviation for tables.
        "auto" is, with Adam, 0.03; with SGD the published rate ipc·(1 − ½^C)·2 for C
        classes (see Notes).
    momentum : float, default="auto"
        Adam's β₁ (0.9) or SGD's momentum (½^C, see Notes).
    schedule : {"auto", "cosine", "constant"}, default="auto"
        How the rate falls. "auto" is cosine for Adam, constant for SGD.
    tol : float, default=None
        Stop when the mean loss over `n_iter_no_change` iterations is not below the best one
        before by this fraction. None never stops early.
    n_iter_no_change : int, default=100
        Iterations of such a window, 10 or more. Only read where `tol` is set.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the network's passes; kernels and steps are in float32 throughout. "auto" is
        bfloat16 on CUDA devices that compute in it, and float32 elsewhere: a CPU without units
        for bfloat16 (AMX) is slower by it.
    cache : int or "auto", default="auto"
        Bytes of training rows that stay on the device; the others are read as they are drawn,
        the next ones meanwhile. "auto" is half of a GPU's memory and, on a CPU, 256 MB of rows
        that are not in memory already. Changes time and memory, not the result.
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
        Mean loss over the classes at iterations 0, 10, 20 and so on: MMD², and with a pool
        `calibration` times the cross-entropy.
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
    Herding, KCenter, Random : Coresets behind the same interface.
    CondensedClassifier : Trains any classifier on the condensed rows.
    evaluate : Trains fresh networks on a condensed set and scores them.

    Notes
    -----
    **Why the defaults are safe.** All arithmetic happens in units that do not depend on the
    scale of X: images in [0, 1] by the range seen, columns of a table standardised. Adam's
    step does not depend on the scale of the loss, hence neither on the network's width nor
    on ipc (an image's gradient falls as 1/ipc), and the cosine ends the run without noise.
    So one rate fits all, where the published SGD rate of 1·ipc suits images of 28 to 32 pixels
    and leaves some others worse than their start (figures in docs/user_guide.md).

    **Relation to the published loop**, which steps one shared momentum buffer of μ = ½ class
    after class: that is SGD of each class alone with momentum μ^C and rate
    lr·(1 − μ^C)/(1 − μ), which is what ``optimizer="sgd"`` runs, all classes in one pass.

    Cost per iteration: forward of C·(`batch_real` + m) rows and backward of C·m, with m =
    min(ipc·factor², 200); O(C·(`batch_real` + m)²·D) for the kernel. Memory grows with one
    iteration's rows, and with n only through X itself.

    References
    ----------
    .. [1] Zhang, Li, Wang, Zeng, Ge. "M3D: Dataset Condensation by Minimizing Maximum Mean
       Discrepancy." AAAI 2024.
    .. [2] Zhao, Bilen. "Dataset Condensation with Distribution Matching." WACV 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import M3DCondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = M3DCondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    >>> condenser.transform(X).shape
    (1797, 10)
    """

    _parameter_constraints: dict[str, list[Any]] = MatchingCondenser._parameter_constraints | {
        "width": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "kernel": [StrOptions(set(KERNELS)), callable],
        "bandwidth": [str, Interval(Real, 0, None, closed="neither"), list, tuple, np.ndarray],
        "pool": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "calibration": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "soft_labels": ["boolean"],
        "iterations_per_draw": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }
    _AUTOMATIC = (
        *MatchingCondenser._AUTOMATIC,
        "width",
        "pool",
        "calibration",
        "iterations_per_draw",
    )

    def __init__(
        self,
        ipc: int | Mapping[Any, int] | Callable[[np.ndarray], Any] = 10,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        preset: str | None = None,
        network: str | Callable[..., nn.Module] = "auto",
        width: str | int = "auto",
        kernel: str | Callable[[Tensor, Tensor], Tensor] = "rbf",
        bandwidth: str | float | Sequence[float] = "mean",
        factor: str | int = "auto",
        augmentation: str | Sequence[Any] | None = "auto",
        init: Any | CondensedSet = "auto",
        max_iter: str | int = "auto",
        max_time: float | None = None,
        pool: str | int = "auto",
        calibration: str | float = "auto",
        soft_labels: bool = False,
        iterations_per_network: str | int = "auto",
        iterations_per_draw: str | int = "auto",
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
        self.width = width
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.factor = factor
        self.augmentation = augmentation
        self.init = init
        self.max_iter = max_iter
        self.max_time = max_time
        self.pool = pool
        self.calibration = calibration
        self.soft_labels = soft_labels
        self.iterations_per_network = iterations_per_network
        self.iterations_per_draw = iterations_per_draw
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
        kernel = make_kernel(self.kernel, self.bandwidth)
        return MMDObjective(kernel, float(settings["calibration"]))

    def _settings(self, task: Task) -> dict[str, Any]:
        settings = super()._settings(task)
        wanted = {"soft_labels": self.soft_labels, "calibration": settings["calibration"]}
        way = f"pool above 0; got pool={self.pool!r}, which comes to 0 here"
        need_learning(wanted, settings["pool"], way)
        return settings

    def _sized(self, network: NetworkSpec, settings: Mapping[str, Any]) -> NetworkSpec:
        width = settings["width"]
        if width is None:
            return network
        if not isinstance(network, str) or network not in SIZED:
            raise ValueError(
                f"width is for the networks {sorted(SIZED)}; got width={self.width!r} with "
                f"network={self.network!r}."
            )
        return partial(NETWORKS[network], width=int(width))

    def _source(
        self,
        fresh: FreshNetworks,
        task: Task,
        pools: ClassPools,
        settings: Mapping[str, Any],
        rows: float,
    ) -> NetworkSource:
        if not settings["pool"]:
            return fresh
        return trained_networks(
            fresh,
            pools,
            size=settings["pool"],
            rows=rows,
            policy=None if is_auto(self.augmentation) else settings["augmentation"],
            precision=self._precision(task),
        )

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        shape = task.data.layout.canonical_shape
        if self.preset == "paper":
            return published(shape, task.ipc, self.network, given)
        given = {"factor": mosaics(shape, task.ipc), **given}
        settings = defaults(shape, task.ipc, task.device, self.network, given)
        if is_dear(shape, task.device):
            settings |= frugal(shape, task.ipc, self.network, self.soft_labels, given)
        return settings
