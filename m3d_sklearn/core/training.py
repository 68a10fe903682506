"""Training of networks on rows that live on the device.

=========== ==================================================================
protocol    SGD 0.01, momentum 0.9, weight decay 5e-4, last epoch, and
=========== ==================================================================
m3d         batches of 64; rate ×0.2 at 2/3 and 5/6; 1,000 epochs; colour, flip
            and one of crop, scale and rotate, a draw per image; CutMix on half of
            the batches (IDC's and M3D's evaluation)
dc          batches of 256; rate ×0.1 half-way; 300 epochs without augmentation,
            for grey images 1,000 with one of crop, scale and rotate (DC family)
=========== ==================================================================

Grey images are not flipped: most of them are digits or letters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_sklearn.core import augmentation
from m3d_sklearn.core.augmentation import Draw, Policy
from m3d_sklearn.core.devices import autocast, is_accelerator
from m3d_sklearn.core.flop import compile_where_it_pays
from m3d_sklearn.core.gpu.graphs import Graphs
from m3d_sklearn.core.many import together
from m3d_sklearn.core.networks import rows_in_cache
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import Scale

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "TrainingRecipe",
    "make_optimizer",
    "predict_logits",
    "run_epochs",
    "train",
]

MOST_STEPS, FEWEST_EPOCHS = 20_000, 20
PREDICT_ROWS = 1024


@dataclass(frozen=True)
class Protocol:
    """What a published evaluation fixes, for grey and for colour images."""

    batch_size: int
    milestones: tuple[float, ...]
    decay: float
    epochs: tuple[int, int]
    policies: tuple[Policy, Policy]
    cutmix: float


_MOVES = ("crop", "scale", "rotate")
PROTOCOLS = {
    "m3d": Protocol(
        64, (2 / 3, 5 / 6), 0.2, (1000, 1000), (("color", _MOVES), ("color", "flip", _MOVES)), 0.5
    ),
    "dc": Protocol(256, (0.5,), 0.1, (1000, 300), ((_MOVES,), ()), 0.0),
}


@dataclass(frozen=True)
class TrainingRecipe:
    """Resolved settings of one training.

    Attributes
    ----------
    steps : int
        Batches in all.
    batch_size : int
    learning_rate, momentum, weight_decay : float
    milestones : tuple of float
        Fractions of the steps after which the rate is multiplied by `decay`.
    decay : float
    policy : augmentation operations, one draw per image
    cutmix : float
        Probability that a batch is mixed.
    precision : torch.dtype
        Of the passes; weights and steps are in the rows' own.
    """

    steps: int
    batch_size: int
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = ()
    decay: float = 1.0
    policy: Policy = ()
    cutmix: float = 0.0
    precision: torch.dtype = torch.float32


def default_epochs(published: int, n: int, batch_size: int) -> int:
    """The published epochs, fewer where they would pass 20,000 steps, never under 20."""
    affordable = MOST_STEPS // math.ceil(n / batch_size)
    return max(FEWEST_EPOCHS, min(published, affordable))


def cutmix(
    images: Tensor, labels: Tensor, numbers: Tensor, partner: Tensor, probability: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a box of another image of the batch (Yun et al., ICCV-19), Beta(1, 1).

    Parameters
    ----------
    images : Tensor of shape (N, b, c, h, w)
        A batch of each of N networks.
    labels : Tensor of shape (N, b) or (N, b, n_outputs)
    numbers : Tensor of shape (N, 4)
        Uniform: whether to paste, how much, and the box's centre.
    partner : Tensor of shape (N, b)
        Whose box each image gets.
    probability : float
        Of a network's batch being mixed.

    Returns
    -------
    images : Tensor of shape (N, b, c, h, w)
    other : Tensor of the shape of labels
        Labels of the pasted boxes.
    share : Tensor of shape (N,)
        Share of the pixels that stay the image's own: 1 where nothing is pasted.
    """
    used, side = numbers[:, 0] < probability, (1 - numbers[:, 1]).sqrt()
    edges = []
    for length, centre in zip(images.shape[3:], numbers[:, 2:].unbind(1), strict=True):
        middle, half = (centre * length).floor(), (length * side).floor().div(2).floor()
        place = torch.arange(length, device=images.device)
        inside = (place >= (middle - half)[:, None]) & (place < (middle + half)[:, None])
        edges.append(inside & used[:, None])
    box = edges[0][:, :, None] & edges[1][:, None, :]
    foreign = images.gather(1, partner[..., None, None, None].expand_as(images))
    mixed = torch.where(box[:, None, None], foreign, images)
    others = partner if labels.ndim == 2 else partner[..., None].expand_as(labels)
    return mixed, labels.gather(1, others), 1 - box.to(images.dtype).mean((1, 2))


class EpochDraw(NamedTuple):
    """All random choices of an epoch of N networks over n rows, in the order of their batches."""

    order: Tensor  # (N, n)
    augmentation: list[Draw]  # of (N, n, k) numbers
    boxes: Tensor  # (N, batches, 4)
    partners: Tensor  # (N, n), places within a batch


def draw_epoch(
    n: int, size: tuple[int, ...], recipe: TrainingRecipe, streams: Sequence[Stream]
) -> EpochDraw:
    """Draw an epoch, each network's part from its own stream.

    All at once, so that a step costs a GPU's host some slices and no more.
    """
    n_batches = -(-n // recipe.batch_size)
    batch_of = torch.arange(n, device=streams[0].device) // recipe.batch_size
    orders, draws, boxes, partners = [], [], [], []
    for stream in streams:
        orders.append(stream.permutation(n))
        draws.append(augmentation.draw_by_batch(recipe.policy, batch_of, n_batches, size, stream))
        boxes.append(stream.uniform(n_batches if recipe.cutmix else 0, 4))
        partners.append(stream.uniform(n if recipe.cutmix else 0))
    return EpochDraw(
        torch.stack(orders),
        [_stacked(own) for own in zip(*draws, strict=True)],
        torch.stack(boxes),
        _places(torch.stack(partners), recipe.batch_size),
    )


def _stacked(draws: Sequence[Draw]) -> Draw:
    """One operation's draws of all networks."""
    chosen = [draw.chosen for draw in draws if draw.chosen is not None]
    numbers = torch.stack([draw.numbers for draw in draws])
    return Draw(draws[0].name, numbers, torch.stack(chosen) if chosen else None)


def _places(numbers: Tensor, batch_size: int) -> Tensor:
    """A random order within each batch, (N, n), from uniform numbers."""
    whole = numbers.shape[1] // batch_size * batch_size
    batches = numbers[:, :whole].unflatten(1, (-1, batch_size)) if whole else numbers[:, None, :0]
    return torch.cat([batches.argsort(2).flatten(1), numbers[:, whole:].argsort(1)], 1)


def train(
    networks: Sequence[nn.Module],
    take: Callable[[Tensor], Tensor],
    labels: Tensor,
    recipe: TrainingRecipe,
    streams: Sequence[Stream],
    shape: tuple[int, ...],
    watch: Callable[[int, Tensor], bool] | None = None,
) -> np.ndarray:
    """Train networks of one architecture in place, together; the last step is what counts.

    Each has its own batches, augmentation and boxes from its own stream, and comes out as
    it would alone, but for rounding.

    Parameters
    ----------
    networks : sequence of nn.Module
        On the device, with weights as drawn.
    take : callable
        Row numbers to normalised rows.
    labels : Tensor of shape (n,) or (n, n_outputs)
        Integers, or a distribution per row in the rows' own dtype.
    recipe : TrainingRecipe
    streams : sequence of Stream
        One a network.
    shape : tuple of int
        Of a row: (c, h, w) or (d,).
    watch : callable, optional
        Called with (epochs done, mean losses of the epoch, a network each) after each; True
        stops.

    Returns
    -------
    ndarray of shape (epochs, len(networks))
        Mean loss of every epoch.

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the networks are useless then.
    """
    device = labels.device
    seen = 3 * recipe.steps * recipe.batch_size  # backward is twice forward
    many = together(networks, streams, device)
    for network in networks:
        network.train()
        compile_where_it_pays(network, shape, seen * len(networks), device)
    optimizer = make_optimizer(many, recipe)
    curve = run_epochs(many, optimizer, take, labels, recipe, streams, shape[1:], watch)
    many.write_back()
    if not curve:
        return np.zeros((0, len(networks)))
    losses = torch.stack(curve).double().cpu().numpy()
    if not np.isfinite(losses).all():
        epoch = int(np.flatnonzero(~np.isfinite(losses).all(1))[0])
        raise FloatingPointError(
            f"the training loss is not finite in epoch {epoch + 1} of {len(curve)}. A lower "
            "learning_rate, precision='float32', or a network whose values stay in range may help."
        )
    return losses


def make_optimizer(many: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        many.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )


def run_epochs(
    many: nn.Module,
    optimizer: torch.optim.Optimizer,
    take: Callable[[Tensor], Tensor],
    labels: Tensor,
    recipe: TrainingRecipe,
    streams: Sequence[Stream],
    size: tuple[int, ...],
    watch: Callable[[int, Tensor], bool] | None = None,
    graphs: Graphs | None = None,
) -> list[Tensor]:
    """Train what :func:`together` gives, by an optimiser that may go on; losses of the epochs.

    With `graphs` of its own a caller that trains again and again records a step once.
    """
    graphs = graphs or Graphs(labels.device)
    drops = [int(recipe.steps * fraction) for fraction in recipe.milestones]
    curve: list[Tensor] = []
    step, n = 0, len(labels)
    while step < recipe.steps:
        losses = []
        epoch = draw_epoch(n, size, recipe, streams)
        for start in range(0, n, recipe.batch_size):
            rate = recipe.learning_rate * recipe.decay ** sum(step >= drop for drop in drops)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _fill_gradients(many, take, labels, recipe, epoch, start, graphs)
            optimizer.step()
            losses.append(loss)
            step += 1
            if step == recipe.steps:
                break
        curve.append(torch.stack(losses).mean(0))
        if watch is not None and watch(len(curve), curve[-1]):
            break
    return curve


def _fill_gradients(
    many: nn.Module,
    take: Callable[[Tensor], Tensor],
    labels: Tensor,
    recipe: TrainingRecipe,
    epoch: EpochDraw,
    start: int,
    graphs: Graphs,
) -> Tensor:
    """Put the gradients of every network's batch in place, and give its mean loss, (N,)."""
    batch = slice(start, start + recipe.batch_size)
    order, partner = epoch.order[:, batch], epoch.partners[:, batch]
    boxes = epoch.boxes[:, start // recipe.batch_size] if recipe.cutmix else epoch.boxes
    numbers = [own[:, batch] for own in augmentation.tensors(epoch.augmentation)]
    parameters = list(many.parameters())

    def step(rows: Tensor, wanted: Tensor, boxes: Tensor, partner: Tensor, *numbers: Tensor) -> Any:
        by_row = [own.flatten(0, 1) for own in numbers]  # network after network
        rows = augmentation.apply(rows, augmentation.with_tensors(epoch.augmentation, by_row))
        losses = _batch_losses(many, rows, wanted, boxes, partner, recipe)
        gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
        return losses.detach(), gradients

    tensors = [take(order.flatten()), labels[order], boxes, partner, *numbers]
    losses, gradients = graphs(step, tensors) if many.recordable else step(*tensors)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return losses.clone()


def _batch_losses(
    many: nn.Module,
    rows: Tensor,
    wanted: Tensor,
    boxes: Tensor,
    partner: Tensor,
    recipe: TrainingRecipe,
) -> Tensor:
    """Mean loss of each network's batch, (N,); rows stand network after network."""
    rows, other = rows.unflatten(0, wanted.shape[:2]), None
    if recipe.cutmix:
        rows, other, share = cutmix(rows, wanted, boxes, partner, recipe.cutmix)
    with autocast(rows.device, recipe.precision):
        logits = many(rows).to(rows.dtype)
    losses = _cross_entropy(logits, wanted)
    if other is not None:
        losses = share * losses + (1 - share) * _cross_entropy(logits, other)
    return losses


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch, of (N, b, n_outputs) and (N, b), or distributions (N, b, n_outputs)."""
    wanted = labels if labels.ndim == 2 else labels.transpose(1, 2)
    return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)


@torch.no_grad()
def predict_logits(network: nn.Module, rows: Tensor, scale: Scale) -> Tensor:
    """Logits of rows as they came, (n, n_outputs), in evaluation mode."""
    network.eval()
    small = rows.ndim == 4 and not is_accelerator(rows.device)
    parts = rows.split(rows_in_cache(rows) if small else PREDICT_ROWS)
    return torch.cat([network(scale.normalise(scale.to_units(part))) for part in parts])
