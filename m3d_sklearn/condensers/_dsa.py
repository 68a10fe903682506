"""DSA: gradient matching under differentiable Siamese augmentation (ICML-21)."""

from __future__ import annotations

from m3d_sklearn.condensers._dc import DCCondenser
from m3d_sklearn.core.augmentation import Policy, single_operation

__all__ = ["DSACondenser"]

SMALLEST = 16  # pixels a side: below, a shift or a turn of a few degrees is lost in rounding


class DSACondenser(DCCondenser):
    """Condense a labelled data set into `ipc` rows per class by matching augmented gradients.

    DSA [1]_ is DC with one draw of augmentation for the real and the stored rows of a class,
    and for the networks' training on the stored rows.

    .. warning::
       A condenser is a transformer: ``make_pipeline(DSACondenser(), LogisticRegression())``
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
        1,000 networks, SGD with 256 real rows per class. What is given beside it stays as
        given; ``params_`` holds them all.
    network : str or callable, default="auto"
        The network whose gradients are matched, as for :class:`M3DCondenser`; its outputs are
        a logit per class, and its operations can be differentiated twice.
    factor : int, default="auto"
        Mosaics of factor × factor small images in each stored one. "auto" is 1.
    augmentation : list, None or "auto", default="auto"
        As for :class:`M3DCondenser`, and for the network's training as well. "auto" is one of
        colour, crop, cutout, flip (colour images alone), scale and rotate for images of 16 pixels
        or more, and none otherwise.
    init : str, estimator, CondensedSet or (X, y), default="auto"
        The start, as for :class:`M3DCondenser`. "auto" is "mix" where factor is above 1, else
        "real".
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
    DCCondenser : The same without augmentation; its notes hold here too.

    References
    ----------
    .. [1] Zhao, Bilen. "Dataset Condensation with Differentiable Siamese Augmentation." ICML 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from m3d_sklearn import DSACondenser
    >>> X, y = load_digits(return_X_y=True)
    >>> condenser = DSACondenser(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> X_c, y_c = condenser.condensed_
    >>> X_c.shape, y_c.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    _PUBLISHED_START = "real"

    def _policy(self, shape: tuple[int, ...]) -> Policy:
        if len(shape) != 3 or (self.preset != "paper" and min(shape[1:]) < SMALLEST):
            return ()
        return single_operation(shape)
