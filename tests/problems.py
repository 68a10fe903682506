"""Small condensation problems with exact answers, for the tests of the loop and of its steps."""

from __future__ import annotations

import math
from functools import partial

import torch
from reference import draw_steps

from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.loop import condense
from m3d_sklearn.core.networks import ConvNet
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools, Scale
from m3d_sklearn.core.sources import FreshNetworks

CPU = torch.device("cpu")
INF = math.inf
RBF = MMDObjective(make_kernel("rbf"))

# Of the published loop. At its own rate these tiny images turn to chaos, and rounding with them.
LR, MOMENTUM = 0.3, 0.5
EQUAL = 1e-11


def scale_of(low=0.0, high=1.0, mean=0.0, std=1.0, dtype=torch.float64):
    values = (torch.as_tensor(v) for v in (0.0, 1.0, low, high, mean, std))
    return Scale(*values).to(CPU, dtype)


def recipe_of(counts, **settings):
    defaults = {
        "factor": 1,
        "policy": (),
        "batch_real": 4,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.0,
        "schedule": "constant",
        "max_iter": 20,
    }
    return Recipe(counts=counts, **(defaults | settings))


class Problem:
    """Small images, and the published (LR, MOMENTUM) as the engine's equivalent settings."""

    def __init__(self, sizes, counts, *, channels=3, clamp=True, black=False, **settings):
        n_classes = len(sizes)
        self.shape = (channels, 8, 8)
        generator = torch.Generator().manual_seed(1)

        def uniform(*shape):
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        self.labels = torch.arange(n_classes).repeat_interleave(torch.tensor(sizes))
        self.rows = uniform(sum(sizes), *self.shape)
        self.rows += 0.3 * uniform(n_classes, *self.shape)[self.labels]
        if black:  # bright middles on a background of exact zeros, as MNIST
            middle = torch.zeros(8, 8, dtype=torch.float64)
            middle[2:6, 2:6] = 1
            self.rows *= middle
        self.rows /= self.rows.max()
        low, high = (0.0, 1.0) if clamp else (-INF, INF)
        mean = torch.linspace(0.3, 0.5, channels).view(-1, 1, 1)
        self.scale = scale_of(low, high, mean, mean / 2)
        own = MOMENTUM**n_classes
        self.recipe = recipe_of(
            counts,
            learning_rate=LR * (1 - own) / (1 - MOMENTUM),
            momentum=own,
            **settings,
        )
        # No real rows: where all of a class is stored, the loss's gradient is rounding alone.
        self.start = self.rows.max() * uniform(sum(counts), *self.shape).round(decimals=1)

    def fresh(self):
        """Pools, networks and stream as they stand before the first draw."""
        stream = Stream(7, CPU)
        factory = partial(ConvNet, width=8, depth=2)
        networks = FreshNetworks(factory, self.shape, len(self.recipe.counts), 5, stream)
        networks.network.double()
        pools = ClassPools(self.rows, self.labels, len(self.recipe.counts), self.scale)
        return pools, networks, stream

    def engine(self, objective=RBF, watch=None):
        pools, networks, stream = self.fresh()
        return condense(self.start, pools, self.recipe, objective, networks, stream, watch)

    def plain(self, run, n_iter=None, **options):
        pools, networks, stream = self.fresh()
        steps = draw_steps(pools, self.recipe, networks, stream, n_iter)
        options = {"lr": LR, "momentum": MOMENTUM} | options
        return run(self.start, pools, self.recipe, steps, **options)
