"""One run's random numbers, apart from every global generator."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from m3d_sklearn.core.devices import global_generators

__all__ = ["Stream", "borrowed_global_generators"]

GENERATORS = "generator", "host", "children"
TURNS: dict[int, threading.RLock] = {}  # by process: a forked child cannot open its parent's lock


class Stream:
    """Random draws of one run, made on its device.

    Parameters
    ----------
    seed : int
        Everything drawn is a function of this number and the device.
    device : torch.device
        Where the numbers are made.

    Notes
    -----
    Choices that steer the host (which operation, which branch) come from a generator
    on the CPU, so that no draw ever waits for the device.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.host = torch.Generator().manual_seed(seed)
        self.children = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Uniform numbers in [low, high)."""
        drawn = torch.rand(shape, generator=self.generator, device=self.device)
        return drawn * (high - low) + low

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers in [low, high)."""
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def permutation(self, n: int) -> torch.Tensor:
        """The numbers 0 to n − 1 in random order."""
        return torch.randperm(n, generator=self.generator, device=self.device)

    def choice(self, n: int) -> int:
        """One of 0 to n − 1, known to the host at once."""
        return int(torch.randint(n, (), generator=self.host))

    def fraction(self) -> float:
        """One uniform number in [0, 1), known to the host at once."""
        return float(torch.rand((), generator=self.host))

    def seed(self) -> int:
        """A seed for a child stream."""
        return int(torch.randint(2**62, (), generator=self.children))

    def state_dict(self) -> dict[str, Any]:
        """States of its generators."""
        return {name: getattr(self, name).get_state() for name in GENERATORS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from saved states.

        Raises
        ------
        ValueError, KeyError, TypeError
        """
        for name in GENERATORS:
            try:
                getattr(self, name).set_state(state[name])
            except RuntimeError as error:
                raise ValueError(f"{name} is no state of a generator: {error}") from error


@contextmanager
def borrowed_global_generators(stream: Stream) -> Iterator[Callable[[], bool]]:
    """Seed the global generators of the CPU and the run's device, and put them back after.

    For code that draws from nowhere else, such as a layer's own initialisation. Threads that
    fit side by side take turns. Gives what tells whether any number has been drawn.
    """
    generators = global_generators(stream.device)
    seed = stream.seed()
    with TURNS.setdefault(os.getpid(), threading.RLock()):
        states = [generator.get_state() for generator in generators]
        try:
            seeded = [generator.manual_seed(seed).get_state() for generator in generators]
            yield lambda: any(
                not torch.equal(generator.get_state(), state)
                for generator, state in zip(generators, seeded, strict=True)
            )
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
