"""The random choices of an iteration, and how long they stay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m3d_sklearn.core import augmentation
from m3d_sklearn.core.augmentation import Draw
from m3d_sklearn.core.devices import upload
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import MAX_DECODED, Recipe, decoded_counts
from m3d_sklearn.core.sampling import ClassPools, range_numbers, ranges

__all__ = ["Draws", "StepDraw", "draw_step", "tensors_of", "with_tensors"]


class StepDraw(NamedTuple):
    """All random choices of one iteration but the network's weights."""

    real: Tensor
    decoded: Tensor | None
    augmentation: list[Draw]


def tensors_of(drawn: StepDraw) -> list[Tensor]:
    """The tensors of a draw, in one list."""
    decoded = [] if drawn.decoded is None else [drawn.decoded]
    return [drawn.real, *decoded, *augmentation.tensors(drawn.augmentation)]


def with_tensors(drawn: StepDraw, tensors: Sequence[Tensor]) -> StepDraw:
    """The same choices, read from other tensors, in the order of :func:`tensors_of`."""
    real, *rest = tensors
    decoded = None if drawn.decoded is None else rest.pop(0)
    return StepDraw(real, decoded, augmentation.with_tensors(drawn.augmentation, rest))


def draw_step(pools: ClassPools, recipe: Recipe, stream: Stream) -> StepDraw:
    """Make every random choice of one iteration."""
    real = pools.draw(recipe.batch_real, stream)
    totals = [count * recipe.factor**2 for count in recipe.counts]
    decoded = _draw_decoded(totals, stream) if max(totals) > MAX_DECODED else None
    size = pools.sample_shape[1:]
    drawn = augmentation.draw(recipe.policy, len(recipe.counts), size, stream)
    return StepDraw(real, decoded, drawn)


def _draw_decoded(totals: list[int], stream: Stream) -> Tensor:
    """MAX_DECODED of each class's decoded rows, in their order; all where there are fewer."""
    longest, device = max(totals), stream.device
    keys = stream.uniform(len(totals), longest)
    if min(totals) < longest:
        sizes = upload(totals, device)
        keys.masked_fill_(torch.arange(longest, device=device) >= sizes[:, None], math.inf)
    chosen = keys.topk(MAX_DECODED, largest=False).indices.sort().values
    first = upload(list(accumulate(totals, initial=0))[:-1], device)
    chosen = (chosen + first[:, None]).flatten()
    if min(totals) >= MAX_DECODED:
        return chosen
    # A shorter class's own places come first in its row, and padding after them.
    kept = [min(total, MAX_DECODED) for total in totals]
    return chosen[ranges([c * MAX_DECODED for c in range(len(kept))], kept, device)]


class Draws:
    """Gives each iteration its draw: a new one every ``recipe.iterations_per_draw``.

    Parameters
    ----------
    pools : ClassPools
    recipe : Recipe
    stream : Stream
    """

    def __init__(self, pools: ClassPools, recipe: Recipe, stream: Stream) -> None:
        self.pools, self.recipe, self.stream = pools, recipe, stream
        self.drawn: StepDraw | None = None

    def __call__(self, n_iter: int) -> tuple[StepDraw, bool]:
        """The draw of an iteration, and whether it is a new one."""
        drawn, new = self.drawn, n_iter % self.recipe.iterations_per_draw == 0
        if drawn is None or new:
            drawn, new = draw_step(self.pools, self.recipe, self.stream), True
            self.drawn = drawn
        return drawn, new

    def state_dict(self) -> dict[str, Any]:
        """The draw, where the next iteration may see it again."""
        drawn = self.drawn
        if drawn is None or self.recipe.iterations_per_draw == 1:
            return {"drawn": None}
        operations = [(d.name, d.numbers) for d in drawn.augmentation]
        return {
            "drawn": {
                "real": drawn.real,
                "decoded": drawn.decoded,
                "operations": [name for name, _ in operations],
                "numbers": [numbers for _, numbers in operations],
            }
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a saved draw.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is no draw from these rows by this recipe.
        """
        saved = state["drawn"]
        if saved is None:
            self.drawn = None
            return
        pools, recipe, device = self.pools, self.recipe, self.stream.device
        real_counts = pools.batch_counts(recipe.batch_real)
        real = _whole(saved["real"], sum(real_counts), len(pools.labels), "real")
        wanted = range_numbers(real_counts, pools.labels.device)
        if not torch.equal(pools.labels[real.to(wanted.device)], wanted.to(pools.labels.dtype)):
            raise ValueError("real must hold rows of every class, class after class")
        totals = [count * recipe.factor**2 for count in recipe.counts]
        decoded = None
        if max(totals) > MAX_DECODED:
            kept = sum(decoded_counts(recipe))
            decoded = _whole(saved["decoded"], kept, sum(totals), "decoded").to(device)
        like = self._like(saved["operations"])
        numbers = [
            _numbers(value, draw) for value, draw in zip(saved["numbers"], like, strict=True)
        ]
        self.drawn = StepDraw(
            real.to(pools.place), decoded, augmentation.with_tensors(like, numbers)
        )

    def _like(self, names: Any) -> list[Draw]:
        """Draws of these operations, whatever their numbers, where the policy may give them."""
        size, groups = self.pools.sample_shape[1:], len(self.recipe.counts)
        if not augmentation.gives(self.recipe.policy, names):
            raise ValueError(f"operations must be some that the policy gives; got {names!r}")
        return augmentation.draw(names, groups, size, Stream(0, self.stream.device))


def _whole(saved: Any, length: int, below: int, name: str) -> Tensor:
    """Saved numbers of rows."""
    if not isinstance(saved, Tensor) or (saved.dtype, saved.shape) != (torch.int64, (length,)):
        raise ValueError(f"{name} must hold {length} whole numbers")
    if length and not 0 <= int(saved.min()) <= int(saved.max()) < below:
        raise ValueError(f"{name} must hold numbers from 0 to {below - 1}")
    return saved


def _numbers(saved: Any, like: Draw) -> Tensor:
    """An operation's saved numbers."""
    wanted = like.numbers
    if not isinstance(saved, Tensor) or (saved.dtype, saved.shape) != (wanted.dtype, wanted.shape):
        raise ValueError(f"{like.name} must have numbers {tuple(wanted.shape)} of {wanted.dtype}")
    return saved.to(wanted.device)
