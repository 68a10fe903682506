"""Each method's iteration against its plain loop, for speed.py.

The plain loops take class after class, with torch's modules and autograd, one optimiser step
and one look at the loss per class. Both sides use random networks, a new one every 5 iterations,
and the same augmentation; what methods train beside the matching is left out on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from plain import PlainCondenser, augment
from torch import Tensor, nn

from m3d_sklearn.condensers._dm import mean_matching
from m3d_sklearn.condensers._idm import CalibratedMeans
from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.gradient_matching import gradient_distance
from m3d_sklearn.core.layer_matching import layer_distances
from m3d_sklearn.core.step import Objective

__all__ = ["METHODS", "Method", "PlainMethod"]

PlainLoss = Callable[[nn.Sequential, Tensor, Tensor, int], Tensor]


def plain_dm(network: nn.Sequential, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    embed = network[:-1]
    with torch.no_grad():
        target = embed(real).mean(0)
    return (target - embed(synthetic).mean(0)).square().sum()


def plain_idm(network: nn.Sequential, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    with torch.no_grad():
        target = network[:-1](real).mean(0)
    features = network[:-1](synthetic)
    labels = torch.full((len(synthetic),), label, device=real.device)
    distance = (target - features.mean(0)).square().sum()
    return distance + 0.5 * 50.0 * F.cross_entropy(network[-1](features), labels)


def plain_dc(network: nn.Sequential, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    network.requires_grad_(True)
    weights = list(network.parameters())
    gradients = []
    for rows in (real, synthetic):
        labels = torch.full((len(rows),), label, device=rows.device)
        loss = F.cross_entropy(network(rows), labels)
        gradients.append(torch.autograd.grad(loss, weights, create_graph=rows is synthetic))
    total: Any = 0.0
    for a, b in zip(*gradients, strict=True):
        if a.ndim > 1:
            a, b = a.flatten(1), b.flatten(1)
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def plain_cafe(network: nn.Sequential, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    total: Any = 0.0
    rows, own = real, synthetic
    for place in range(0, 12, 4):
        weight = 0.1 if place < 8 else 1.0
        with torch.no_grad():
            rows = network[place : place + 3](rows)
        own = network[place : place + 3](own)
        total = total + weight * (rows.mean(0) - own.mean(0)).square().sum()
        with torch.no_grad():
            rows = network[place + 3](rows)
        own = network[place + 3](own)
    return total + (rows.mean(0) - own.mean(0)).square().sum()


@dataclass(frozen=True)
class Method:
    """One method's objective, its plain loss, and whether both augment."""

    name: str
    objective: Objective
    plain: PlainLoss
    augmented: bool

    @property
    def policy(self) -> Any:
        return MATCHING if self.augmented else ()


METHODS = [
    Method("dm", mean_matching, plain_dm, True),
    Method("dc", gradient_distance, plain_dc, False),
    Method("dsa", gradient_distance, plain_dc, True),
    Method("cafe", layer_distances, plain_cafe, False),
    Method("idm", CalibratedMeans(0.5), plain_idm, True),
]


class PlainMethod(PlainCondenser):
    """The plain loop with another loss, on stored images as they are."""

    def __init__(self, method: Method, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.method, self.factor = method, 1

    def _class_loss(self, c: int) -> Tensor:
        numbers = torch.rand(7).tolist()
        sides = [self.images[self._draw(c)], self.stored[c * self.ipc : (c + 1) * self.ipc]]
        sides = [(rows - self.mean) / self.std for rows in sides]
        if self.method.augmented:
            sides = [augment(rows, numbers) for rows in sides]
        real, stored = sides
        return self.method.plain(self.network, real, stored, c)


def rows(
    run: Callable[[Method], tuple[float, float]],
) -> Iterator[dict[str, Any]]:
    """A row a method, of what `run` measures: seconds of the plain loop and of the engine."""
    for method in METHODS:
        plain, ours = run(method)
        yield {
            "case": f"{method.name}-cifar10-ipc10",
            "plain_s": plain,
            "eager_s": ours,
            "ours_s": ours,
            "ratio": plain / ours,
            "iterations_per_s": 1 / ours,
        }
