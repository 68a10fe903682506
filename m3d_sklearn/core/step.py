"""One iteration of the loop: its batches, and the gradient of the stored rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from m3d_sklearn.core import augmentation, formation
from m3d_sklearn.core.devices import is_accelerator, out_of_memory, working_memory
from m3d_sklearn.core.distributed import ALONE
from m3d_sklearn.core.draws import StepDraw, tensors_of, with_tensors
from m3d_sklearn.core.gpu.graphs import Graphs
from m3d_sklearn.core.networks import Effort, draws_nothing, generators_for
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe, decoded_counts
from m3d_sklearn.core.sampling import ClassPools, range_numbers

__all__ = ["Batch", "Gradient", "Objective"]

BYTES_PER_PIXEL = 128 * 4 * 6  # six activations of 128 channels in float32, kept for the gradient
BYTES_PER_PAIR = 4 * 8  # of real and decoded rows, in the kernel


@dataclass(frozen=True)
class Batch:
    """What an objective sees: augmented, normalised rows, class after class."""

    of_real: Tensor | Callable[[], Tensor]
    """The real rows, or what makes them."""
    real_counts: list[int]
    synthetic: Tensor
    synthetic_counts: list[int]
    first: int = 0
    """Number of the first class, by which an objective may keep what it has worked out."""
    whole: bool = True
    """Whether the loss's value will be looked at: if not, what has no gradient may be left out."""
    same_real: bool = False
    """Whether network and real rows of these classes are those of the last call, to the bit."""
    keep_real: bool = False
    """Whether the same real rows may come again while the network stays."""
    effort: Effort = field(default_factory=Effort)
    """Precision of the passes, and how many images may be in memory together."""

    @cached_property
    def real(self) -> Tensor:
        """Real rows, made when first looked at: who has kept their features never looks."""
        return self.of_real() if callable(self.of_real) else self.of_real


class Objective(Protocol):
    """Loss of each class, (C,), differentiable in ``batch.synthetic``.

    What it keeps from one call to the next must not change a bit of what it gives: checkpoints
    leave it out.
    """

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor: ...


class Part(NamedTuple):
    """Neighbouring classes that go through the network together, and where their rows are."""

    classes: slice
    stored: slice
    real: slice
    decoded: slice
    effort: Effort


def split_classes(
    pools: ClassPools, recipe: Recipe, memory: float, device: torch.device, own: slice = ALONE.own
) -> list[Part]:
    """Divide a rank's own classes, so that a part's activations take about `memory` bytes.

    A class is never divided; where one alone takes more, its images go through the network
    in turn. Nor are classes divided whose losses depend on one another. The estimate is of
    the widest network here. On a CPU `memory` is fixed, so parts, and with them the last
    bits, are a function of shapes alone.
    """
    image = math.prod(pools.sample_shape[1:]) * BYTES_PER_PIXEL
    real, decoded = pools.batch_counts(recipe.batch_real), decoded_counts(recipe)
    starts = [[0, *accumulate(counts)] for counts in (recipe.counts, real, decoded)]
    # A CPU's passes keep less, and bound it by their own chunks.
    rows = max(1, int(memory / image)) if is_accelerator(device) else None
    effort = Effort(recipe.precision, rows)
    parts: list[Part] = []
    classes = range(len(recipe.counts))[own]
    first, spent = classes.start, 0.0

    def close(last: int) -> None:
        stored, drawn, made = (slice(s[first], s[last]) for s in starts)
        parts.append(Part(slice(first, last), stored, drawn, made, effort))

    for c in classes:
        together = real[c] + decoded[c]
        need = together * image + together**2 * BYTES_PER_PAIR
        if c > first and spent + need > memory and not recipe.coupled:
            close(c)
            first, spent = c, 0.0
        spent += need
    if first < classes.stop:
        close(classes.stop)
    return parts


def make_batch(
    stored: Tensor, part: Part, drawn: StepDraw, pools: ClassPools, recipe: Recipe, **how: bool
) -> Batch:
    """Decode a part's stored rows, take its real ones, and augment both by the same draws.

    `how` are the batch's own fields.
    """
    synthetic = formation.decode(stored, recipe.factor)
    if drawn.decoded is not None:
        synthetic = synthetic[drawn.decoded[part.decoded] - part.stored.start * recipe.factor**2]
    own = [draw._replace(numbers=draw.numbers[part.classes]) for draw in drawn.augmentation]

    def augmented(rows: Tensor, counts: list[int]) -> Tensor:
        rows = pools.scale.normalise(rows)
        return augmentation.apply(rows, own, range_numbers(counts, rows.device)) if own else rows

    real_counts = pools.batch_counts(recipe.batch_real)[part.classes]
    synthetic_counts = decoded_counts(recipe)[part.classes]
    return Batch(
        lambda: augmented(pools.take(drawn.real[part.real]), real_counts),
        real_counts,
        augmented(synthetic, synthetic_counts),
        synthetic_counts,
        part.classes.start,
        effort=part.effort,
        **how,
    )


class Gradient:
    """Loss and gradient of own classes' stored rows, part by part, in the memory there is."""

    def __init__(
        self,
        pools: ClassPools,
        recipe: Recipe,
        objective: Objective,
        stream: Stream,
        own: slice = ALONE.own,
    ) -> None:
        self.pools, self.recipe, self.objective, self.stream = pools, recipe, objective, stream
        self.own = own
        self.device = pools.rows.device
        # Small classes without augmentation give the same real rows every time.
        self.fixed_real = not recipe.policy and max(pools.sizes) <= recipe.batch_real
        self.alike = len(set(recipe.counts)) == len(set(pools.batch_counts(recipe.batch_real))) == 1
        # What is read from the host cannot be recorded.
        self.alike = self.alike and isinstance(pools.rows, Tensor)
        again = self.fixed_real or recipe.iterations_per_draw > 1
        self.keeps_real = again and not recipe.random_passes
        self.graphs = Graphs(self.device)
        self.memory = working_memory(self.device)
        self.parts = split_classes(pools, recipe, self.memory, self.device, own)

    def __call__(
        self,
        rows: Tensor,
        network: nn.Module,
        drawn: StepDraw,
        *,
        whole: bool,
        new_network: bool,
        new_draw: bool,
    ) -> Tensor:
        """Fill ``rows.grad`` and give each class's loss; less memory is tried if need be."""
        if not self.parts:
            return rows.new_zeros(0)
        same_real = self.keeps_real and not new_network and (self.fixed_real or not new_draw)
        while True:
            try:
                return self._over_parts(rows, network, drawn, whole, same_real)
            except RuntimeError as error:
                if not out_of_memory(error) or not self._halve():
                    raise
            same_real = False  # what was kept is of the parts as they were

    def _over_parts(
        self, rows: Tensor, network: nn.Module, drawn: StepDraw, whole: bool, same_real: bool
    ) -> Tensor:
        how = {"whole": whole, "same_real": same_real, "keep_real": self.keeps_real}

        def over_parts(*tensors: Tensor) -> Tensor:
            own = with_tensors(drawn, tensors)
            return torch.cat([self._of_part(part, rows, network, own, how) for part in self.parts])

        tensors = tensors_of(drawn)
        if self.fixed_real or not self.alike or not draws_nothing(network):
            return over_parts(*tensors)
        names = tuple(draw.name for draw in drawn.augmentation)
        kind = id(rows), id(network), whole, same_real, names
        return self.graphs(over_parts, tensors, kind)

    def _of_part(
        self, part: Part, rows: Tensor, network: nn.Module, drawn: StepDraw, how: dict[str, bool]
    ) -> Tensor:
        """One part's losses; its activations are gone before the next part's are made."""
        gradient: Any = rows.grad  # which the loop has made
        stored = rows[part.stored].detach().requires_grad_(True)
        batch = make_batch(stored, part, drawn, self.pools, self.recipe, **how)
        with generators_for(network, self.stream):
            loss = self.objective(network, batch)
        (gradient[part.stored],) = torch.autograd.grad(loss.sum(), stored)
        return loss.detach()

    def _halve(self) -> bool:
        """Halve the memory of a part; False where no smaller part is left."""
        self.graphs = Graphs(self.device)
        before = self.parts
        while self.parts == before:
            self.memory /= 2
            self.parts = split_classes(self.pools, self.recipe, self.memory, self.device, self.own)
            if self.memory < 1:
                return False
        return True
