"""M3D as published: a plain loop over the classes, the oracle of the batched engine.

Written from the paper's facts with torch's own operations and no part of the engine's
arithmetic (augmentation apart, which has tests of its own). It takes the engine's random
choices, so that the two can be compared number by number, and serves as the baseline of the
speed benchmarks.

Two forms. In :func:`per_class_loop` each class has a momentum buffer of its own. In
:func:`shared_loop` one tensor holds all classes and is stepped after every class, so that
each class's momentum goes on being applied while the others take their turns. The second
with (lr, μ) is the first with (lr·(1 - μ^C)/(1 - μ), μ^C), each class seen at its own turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_sklearn.core import augmentation
from m3d_sklearn.core.draws import StepDraw, draw_step
from m3d_sklearn.core.networks import ConvNet
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import NetworkSource

MAX_DECODED = 200
Steps = Iterable[tuple[StepDraw, nn.Module]]
Watch = Callable[[int, int, Tensor], None]


def draw_steps(
    pools: ClassPools,
    recipe: Recipe,
    networks: NetworkSource,
    stream: Stream,
    n_iter: int | None = None,
) -> Iterator[tuple[StepDraw, nn.Module]]:
    """Draws and network of each iteration, in the order in which the engine makes them."""
    for iteration in range(recipe.max_iter if n_iter is None else n_iter):
        if iteration % recipe.iterations_per_draw == 0:
            drawn = draw_step(pools, recipe, stream)
        network, _ = networks(Progress(torch.empty(0), iteration))
        yield drawn, network


def pair_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i - y_j‖² of (n, d) and (m, d), from the differences themselves."""
    return (x[:, None] - y[None]).pow(2).sum(-1)


def rbf_mmd2(real: Tensor, synthetic: Tensor) -> Tensor:
    """Biased MMD² of one class under five Gaussians about the mean pair distance."""
    n, total = len(synthetic), len(synthetic) + len(real)
    joint = torch.cat([synthetic, real])
    distances = pair_distances(joint, joint)
    bandwidth = distances.detach().sum() / (total * total - total)
    K = sum(torch.exp(-distances / (bandwidth * m)) for m in (0.25, 0.5, 1, 2, 4))
    return K[:n, :n].mean() - 2 * K[:n, n:].mean() + K[n:, n:].mean()


def linear_mmd2(real: Tensor, synthetic: Tensor) -> Tensor:
    """DM's loss: the squared difference of the means."""
    return (synthetic.mean(0) - real.mean(0)).pow(2).sum()


def decode(images: Tensor, factor: int) -> Tensor:
    """Cut each image into factor by factor crops and up-sample them, crops of an image together."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    h, w = -(-height // factor), -(-width // factor)
    padded = F.pad(images, (0, w * factor - width, 0, h * factor - height), value=0.5)
    crops = [
        padded[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w]
        for i in range(factor)
        for j in range(factor)
    ]
    crops = torch.stack(crops, 1).flatten(0, 1)
    return F.interpolate(crops, size=(height, width), mode="bilinear", align_corners=False)


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:c]) for c in range(len(lengths))]


def class_loss(
    c: int,
    stored: Tensor,
    drawn: StepDraw,
    network: nn.Module,
    pools: ClassPools,
    recipe: Recipe,
    mmd2: Callable[[Tensor, Tensor], Tensor] = rbf_mmd2,
) -> Tensor:
    """Loss of class `c`, whose stored images are `stored`, on its share of the draws."""
    batches = [min(recipe.batch_real, size) for size in pools.sizes]
    start = _starts(batches)[c]
    real = pools.take(drawn.real[start : start + batches[c]])

    synthetic = decode(stored, recipe.factor)
    if drawn.decoded is not None:
        totals = [count * recipe.factor**2 for count in recipe.counts]
        kept = [min(total, MAX_DECODED) for total in totals]
        start = _starts(kept)[c]
        synthetic = synthetic[drawn.decoded[start : start + kept[c]] - _starts(totals)[c]]

    one = [draw._replace(numbers=draw.numbers[c : c + 1]) for draw in drawn.augmentation]

    def features(units: Tensor) -> Tensor:
        images = (units - pools.scale.mean) / pools.scale.std
        if one:
            same = torch.zeros(len(images), dtype=torch.long, device=images.device)
            images = augmentation.apply(images, one, same)
        if isinstance(network, ConvNet):  # whose own features on a CPU are ours
            return network.blocks(images).flatten(1)
        return network.embed(images)

    with torch.no_grad():
        target = features(real)
    return mmd2(target, features(synthetic))


def class_gradient(c: int, rows: Tensor, *settings, **options) -> Tensor:
    """Gradient of the loss of class `c` by its own rows; the other classes' is zero."""
    stored = rows.clone().requires_grad_(True)
    return torch.autograd.grad(class_loss(c, stored, *settings, **options), stored)[0]


def per_class_loop(
    start: Tensor,
    pools: ClassPools,
    recipe: Recipe,
    steps: Steps,
    *,
    lr: float,
    momentum: float,
    mmd2: Callable[[Tensor, Tensor], Tensor] = rbf_mmd2,
    watch: Watch | None = None,
) -> Tensor:
    """Each class alone, with momentum μ^C and rate lr·(1 - μ^C)/(1 - μ) of the published (lr, μ).

    `watch(iteration, class, rows of the class)` is called after each class's step.
    """
    n_classes = len(recipe.counts)
    own = momentum**n_classes
    rate = lr * (1 - own) / (1 - momentum)
    firsts = _starts(recipe.counts)
    rows, velocity = start.clone(), torch.zeros_like(start)
    for iteration, (drawn, network) in enumerate(steps):
        for c, (first, count) in enumerate(zip(firsts, recipe.counts, strict=True)):
            mine = slice(first, first + count)
            gradient = class_gradient(c, rows[mine], drawn, network, pools, recipe, mmd2)
            velocity[mine] = own * velocity[mine] + gradient
            rows[mine] -= rate * velocity[mine]
            rows[mine] = rows[mine].clamp(pools.scale.low, pools.scale.high)
            if watch is not None:
                watch(iteration, c, rows[mine].clone())
    return rows


def shared_loop(
    start: Tensor,
    pools: ClassPools,
    recipe: Recipe,
    steps: Steps,
    *,
    lr: float,
    momentum: float,
    mmd2: Callable[[Tensor, Tensor], Tensor] = rbf_mmd2,
    watch: Watch | None = None,
) -> Tensor:
    """The published loop: clamp once an iteration, and after each class step the whole tensor.

    `watch(iteration, class, rows of the class)` is called just before each class's turn.
    """
    firsts = _starts(recipe.counts)
    rows, velocity = start.clone(), torch.zeros_like(start)
    for iteration, (drawn, network) in enumerate(steps):
        rows = rows.clamp(pools.scale.low, pools.scale.high)
        for c, (first, count) in enumerate(zip(firsts, recipe.counts, strict=True)):
            mine = slice(first, first + count)
            if watch is not None:
                watch(iteration, c, rows[mine].clone())
            gradient = torch.zeros_like(rows)
            gradient[mine] = class_gradient(c, rows[mine], drawn, network, pools, recipe, mmd2)
            velocity = momentum * velocity + gradient
            rows = rows - lr * velocity
    return rows.clamp(pools.scale.low, pools.scale.high)


def gaps_at_own_turns(
    start: Tensor,
    recipe: Recipe,
    fresh: Callable[[], tuple[ClassPools, NetworkSource, Stream]],
    *,
    lr: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """How far the two loops are apart, each class seen at its own next turn.

    `fresh` gives pools, networks and stream as they stand before the first draw. The shared
    loop runs one iteration more: its last only shows where each class comes to stand. Its
    rows are clamped before they are compared, as they would be before anyone uses them.

    Returns
    -------
    mean, largest : Tensor of shape (max_iter, C)
        Of the absolute differences of a class's values, in units.
    """
    per_class: dict[tuple[int, int], Tensor] = {}
    pools, networks, stream = fresh()
    per_class_loop(
        start,
        pools,
        recipe,
        draw_steps(pools, recipe, networks, stream),
        lr=lr,
        momentum=momentum,
        watch=lambda iteration, c, rows: per_class.update({(iteration, c): rows}),
    )
    mean = torch.zeros(recipe.max_iter, len(recipe.counts), dtype=torch.float64)
    largest = mean.clone()

    def compare(iteration: int, c: int, rows: Tensor) -> None:
        if iteration:
            rows = rows.clamp(pools.scale.low, pools.scale.high)
            gap = (rows - per_class[iteration - 1, c]).abs()
            mean[iteration - 1, c], largest[iteration - 1, c] = gap.mean(), gap.max()

    pools, networks, stream = fresh()
    shared_loop(
        start,
        pools,
        recipe,
        draw_steps(pools, recipe, networks, stream, n_iter=recipe.max_iter + 1),
        lr=lr,
        momentum=momentum,
        watch=compare,
    )
    return mean, largest
