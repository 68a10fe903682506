"""Classifiers: a network trained as the field evaluates, and any classifier on a condensed set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from tqdm.auto import tqdm

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral, Interval, Real, StrOptions
from m3d_sklearn.core import augmentation as augmentations
from m3d_sklearn.core.devices import (
    PRECISIONS,
    float64_device,
    resolve_device,
    resolve_precision,
)
from m3d_sklearn.core.networks import auto_network, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.training import (
    PROTOCOLS,
    TrainingRecipe,
    default_epochs,
    predict_logits,
    train,
)
from m3d_sklearn.device_rows import device_rows, held_or_read

__all__ = ["NetworkClassifier", "make_recipe"]

_AUTO = StrOptions({"auto"})
SEEDS = np.iinfo(np.int32).max


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """A network trained from scratch, as the field trains on condensed sets.

    SGD, the rate stepped down, a draw of augmentation an image, CutMix; the last epoch
    counts. Images of any layout or tables, as for :class:`M3DCondenser`.

    Parameters
    ----------
    network : str or callable, default="auto"
        "auto" is "convnet" for images and "mlp" for tables; or "resnet10", "resnet18",
        "densenet121"; or a factory of a module, called with (input_shape, n_outputs), or
        with nothing where it takes no arguments.
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is the protocol's number, fewer where that would pass 20,000 steps,
        and never under 20.
    protocol : {"m3d", "dc"}, default="m3d"
        Which published evaluation gives what is "auto" below, and the rate's steps: "m3d"
        has batches of 64, 1,000 epochs, rate ×0.2 at 2/3 and 5/6, augmentation and CutMix;
        "dc" has batches of 256, 300 epochs (grey images 1,000), rate ×0.1 half-way, and
        augmentation for grey images only.
    batch_size : int or "auto", default="auto"
        Rows per step.
    learning_rate : float, default=0.01
        Rate of SGD.
    momentum : float, default=0.9
        Of SGD.
    weight_decay : float, default=5e-4
        Of SGD.
    augmentation : list, None or "auto", default="auto"
        Operations, a draw per image; see :class:`M3DCondenser`. "auto" is the protocol's,
        without flips for grey images.
    cutmix : float or "auto", default="auto"
        Share of batches in which images get a box of another one.
    image_shape : tuple of int, default=None
        Shape that each flat row of X stands for.
    channel_axis : {"auto", 1, -1, 3, None}, default="auto"
        Where 4-D X has its channels.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the passes in training; weights and steps are in float32 throughout. "auto" is
        bfloat16 on CUDA devices that compute in it, and float32 elsewhere.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and augmentation.
    verbose : int, default=0
        Shows a progress bar. Changes what is printed, not the result.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : int
        Epochs trained.
    n_steps_ : int
        Batches seen.
    loss_curve_ : ndarray of shape (n_iter_,)
        Mean training loss of every epoch.
    weights_ : dict of ndarray
        The network's state, in numpy, so that it loads on a machine without the device.
    n_features_in_ : int
        Values in a row of X.
    feature_names_in_ : ndarray
        Column names, where X was a DataFrame of string names.
    sample_shape_in_ : tuple of int
        Shape of a row of X.

    See Also
    --------
    evaluate : Several networks on one condensed set, scored on held-out rows.

    Notes
    -----
    Prediction is in float64 and without batch statistics, so a row gets the same answer
    alone and among others.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import NetworkClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> NetworkClassifier(max_iter=50, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "network": [str, callable],
        "max_iter": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "protocol": [StrOptions(set(PROTOCOLS))],
        "batch_size": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augmentation": [str, list, tuple, None],
        "cutmix": [_AUTO, Interval(Real, 0, 1, closed="both")],
        "image_shape": [tuple, list, None],
        "channel_axis": [_AUTO, Integral, None],
        "precision": [StrOptions({"auto", *PRECISIONS})],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    classes_: np.ndarray
    weights_: dict[str, np.ndarray]
    loss_curve_: np.ndarray
    n_iter_: int
    n_steps_: int

    def __init__(
        self,
        network: str | Callable[..., nn.Module] = "auto",
        *,
        max_iter: int | str = "auto",
        protocol: str = "m3d",
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        augmentation: str | Sequence[Any] | None = "auto",
        cutmix: float | str = "auto",
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int | None = "auto",
        precision: str = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.max_iter = max_iter
        self.protocol = protocol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.augmentation = augmentation
        self.cutmix = cutmix
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @validation.fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, soft_labels: Any = None) -> NetworkClassifier:
        """Train a fresh network.

        Parameters
        ----------
        X : array-like, DataFrame, Tensor or Dataset
            (n, d), (n, h, w), (n, h, w, c) or (n, c, h, w). Rows in files are read by the
            batch where they take more than 256 MB (on a GPU half of its memory).
        y : array-like of shape (n,)
            None takes a data set's own.
        soft_labels : array-like of shape (n, n_classes), default=None
            Distributions over the classes, in the order of `classes_`, to train on in the
            place of y, which still names the classes:
            ``fit(*condensed.decode(), soft_labels=condensed.soft_labels)``.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Before any work, with an earlier fit left whole.
        """
        device = resolve_device(self.device)
        data = validation.check_training_data(
            self, X, y, image_shape=self.image_shape, channel_axis=self.channel_axis
        )
        shape, n = data.layout.canonical_shape, len(data.rows)
        targets = data.labels
        if soft_labels is not None:
            targets = validation.check_soft_labels(soft_labels, n, len(data.classes))
        recipe, epochs = make_recipe(
            shape,
            n,
            protocol=self.protocol,
            epochs=self.max_iter,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            policy=self.augmentation,
            cutmix=self.cutmix,
            precision=resolve_precision(self.precision, device),
        )
        stream = Stream(int(check_random_state(self.random_state).randint(SEEDS)), device)
        network = auto_network(shape) if self.network == "auto" else self.network
        module = build(network, shape, len(data.classes), stream)
        check_outputs(module, shape, len(data.classes), device)
        units = data.units
        rows, scale = held_or_read(data.rows, units, device)
        labels = torch.from_numpy(targets).to(device)
        with tqdm(total=epochs, disable=not self.verbose, desc=type(self).__name__) as bar:

            def advance(epoch: int, losses: torch.Tensor) -> bool:
                bar.update()
                return False

            curve = train(
                [module],
                lambda index: scale.normalise(scale.to_units(rows[index])),
                labels,
                recipe,
                [stream],
                shape,
                advance if self.verbose else None,
            )
        validation.take_attributes(self, data)
        self.weights_ = {k: v.cpu().numpy() for k, v in module.state_dict().items()}
        self.loss_curve_ = curve[:, 0]
        self.n_iter_, self.n_steps_ = len(curve), recipe.steps
        self._network, self._units = network, units
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            For two classes, the second's logit less the first's.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, (n, n_classes)."""
        return torch.softmax(torch.from_numpy(self._logits(X)), 1).numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, (n, n_classes); finite where those round to 0."""
        return torch.log_softmax(torch.from_numpy(self._logits(X)), 1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Labels, (n,)."""
        places = self._logits(X).argmax(1)
        return self.classes_[places]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = validation.check_new_rows(self, X)
        # float32 rounds differently in batches of different size; float64 hides it.
        device = float64_device(resolve_device(self.device))
        module = rebuild(self, device, torch.float64)
        tensor, scale = device_rows(rows, self._units, device, torch.float64)
        return predict_logits(module, tensor, scale).cpu().numpy()


def make_recipe(
    shape: tuple[int, ...],
    n: int,
    *,
    protocol: str,
    epochs: int | str = "auto",
    steps: int | None = None,
    batch_size: int | str = "auto",
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    policy: Any = "auto",
    cutmix: float | str = "auto",
    precision: torch.dtype = torch.float32,
) -> tuple[TrainingRecipe, int]:
    """Resolve a training: what is "auto" comes from the protocol and the data's shape.

    Returns
    -------
    recipe : TrainingRecipe
    epochs : int
        Passes over the n rows, the last perhaps cut short by `steps`.
    """
    chosen = PROTOCOLS[protocol]
    is_image = len(shape) == 3
    colour = not is_image or shape[0] > 1  # tables share the epochs of colour images
    batch = chosen.batch_size if batch_size == "auto" else int(batch_size)
    passes = -(-n // batch)
    if steps is None:
        if epochs == "auto":
            epochs = default_epochs(chosen.epochs[colour], n, batch)
        steps = int(epochs) * passes
    recipe = TrainingRecipe(
        steps=int(steps),
        batch_size=batch,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        milestones=chosen.milestones,
        decay=chosen.decay,
        policy=augmentations.resolve(policy, chosen.policies[colour], is_image),
        cutmix=(chosen.cutmix if cutmix == "auto" else float(cutmix)) if is_image else 0.0,
        precision=precision,
    )
    return recipe, -(-int(steps) // passes)


def check_outputs(
    module: nn.Module, shape: tuple[int, ...], n_classes: int, device: torch.device
) -> None:
    """Raise a ValueError unless the network gives a logit per class."""
    with torch.no_grad():
        try:
            # In evaluation mode, so that a look leaves no statistics and draws no dropout.
            logits = module.eval()(torch.zeros(2, *shape, device=device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"network must take rows of shape {tuple(shape)} (channels first); it failed "
                f"with: {error}"
            ) from error
    if tuple(logits.shape) != (2, n_classes):
        raise ValueError(
            f"network must give {n_classes} outputs per row, one per class; got "
            f"{tuple(logits.shape)} for 2 rows."
        )


def rebuild(
    classifier: NetworkClassifier, device: torch.device, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """The trained network of a fitted classifier, as a module on a device."""
    shape = classifier._layout.canonical_shape
    module = build(classifier._network, shape, len(classifier.classes_), Stream(0, device))
    weights = {k: torch.from_numpy(np.asarray(v)) for k, v in classifier.weights_.items()}
    module.load_state_dict(weights)
    return module.to(dtype).eval()
