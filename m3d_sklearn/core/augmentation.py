"""Differentiable augmentation: draw first, then apply.

One draw can serve a whole class, real and synthetic images alike (Siamese, DSA,
ICML-21), or a single image (for training): `draw` makes numbers for n groups, `apply`
looks up each image's group.

A *policy* is a sequence of operation names; a tuple inside it stands for one of its
members, chosen anew at every draw. ``"color"`` is short for its three operations.

=========== ===============================================================
operation   what it does to a normalised image x, u uniform in [0, 1)
=========== ===============================================================
brightness  x + (u − ½)
saturation  (x − mean over channels)·2u + mean
contrast    (x − mean of the image)·(u + ½) + mean
crop        shifted by up to 12.5 % of the side, zeros filled in
cutout      a square of half the side set to zero
flip        mirrored left to right with probability ½
scale       zoomed by 1/1.2 to 1.2, each axis apart
rotate      turned by up to ±15°
=========== ===============================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_sklearn.core.randomness import Stream

__all__ = [
    "MATCHING",
    "OPERATIONS",
    "Draw",
    "apply",
    "check_policy",
    "draw",
    "draw_by_batch",
    "gives",
    "resolve",
    "single_operation",
    "tensors",
    "with_tensors",
]

CROP, CUTOUT, SCALE, ROTATE = 0.125, 0.5, 1.2, math.radians(15)

Policy = Sequence[str | tuple[str, ...]]
MATCHING: Policy = ("color", "crop", "cutout")
SIAMESE = ("color", "crop", "cutout", "flip", "scale", "rotate")
ALIASES = {"color": ("brightness", "saturation", "contrast")}


class Operation(NamedTuple):
    """How an operation draws its numbers (n, k) and how it uses them, one row per image."""

    draw: Callable[[Stream, int, int, int], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


class Draw(NamedTuple):
    """One operation, the numbers drawn for it, a row a group, and which groups it is for."""

    name: str
    numbers: Tensor
    chosen: Tensor | None = None


def _uniform(low: float = 0.0, high: float = 1.0, k: int = 1) -> Callable[..., Tensor]:
    return lambda stream, n, height, width: stream.uniform(n, k, low=low, high=high)


def _over_image(numbers: Tensor) -> Tensor:
    return numbers[:, 0, None, None, None]


def _brightness(x: Tensor, numbers: Tensor) -> Tensor:
    return x + _over_image(numbers)


def _saturation(x: Tensor, numbers: Tensor) -> Tensor:
    if x.shape[1] == 1:  # one channel is its own mean
        return x
    mean = x.mean(1, keepdim=True)
    return (x - mean) * _over_image(numbers) + mean


def _contrast(x: Tensor, numbers: Tensor) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * _over_image(numbers) + mean


def _draw_crop(stream: Stream, n: int, height: int, width: int) -> Tensor:
    reach = [int(side * CROP + 0.5) for side in (height, width)]
    return torch.stack([stream.integers(-r, r + 1, n) for r in reach], 1)


def _crop(x: Tensor, numbers: Tensor) -> Tensor:
    for axis in (0, 1):
        side = x.shape[2 + axis]
        source = torch.arange(side, device=x.device) + numbers[:, axis, None]  # (n, side)
        inside = ((source >= 0) & (source < side)).to(x.dtype)
        shape = [len(x), 1, 1, 1]
        shape[2 + axis] = side
        index = source.clamp(0, side - 1).view(shape).expand_as(x)
        x = x.gather(2 + axis, index) * inside.view(shape)
    return x


def _draw_cutout(stream: Stream, n: int, height: int, width: int) -> Tensor:
    # An even square has no central pixel, so one more centre keeps the border symmetric.
    edges = [(side, int(side * CUTOUT + 0.5)) for side in (height, width)]
    return torch.stack([stream.integers(0, side + 1 - cut % 2, n) for side, cut in edges], 1)


def _cutout(x: Tensor, numbers: Tensor) -> Tensor:
    rows, columns = (_cut(x.shape[2 + axis], numbers[:, axis, None]) for axis in (0, 1))
    hidden = rows[:, None, :, None] & columns[:, None, None, :]
    return x * (~hidden).to(x.dtype)


def _cut(side: int, centre: Tensor) -> Tensor:
    """Which places of a side the square covers, (n, side)."""
    length = int(side * CUTOUT + 0.5)
    start = centre - length // 2
    place = torch.arange(side, device=centre.device)
    return (place >= start) & (place < start + length)


def _flip(x: Tensor, numbers: Tensor) -> Tensor:
    return torch.where(_over_image(numbers) < 0.5, x.flip(-1), x)


def _warp(x: Tensor, matrix: Tensor) -> Tensor:
    grid = F.affine_grid(matrix.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _scale(x: Tensor, numbers: Tensor) -> Tensor:
    factors = numbers.exp()
    zero = torch.zeros_like(factors[:, 0])
    rows = [factors[:, 0], zero, zero, zero, factors[:, 1], zero]
    return _warp(x, torch.stack(rows, 1).view(-1, 2, 3))


def _rotate(x: Tensor, numbers: Tensor) -> Tensor:
    cosine, sine = numbers[:, 0].cos(), numbers[:, 0].sin()
    ratio = x.shape[2] / x.shape[3]  # grid units differ along the axes of an oblong
    zero = torch.zeros_like(sine)
    rows = [cosine, -sine * ratio, zero, sine / ratio, cosine, zero]
    return _warp(x, torch.stack(rows, 1).view(-1, 2, 3))


OPERATIONS = {
    "brightness": Operation(_uniform(-0.5, 0.5), _brightness),
    "saturation": Operation(_uniform(0, 2), _saturation),
    "contrast": Operation(_uniform(0.5, 1.5), _contrast),
    "crop": Operation(_draw_crop, _crop),
    "cutout": Operation(_draw_cutout, _cutout),
    "flip": Operation(_uniform(), _flip),
    "scale": Operation(_uniform(-math.log(SCALE), math.log(SCALE), k=2), _scale),
    "rotate": Operation(_uniform(-ROTATE, ROTATE), _rotate),
}


def check_policy(policy: Policy, parameter: str = "augmentation") -> None:
    """Raise a ValueError that names the first operation nobody knows."""
    if isinstance(policy, str) or not isinstance(policy, (list, tuple)):
        raise ValueError(
            f"{parameter} must be 'auto', None or a list of operations; got {policy!r}."
        )
    for entry in policy:
        for name in entry if isinstance(entry, (tuple, list)) and entry else (entry,):
            if not isinstance(name, str) or name not in {*OPERATIONS, *ALIASES}:
                raise ValueError(
                    f"{parameter} knows the operations {sorted([*OPERATIONS, *ALIASES])}; "
                    f"got {name!r}."
                )


def draw(policy: Policy, groups: int, size: Sequence[int], stream: Stream) -> list[Draw]:
    """Draw the numbers of every operation of a policy.

    Parameters
    ----------
    policy : sequence of str or tuple of str
    groups : int
        How many independent draws: classes when matching, images when training.
    size : (int, int)
        Height and width of the images.
    stream : Stream

    Returns
    -------
    list of Draw
        One an operation, its numbers of shape (groups, k).
    """
    drawn = []
    for entry in policy:
        choice = entry[stream.choice(len(entry))] if isinstance(entry, tuple) else entry
        for name in ALIASES.get(choice, (choice,)):
            drawn.append(Draw(name, OPERATIONS[name].draw(stream, groups, *size)))
    return drawn


def gives(policy: Policy, names: Any) -> bool:
    """Whether a draw of the policy may be of the operations with these names, in this order."""
    if not isinstance(names, list):
        return False
    ends = {0}  # how many of the names the entries so far may have given
    for entry in policy:
        members = entry if isinstance(entry, tuple) else (entry,)
        added = [list(ALIASES.get(name, (name,))) for name in members]
        ends = {end + len(own) for end in ends for own in added if names[end:][: len(own)] == own}
    return len(names) in ends


def draw_by_batch(
    policy: Policy, batch_of: Tensor, n_batches: int, size: tuple[int, ...], stream: Stream
) -> list[Draw]:
    """Draw the numbers of many images, with one choice of a tuple's members a batch.

    Nothing is chosen on the host: every member is drawn for every image, and says which
    images it is for.

    Parameters
    ----------
    policy : sequence of str or tuple of str
    batch_of : integer Tensor of shape (n,)
        The batch of each image.
    n_batches : int
    size : (int, int)
        Height and width of the images.
    stream : Stream

    Returns
    -------
    list of Draw
        Numbers of shape (n, k).
    """
    drawn = []
    for entry in policy:
        members = entry if isinstance(entry, tuple) else (entry,)
        choice = stream.integers(0, len(members), n_batches)[batch_of] if len(members) > 1 else None
        for place, member in enumerate(members):
            chosen = None if choice is None else choice == place
            for name in ALIASES.get(member, (member,)):
                numbers = OPERATIONS[name].draw(stream, len(batch_of), *size)
                drawn.append(Draw(name, numbers, chosen))
    return drawn


def apply(images: Tensor, drawn: Sequence[Draw], group: Tensor | None = None) -> Tensor:
    """Apply drawn operations to images of shape (n, c, h, w), differentiably.

    Parameters
    ----------
    images : Tensor of shape (n, c, h, w)
    drawn : sequence of Draw
    group : integer Tensor of shape (n,), optional
        Which draw each image gets. By default the i-th gets the i-th.
    """
    for name, numbers, chosen in drawn:
        numbers = numbers if group is None else numbers[group]
        if numbers.is_floating_point():
            numbers = numbers.to(images.dtype)
        changed = OPERATIONS[name].apply(images, numbers)
        if chosen is not None:
            chosen = chosen if group is None else chosen[group]
            changed = torch.where(chosen[:, None, None, None], changed, images)
        images = changed
    return images


def tensors(drawn: Sequence[Draw]) -> list[Tensor]:
    """The tensors of some draws, in one list."""
    return [t for draw in drawn for t in (draw.numbers, draw.chosen) if t is not None]


def with_tensors(drawn: Sequence[Draw], values: Sequence[Tensor]) -> list[Draw]:
    """The same draws with other tensors, in the order of :func:`tensors`."""
    left = iter(values)
    return [
        Draw(name, next(left), None if chosen is None else next(left)) for name, _, chosen in drawn
    ]


def resolve(policy: Policy | str | None, automatic: Policy, is_image: bool) -> Policy:
    """Turn a user's ``augmentation`` into a policy.

    Raises
    ------
    ValueError
        If an operation is unknown, or operations are given for a table.
    """
    if isinstance(policy, str) and policy == "auto":
        return automatic if is_image else ()
    if policy is None:
        return ()
    check_policy(policy)
    if policy and not is_image:
        raise ValueError(
            f"augmentation is for images, and X is a table; use 'auto' or None, got {policy!r}."
        )
    # Configuration files have no tuples.
    return [tuple(entry) if isinstance(entry, list) else entry for entry in policy]


def single_operation(shape: tuple[int, ...]) -> Policy:
    """DSA's policy for images (c, h, w): one operation a draw, and grey ones are not flipped."""
    return (tuple(name for name in SIAMESE if name != "flip" or shape[0] > 1),)
