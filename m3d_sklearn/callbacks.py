"""Callbacks for scikit-learn's ``set_callbacks``: what a run comes to while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from torch import nn

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral, Interval
from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.classifier import NetworkClassifier
from m3d_sklearn.core.devices import is_accelerator, resolve_device
from m3d_sklearn.evaluation import evaluate
from m3d_sklearn.held_out import check_held_out, class_places
from m3d_sklearn.row_source import as_source

__all__ = ["AccuracyCurve"]

_KEPT = "network", "protocol", "random_state", "device", "precision"


class AccuracyCurve:
    """Accuracy of the condensed set at chosen iterations of ``fit``, by :func:`evaluate`.

    Set it with ``condenser.set_callbacks(curve)``, or on a ``CondensedClassifier``; needs
    scikit-learn 1.9 or newer. The condensed rows come out the same, bit for bit, and
    iterations that were not chosen cost nothing.

    Parameters
    ----------
    X_test, y_test : array-like
        Held-out rows in the layout of X, as for :func:`evaluate`; checked when a fit begins.
    iterations : iterable of int
        Iterations after which to evaluate: 1 or more, in rising order. The start, 0, is
        before the first that a callback sees: fit with ``max_iter=0`` for it. Those beyond
        the end of a run give no point.
    n_networks : int, default=1
        Networks trained at each point.
    network, protocol : default="auto" and "m3d"
        As for :func:`evaluate`.
    max_steps : int or None, default=300
        Batches of each training. None takes the epochs of the protocol.
    random_state : int, RandomState or None, default=0
        Seeds the trainings of each point: an integer gives all points the same networks.
    device, precision : default="auto"
        As for :func:`evaluate`.

    Attributes
    ----------
    curve_ : list of dict
        A point each, of the last ``fit`` in this process: "iteration"; "seconds", of
        iterating alone (what ``fit`` does before the first iteration, and evaluating, are
        not in them); "accuracy" and "std", mean and standard deviation over the networks;
        "scores", the accuracy of each.

    Notes
    -----
    A run with ``max_time`` gets fewer iterations, as evaluating takes of its time.

    One instance watches one ``fit`` at a time.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import M3DCondenser
    >>> from m3d_sklearn.callbacks import AccuracyCurve
    >>> X, y = load_iris(return_X_y=True)
    >>> curve = AccuracyCurve(X, y, [1, 10], max_steps=50)
    >>> condenser = M3DCondenser(ipc=2, max_iter=10, random_state=0)
    >>> if hasattr(condenser, "set_callbacks"):  # scikit-learn 1.9
    ...     _ = condenser.set_callbacks(curve).fit(X, y)
    ...     assert [point["iteration"] for point in curve.curve_] == [1, 10]
    """

    max_propagation_depth = None  # a CondensedClassifier passes it on to its condenser
    _due = False

    def __init__(
        self,
        X_test: Any,
        y_test: Any,
        iterations: Iterable[int],
        *,
        n_networks: int = 1,
        network: str | Callable[..., nn.Module] = "auto",
        protocol: str = "m3d",
        max_steps: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        self.X_test = X_test
        self.y_test = y_test
        self.iterations = iterations
        self.n_networks = n_networks
        self.network = network
        self.protocol = protocol
        self.max_steps = max_steps
        self.random_state = random_state
        self.device = device
        self.precision = precision

    def _settings(self) -> dict[str, Any]:
        """Parameters of :func:`evaluate`."""
        return {name: getattr(self, name) for name in (*_KEPT, "n_networks", "max_steps")}

    @staticmethod
    @validation.validate_params(
        {name: NetworkClassifier._parameter_constraints[name] for name in _KEPT}
        | {
            "n_networks": [Interval(Integral, 1, None, closed="left")],
            "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        },
        prefer_skip_nested_validation=True,
    )
    def _check(
        *,
        network: Any,
        n_networks: int,
        protocol: str,
        max_steps: int | None,
        random_state: Any,
        device: Any,
        precision: str,
    ) -> None:
        """Refuse what :func:`evaluate` would refuse after the first points."""

    def setup(self, estimator: Any, context: Any) -> None:
        """Check the parameters, before the first iteration.

        Raises
        ------
        ValueError
            If iterations are no rising whole numbers of 1 or more, or a parameter is not
            what :func:`evaluate` takes.
        """
        # fit has switched scikit-learn's checks off for all that it calls.
        with config_context(skip_parameter_validation=False):
            self._check(**self._settings())
        resolve_device(self.device)
        self.iterations = _check_iterations(self.iterations)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing to put away."""

    def on_fit_task_begin(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None
    ) -> None:
        """Start a new curve, or see whether the iteration that begins is a chosen one.

        Raises
        ------
        ValueError
            If a fit begins that X_test and y_test do not fit: its first point would end it.
        """
        if not isinstance(estimator, BaseCondenser):
            return  # a task of the estimator around the condenser
        if context.task_name == "iteration":
            self._due = context.task_id + 1 in self.iterations
        else:
            if X is not None:
                self._check_rows(X, y)
            self._due = False
            self._clock = _Clock(resolve_device(estimator.device))
            self.curve_: list[dict[str, Any]] = []

    def _check_rows(self, X: Any, y: Any) -> None:
        """Refuse held-out rows that :func:`evaluate` would refuse, as far as X and y tell."""
        source = as_source(X)
        shape = np.shape(validation.to_numpy(X)) if source is None else source.shape
        _, labels = check_held_out(self.X_test, self.y_test, tuple(shape[1:]))
        if y is not None:
            class_places(labels, np.unique(np.asarray(validation.to_numpy(y))))

    @property
    def on_fit_task_end(self) -> Callable[..., None]:
        """The hook for the task that ends.

        scikit-learn makes the fitted estimator for a hook whose signature names it, before
        it calls the hook. So the signature names it when a chosen iteration ends and at no
        other time, and the clock stops here, where making it begins.
        """
        if not self._due:
            return self._pass_by
        self._clock.pause()
        return self._evaluate

    def _pass_by(self, estimator: Any, context: Any) -> None:
        """End of a task that was not chosen."""

    def _evaluate(self, estimator: Any, context: Any, *, fitted_estimator: Any) -> None:
        """End of a chosen iteration; without an estimator, one that time cut off."""
        self._due = False
        if fitted_estimator is not None:
            condensed = fitted_estimator.condensed_
            result = evaluate(condensed, self.X_test, self.y_test, **self._settings())
            self.curve_.append(
                {
                    "iteration": fitted_estimator.n_iter_,
                    "seconds": self._clock.seconds,
                    "accuracy": result.mean,
                    "std": result.std,
                    "scores": result.scores.tolist(),
                }
            )
        self._clock.resume()


class _Clock:
    """Seconds since it was made, without those between a pause and what resumes it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.resume()

    def resume(self) -> None:
        self.since: float | None = time.perf_counter()

    def pause(self) -> None:
        """Stop, after the device has done what it was given; nothing where it stands."""
        if self.since is None:
            return
        if is_accelerator(self.device):
            torch.accelerator.synchronize(self.device)
        self.seconds += time.perf_counter() - self.since
        self.since = None


def _check_iterations(iterations: Any) -> list[int]:
    allowed = (
        "iterations must be whole numbers of 1 or more in rising order, such as [1, 10, 100] "
        "(the start, 0, is before the first that a callback sees)"
    )
    try:
        numbers = list(iterations)
    except TypeError as error:
        raise ValueError(f"{allowed}; got {iterations!r}.") from error
    whole = bool(numbers) and all(isinstance(n, Integral) for n in numbers)
    if not whole or any(n <= before for before, n in zip([0, *numbers], numbers, strict=False)):
        raise ValueError(f"{allowed}; got {numbers}.")
    return [int(n) for n in numbers]
