"""The cases of the speed table: shapes of the problem, and the engine on one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from speed_methods import Method

from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.cpu.convnet import compiled_passes
from m3d_sklearn.core.devices import resolve_precision
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.loop import condense
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools, Scale
from m3d_sklearn.core.sources import FreshNetworks
from m3d_sklearn.core.sources.queue import ACCURACY

__all__ = ["CASES", "CIFAR", "GROWTH", "LARGE_ON", "QUICK", "Case", "Engine", "images_of"]


@dataclass(frozen=True)
class Case:
    """One shape of the problem."""

    name: str
    shape: tuple[int, int, int]
    n_classes: int
    ipc: int
    n: int = 5_000
    batch_real: int = 128
    plain: bool = True
    rounds: int = 5
    precision: str = "auto"


MNIST, CIFAR, LARGE = (1, 28, 28), (3, 32, 32), (3, 224, 224)
QUICK = [Case("mnist-ipc10", MNIST, 10, 10, rounds=3), Case("mnist-ipc1", MNIST, 10, 1, rounds=3)]
CASES = [
    Case("mnist-ipc1", MNIST, 10, 1),
    Case("mnist-ipc10", MNIST, 10, 10),
    Case("cifar10-ipc1", CIFAR, 10, 1),
    Case("cifar10-ipc10", CIFAR, 10, 10),
    Case("cifar10-ipc50", CIFAR, 10, 50, rounds=3),
    Case("100classes-ipc10", CIFAR, 100, 10, n=20_000, rounds=3),
]
# Two CPU cores would take minutes per iteration at the published batch.
LARGE_ON = {
    "cpu": Case("224px-ipc1", LARGE, 10, 1, n=400, batch_real=8, rounds=3),
    "cuda": Case("224px-ipc10", LARGE, 10, 10, n=2_000),
}
SMALL = Case("", (3, 16, 16), 10, 1, batch_real=16, plain=False)
GROWTH = (
    [replace(SMALL, name=f"classes-{c}", n_classes=c, n=40 * c) for c in (10, 30, 100, 300, 1000)]
    + [replace(SMALL, name=f"ipc-{i}", ipc=i) for i in (1, 3, 10, 30, 50, 100)]
    + [replace(SMALL, name=f"n-{n}", n=n) for n in (10_000, 100_000, 1_000_000)]
    + [replace(SMALL, name=f"side-{s}", shape=(3, s, s)) for s in (16, 32, 64, 128)]
)


def images_of(case: Case, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (case.n, *case.shape), generator=generator, dtype=torch.uint8)
    return images.to(device), (torch.arange(case.n) % case.n_classes).to(device)


class Engine:
    """The engine at the published settings; with another method's objective, unfolded."""

    def __init__(
        self, case: Case, device: torch.device, form: str, method: Method | None = None
    ) -> None:
        images, labels = images_of(case, device)
        values = (torch.tensor(v) for v in (0.0, 255.0, 0.0, 1.0, 0.5, 0.3))
        scale = Scale(*values).to(device, torch.float32)
        self.stream = Stream(0, device)
        self.pools = ClassPools(images, labels, case.n_classes, scale)
        self.recipe = Recipe(
            counts=[case.ipc] * case.n_classes,
            factor=2 if method is None else 1,
            policy=MATCHING if method is None else method.policy,
            batch_real=case.batch_real,
            optimizer="sgd",
            learning_rate=2.0 * case.ipc,
            momentum=0.5**case.n_classes,
            schedule="constant",
            max_iter=1,
            precision=resolve_precision(case.precision, device),
            coupled=method is not None and method.name == "cafe",
        )
        self.rows = torch.rand(case.n_classes * case.ipc, *case.shape, device=device)
        self.networks = FreshNetworks("convnet", case.shape, case.n_classes, 5, self.stream)
        if form == "compiled":
            self.networks.network.passes = compiled_passes()
        self.networks.network.register_buffer(ACCURACY, torch.tensor(50.0, device=device))
        self.objective = MMDObjective(make_kernel("rbf")) if method is None else method.objective

    def run(self, iterations: int, watch: Callable[..., bool] | None = None) -> None:
        recipe = replace(self.recipe, max_iter=iterations)
        arguments = (recipe, self.objective, self.networks, self.stream, watch)
        self.rows = condense(self.rows, self.pools, *arguments).rows
