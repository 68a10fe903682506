"""The optimisation that every condensation method shares.

A method is an *objective*, a *source of networks* and defaults. One iteration:

1. take a network from the source;
2. for every class at once, draw real rows, decode the stored rows (at most 200 of them a
   class), and put both through the class's one augmentation draw; a draw may serve some
   iterations, and real features are then computed once for as long as the network stays;
3. step the stored rows along the gradient of the summed losses, and clamp them.

Classes are independent given the network, so they share one batched pass; nothing in the
loop waits for the device unless somebody looks at the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m3d_sklearn.core.devices import fused_optimizer, is_accelerator
from m3d_sklearn.core.distributed import ALONE, Share
from m3d_sklearn.core.draws import Draws
from m3d_sklearn.core.keeper import Unkept
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import LOSS_EVERY, Recipe
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import NetworkSource
from m3d_sklearn.core.state import Stateful, StatefulOptimizer
from m3d_sklearn.core.step import Gradient, Objective

__all__ = ["Outcome", "condense"]

CHECK_EVERY = 1000  # iterations between two looks at a GPU's numbers: to look is to wait for it
HALVED = (0.6, 0.8, 0.9)  # of a run, where the schedule "step" halves the rate (CAFE)


class Outcome(NamedTuple):
    """What :func:`condense` gives back: rows in units, recorded losses, iterations, seconds."""

    rows: Tensor
    losses: list[float]
    n_iter: int
    seconds: float


class Plateau:
    """Notices when the mean loss of a window is not below the best one before by `tol`."""

    def __init__(self, recipe: Recipe) -> None:
        self.tol, self.window = recipe.tol, recipe.n_iter_no_change
        self.best = math.inf

    def reached(self, progress: Progress) -> bool:
        """Whether to stop; reads the loss, and so waits for the device, once a window."""
        if self.tol is None or progress.n_iter % self.window:
            return False
        current = progress.loss(self.window // LOSS_EVERY)
        if self.best < math.inf and current >= self.best - self.tol * abs(self.best):
            return True
        self.best = current
        return False

    def state_dict(self) -> dict[str, Any]:
        """The best window so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Compare with a saved window."""
        self.best = float(state["best"])


def make_optimizer(rows: Tensor, recipe: Recipe) -> torch.optim.Optimizer:
    rate, fused = recipe.learning_rate, fused_optimizer(rows.device) or None
    if recipe.optimizer == "sgd":
        return torch.optim.SGD([rows], rate, momentum=recipe.momentum, fused=fused)
    return torch.optim.Adam([rows], rate, betas=(recipe.momentum, 0.99), fused=fused)


def rate_factor(schedule: str, done: float) -> float:
    """Share of the learning rate left when the fraction `done` of the run is over."""
    if schedule == "step":
        return 0.5 ** sum(done >= place for place in HALVED)
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def goes_on(progress: Progress, recipe: Recipe) -> bool:
    """Whether the budget holds another iteration; says in `progress` how much of it is spent."""
    spent = 0.0
    if recipe.max_time is not None:
        spent = progress.share.ranks.agree(progress.seconds() / recipe.max_time)
    if progress.n_iter >= recipe.max_iter or spent >= 1:
        return False
    progress.done = max(progress.n_iter / recipe.max_iter, spent)
    return True


def condense(
    start: Tensor,
    pools: ClassPools,
    recipe: Recipe,
    objective: Objective,
    networks: NetworkSource,
    stream: Stream,
    watch: Callable[[Progress], bool] | None = None,
    keeper: Unkept | None = None,
    share: Share = ALONE,
) -> Outcome:
    """Optimise the stored rows.

    Parameters
    ----------
    start : Tensor of shape (sum(counts), c, h, w) or (sum(counts), d)
        In units, class after class. Not written to.
    pools : ClassPools
    recipe : Recipe
    objective, networks
        The method.
    stream : Stream
    watch : callable, optional
        Called after every iteration with the :class:`Progress`; True stops the run.
    keeper : Keeper, optional
        Of the run's checkpoints: where it has one, the run goes on from there.
    share : Share, default=ALONE
        Of the classes, where several processes run this together.

    Returns
    -------
    Outcome

    Raises
    ------
    FloatingPointError
        If the loss or the rows are not finite: at the next recorded loss on a CPU, on a GPU
        within CHECK_EVERY iterations.
    """
    rows = start.clone()
    rows.grad = torch.zeros_like(rows)
    optimizer = make_optimizer(rows, recipe)
    pools.only(share.own)
    gradient = Gradient(pools, recipe, objective, stream, share.own)
    progress, plateau, keeper = Progress(rows, share=share), Plateau(recipe), keeper or Unkept()
    moments = StatefulOptimizer(optimizer, share)
    draws = Draws(pools, recipe, stream)
    parts: dict[str, Stateful] = {
        "progress": progress,
        "optimizer": moments,
        "plateau": plateau,
        "draws": draws,
        "stream": stream,
        "pools": pools,
        "networks": networks,
    }
    if keeper.restore(parts):
        return _outcome(progress)
    check_every = CHECK_EVERY if is_accelerator(rows.device) else LOSS_EVERY
    over = False

    def iterate() -> None:
        drawn, new_draw = draws(progress.n_iter)
        network, new = networks(progress)
        look = progress.n_iter % LOSS_EVERY == 0
        news = {"new_network": new, "new_draw": new_draw}
        losses = gradient(rows, network, drawn, whole=look, **news)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate_factor(recipe.schedule, progress.done)
        optimizer.step()
        pools.scale.clamp_(rows)
        progress.n_iter += 1
        if share.steady:
            progress.gather()
        if look:
            progress.losses.append(share.mean(losses))
            if progress.n_iter % check_every < LOSS_EVERY:
                progress.check()

    with keeper:
        while not over and goes_on(progress, recipe):
            iterate()
            over = plateau.reached(progress)
            try:
                over |= watch is not None and watch(progress)
            except KeyboardInterrupt:
                if share.ranks.size == 1:  # else the others would have to write with it
                    keeper.write(finished=over)
                raise
            if share.steady:
                over = share.ranks.agree(over)
            if not over:
                keeper.between(progress.n_iter)
        progress.gather()
        progress.check()
        keeper.write(finished=True)
    return _outcome(progress)


def _outcome(progress: Progress) -> Outcome:
    curve = torch.stack(progress.losses).tolist() if progress.losses else []
    return Outcome(progress.rows, curve, progress.n_iter, progress.seconds())
