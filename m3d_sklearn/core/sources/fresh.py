"""A fresh random network every few iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from m3d_sklearn.core.flop import compile_where_it_pays
from m3d_sklearn.core.networks import NetworkSpec, build
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.redraw import as_built, redraw_
from m3d_sklearn.core.state import load_module, module_state

__all__ = ["FreshNetworks"]

# Compiling takes half a minute or so, and what is compiled is about 1.5 times as fast.
COMPILE_SECONDS = 90


class FreshNetworks:
    """A network with new random weights every few iterations, never trained.

    Its weights are frozen, so that no gradient is computed for them.

    Attributes
    ----------
    random_passes : bool
        Whether a pass has been seen to draw numbers (dropout), by who has tried one.
    """

    def __init__(
        self,
        network: NetworkSpec,
        input_shape: tuple[int, ...],
        n_outputs: int,
        every: int,
        stream: Stream,
    ) -> None:
        self.spec, self.input_shape, self.n_outputs = network, input_shape, n_outputs
        self.every, self.stream = every, stream
        self.network = build(network, input_shape, n_outputs, stream).train()
        self.built = as_built(self.network)
        self.network.requires_grad_(False)
        self.random_passes = False

    def expect(self, rows: float, seconds: float | None = None) -> None:
        """Compile for a run that will send `rows` rows through in these seconds, where it pays."""
        if seconds is not None and seconds < COMPILE_SECONDS:
            return
        compile_where_it_pays(self.network, self.input_shape, rows, self.stream.device)

    def __call__(self, progress: Progress) -> tuple[nn.Module, bool]:
        new = progress.n_iter % self.every == 0
        if new and progress.n_iter:
            self.redraw()
        return self.network, new

    def redraw(self) -> None:
        """New random weights, whatever was made of the present ones."""
        redraw_(self.network, self.stream, self.built)

    def state_dict(self) -> dict[str, Any]:
        """The present weights."""
        return {"network": module_state(self.network)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with saved weights."""
        load_module(self.network, state["network"])
