"""What all synthetic methods share: parameters, starts, and the call of the loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m3d_sklearn._validation import (
    HasMethods,
    Integral,
    Interval,
    Real,
    StrOptions,
    input_attributes,
)
from m3d_sklearn.base import BaseCondenser, Result, Task, make_pools
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.condensers._identity import environment
from m3d_sklearn.condensers._run import Run
from m3d_sklearn.condensers._starts import drawn_rows, given_rows
from m3d_sklearn.core import augmentation as augmentations
from m3d_sklearn.core.devices import PRECISIONS, resolve_precision
from m3d_sklearn.core.distributed import Share, ranks
from m3d_sklearn.core.keeper import Keeper, Unkept
from m3d_sklearn.core.networks import NetworkSpec, auto_network, embed
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import borrowed_global_generators
from m3d_sklearn.core.recipe import LOSS_EVERY, UNLIMITED, Recipe, decoded_counts
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks, NetworkSource
from m3d_sklearn.core.step import Objective
from m3d_sklearn.device_rows import cache_bytes
from m3d_sklearn.progress import Bar, Callbacks, watching

__all__ = ["MatchingCondenser", "is_auto"]

_AUTO = StrOptions({"auto"})


class MatchingCondenser(BaseCondenser):
    """Base of methods that match real and synthetic rows through networks.

    A method gives ``_objective(settings)``, and by ``_automatic(task, given)`` what each
    "auto" comes to; the rest is here.
    """

    _parameter_constraints: dict[str, list[Any]] = BaseCondenser._parameter_constraints | {
        "preset": [StrOptions({"paper"}), None],
        "network": [str, callable],
        "factor": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "augmentation": [str, list, tuple, None],
        "init": [
            StrOptions({"auto", "mix", "real", "noise"}),
            CondensedSet,
            tuple,
            HasMethods(["fit", "transform"]),
        ],
        "max_iter": [_AUTO, Interval(Integral, 0, None, closed="left")],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "iterations_per_network": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "batch_real": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"auto", "adam", "sgd"})],
        "learning_rate": [_AUTO, Interval(Real, 0, None, closed="neither")],
        "momentum": [_AUTO, Interval(Real, 0, 1, closed="left")],
        "schedule": [StrOptions({"auto", "cosine", "constant"})],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, LOSS_EVERY, None, closed="left")],
        "precision": [StrOptions({"auto", *PRECISIONS})],
        "cache": [_AUTO, Interval(Integral, 0, None, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [str, Interval(Integral, 1, None, closed="left")],
        "checkpoint_errors": [StrOptions({"warn", "raise"})],
        "verbose": ["verbose"],
    }

    loss_curve_: np.ndarray
    n_iter_: int

    _AUTOMATIC: tuple[str, ...] = (
        "factor",
        "augmentation",
        "init",
        "max_iter",
        "iterations_per_network",
        "batch_real",
        "optimizer",
        "learning_rate",
        "momentum",
        "schedule",
    )
    """Parameters whose "auto" a method resolves."""

    _INDEPENDENT = True
    """Whether a class's loss is its own, given the network; else processes share nothing."""

    cache: int | str = "auto"
    """Bytes of training rows that stay on the device; a method may make it a parameter."""

    soft_labels: bool = False
    """Whether the source's networks label the result; a method that trains some may make it one."""

    def _objective(self, settings: Mapping[str, Any]) -> Objective:
        raise NotImplementedError  # pragma: no cover - a method writes this

    def _automatic(self, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
        """What "auto" comes to for every name of _AUTOMATIC; `given` holds what is not "auto"."""
        raise NotImplementedError  # pragma: no cover - a method writes this

    def _source(
        self,
        fresh: FreshNetworks,
        task: Task,
        pools: ClassPools,
        settings: Mapping[str, Any],
        rows: float,
    ) -> NetworkSource:
        """The source of networks: random ones, unless a method has another.

        `rows` is how many rows an iteration sends through, a backward pass counting twice.
        """
        return fresh

    def _settings(self, task: Task) -> dict[str, Any]:
        """Values of _AUTOMATIC, with no "auto" left."""
        chosen = {name: getattr(self, name) for name in self._AUTOMATIC}
        given = {name: value for name, value in chosen.items() if not is_auto(value)}
        if self.max_time is not None and self.preset is None:
            given.setdefault("max_iter", UNLIMITED)  # time alone ends the run
        automatic = self._automatic(task, given)
        settings = {name: given.get(name, automatic[name]) for name in self._AUTOMATIC}
        is_image = len(task.data.layout.canonical_shape) == 3
        policy = augmentations.resolve(self.augmentation, settings["augmentation"], is_image)
        return settings | {"augmentation": policy}

    def _recipe(self, task: Task, settings: Mapping[str, Any]) -> Recipe:
        return Recipe(
            counts=task.ipc.tolist(),
            policy=settings["augmentation"],
            factor=int(settings["factor"]),
            batch_real=int(settings["batch_real"]),
            optimizer=settings["optimizer"],
            learning_rate=float(settings["learning_rate"]),
            momentum=float(settings["momentum"]),
            schedule=settings["schedule"],
            max_iter=int(settings["max_iter"]),
            max_time=self.max_time,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            precision=self._precision(task),
            iterations_per_draw=int(settings.get("iterations_per_draw", 1)),
            coupled=not self._INDEPENDENT,
        )

    def _precision(self, task: Task) -> torch.dtype:
        """Of the network's passes."""
        return resolve_precision(self.precision, task.device)

    def _condense(self, task: Task) -> Result:
        keeper = self._keeper()
        run = self._prepared(task)
        if isinstance(keeper, Keeper):
            keeper.open(run.identity(type(self).__name__), environment(), run.words())
        with watching(*self._watchers(run, keeper.n_iter)) as watch:
            outcome = run(watch, keeper)
        result = run.result(outcome.rows, outcome.losses, outcome.n_iter)
        if self.soft_labels and result.soft_labels is None:
            warnings.warn(
                f"the run ended after {outcome.n_iter} iterations, before any of its networks was "
                "trained: the set has no soft labels.",
                stacklevel=4,
            )
        return result

    def _prepared(self, task: Task) -> Run:
        """All that the loop needs, checked."""
        shape = task.data.layout.canonical_shape
        network = auto_network(shape) if self.network == "auto" else self.network
        settings = self._settings(task)
        spec = self._sized(network, settings)
        recipe, init = self._recipe(task, settings), settings["init"]
        _check_factor(recipe.factor, shape)
        given = None if isinstance(init, str) else given_rows(init, task, recipe.factor)
        every = int(settings.get("iterations_per_network", 1))
        fresh = FreshNetworks(spec, shape, len(task.data.classes), every, task.stream)
        _check_features(fresh)
        pools = make_pools(task, self.cache)
        start = drawn_rows(init, pools, recipe, task.stream) if given is None else given
        rows = sum(pools.batch_counts(recipe.batch_real)) + 3 * sum(decoded_counts(recipe))
        fresh.expect(recipe.max_iter * rows, recipe.max_time)
        objective = self._objective(settings)
        source = self._source(fresh, task, pools, settings, rows)
        recipe = replace(recipe, random_passes=fresh.random_passes)
        return Run(
            task=task,
            recipe=recipe,
            params=self._resolved_params(task, network, settings, recipe),
            start=start.to(task.device),
            given=given,
            pools=pools,
            objective=objective,
            source=source,
            network=fresh.network,
            share=self._share(recipe, pools, source),
            labelled=self.soft_labels,
        )

    def _sized(self, network: NetworkSpec, settings: Mapping[str, Any]) -> NetworkSpec:
        """The network as it is built; a method may have a say in its size."""
        return network

    def _keeper(self) -> Unkept:
        """Of the run's checkpoints, where they were asked for."""
        if self.checkpoint is None:
            return Unkept()
        path, others = Path(self.checkpoint), ranks()
        how = self.checkpoint_every, self.checkpoint_errors, others
        return others.together(lambda: Keeper(path, *how))

    def _share(self, recipe: Recipe, pools: ClassPools, source: NetworkSource) -> Share:
        """Of the classes over the processes, by the rows that go through the network."""
        # What a pass draws depends on who goes through with it.
        if recipe.coupled or recipe.random_passes:
            return Share.whole(ranks(), recipe.counts)
        real, decoded = pools.batch_counts(recipe.batch_real), decoded_counts(recipe)
        costs = [n + 2 * m for n, m in zip(real, decoded, strict=True)]
        seen = hasattr(self, "_skl_callbacks") or getattr(source, "sees_rows", False)
        return Share.of(ranks(), recipe.counts, costs, steady=ranks().size > 1 and seen)

    def _watchers(self, run: Run, done: int) -> list[Bar | Callbacks]:
        """Who wants to see the run: the bar, scikit-learn's callbacks, or nobody.

        `done` is how many iterations a checkpoint already holds.
        """
        watchers: list[Bar | Callbacks] = []
        if self.verbose and not ranks().rank:
            watchers.append(Bar(type(self).__name__, run.recipe, done))
        if hasattr(self, "_skl_callbacks"):
            task = run.task

            def fitted_so_far(progress: Progress) -> dict[str, Any]:
                losses = [float(loss) for loss in progress.losses]
                result = run.result(progress.rows, losses, progress.n_iter)
                # None hides the column names of an earlier fit.
                known = task.data.attributes | input_attributes(task.data)
                return known | self._fitted(task, result)

            total = run.recipe.max_iter
            watchers.append(Callbacks(self, task.X, task.y, total, fitted_so_far, done))
        return watchers

    def _resolved_params(
        self, task: Task, network: Any, settings: Mapping[str, Any], recipe: Recipe
    ) -> dict[str, Any]:
        """Every parameter of the estimator, with what "auto" came to."""
        init = settings["init"]
        resolved = {
            "network": network,
            "augmentation": list(recipe.policy),
            "init": init if isinstance(init, str) else type(init).__name__,
            "precision": str(recipe.precision).removeprefix("torch."),
            "cache": cache_bytes(self.cache, task.device),
            "checkpoint": None if self.checkpoint is None else os.fspath(self.checkpoint),
        }
        return {**self._params(task), **settings, **resolved}


def is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _check_factor(factor: int, shape: tuple[int, ...]) -> None:
    if factor == 1:
        return
    if len(shape) != 3:
        raise ValueError(f"factor above 1 is for images, and X is a table; got factor={factor}.")
    # Cells of ceil(side / factor) pixels: the last must not lie in the padding alone.
    if any(side < 2 * factor or (factor - 1) * -(-side // factor) >= side for side in shape[1:]):
        raise ValueError(
            f"factor={factor} needs images that divide into {factor}×{factor} cells of 2 pixels "
            f"or more; got {shape[1]}×{shape[2]} pixels."
        )


def _check_features(fresh: FreshNetworks) -> None:
    """Send two grey rows through, so that a factory's mistake shows before any work."""
    rows = torch.zeros(2, *fresh.input_shape, device=fresh.stream.device)
    try:
        with torch.no_grad(), borrowed_global_generators(fresh.stream) as drew:
            features = embed(fresh.network, rows)
            fresh.random_passes |= drew()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"network must take rows of shape {tuple(fresh.input_shape)} (channels first); it "
            f"failed with: {error}"
        ) from error
    if features.shape[0] != 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(
            f"network must give floating-point features, a row each; got {tuple(features.shape)} "
            "for 2 rows."
        )
