"""Several networks of one architecture as one module, for training them together.

What they compute is what each would alone, but for rounding: network i sees the i-th batch
of images, and its parameters get the gradient of its own loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.gpu.blocks import block
from m3d_sklearn.core.networks import MLP, ConvNet, draws_nothing, generators_for
from m3d_sklearn.core.randomness import Stream

__all__ = ["ManyConvNets", "ManyMLPs", "Separate", "together"]


class Separate(nn.Module):
    """Networks that go through their batches one after another.

    Attributes
    ----------
    recordable : bool
        Whether a step of theirs can be recorded as a graph: they draw no numbers.
    """

    def __init__(self, networks: Sequence[nn.Module], streams: Sequence[Stream]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.streams = list(streams)
        self.recordable = all(map(draws_nothing, networks))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, b, ...) to logits (N, b, n_outputs)."""
        logits = []
        for network, stream, own in zip(self.networks, self.streams, rows, strict=True):
            with generators_for(network, stream):
                logits.append(network(own))
        return torch.stack(logits)

    def write_back(self) -> None:
        """Nothing to do: the networks themselves were trained."""


class _Stacked(nn.Module):
    """Networks whose parameters of a name are joined along their first axis."""

    recordable = True
    head_weight: Tensor
    head_bias: Tensor

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        # A tuple, so that their parameters are not listed.
        self.originals: tuple[Any, ...] = tuple(networks)
        names = (name for name, _ in networks[0].named_parameters())
        parameters = (network.parameters() for network in networks)
        for name, *values in zip(names, *parameters, strict=True):
            joined = torch.cat([value.detach() for value in values])
            self.register_parameter(name.replace(".", "_"), nn.Parameter(joined))

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the trained parameters into the networks."""
        originals = (network.parameters() for network in self.originals)
        for stacked, *own in zip(self.parameters(), *originals, strict=True):
            for parameter, part in zip(own, stacked.chunk(len(own)), strict=True):
                parameter.copy_(part)

    def _head(self, features: Tensor) -> Tensor:
        """(b, N·d) to (N, b, n_outputs)."""
        n = len(self.originals)
        own = features.unflatten(1, (n, -1)).transpose(0, 1)
        weight, bias = self.head_weight.unflatten(0, (n, -1)), self.head_bias.view(n, 1, -1)
        return torch.baddbmm(bias, own, weight.transpose(1, 2))


class ManyConvNets(_Stacked):
    """ConvNets side by side, as one with grouped convolutions."""

    def embed(self, rows: Tensor) -> Tensor:
        """(b, N·channels, h, w) to (b, N·d)."""
        n, first = len(self.originals), self.originals[0]
        for place in range(0, len(first.blocks), 4):
            convolution, norm = (
                tuple(getattr(self, f"blocks_{layer}_{kind}") for kind in ("weight", "bias"))
                for layer in (place, place + 1)
            )
            rows = block(rows, convolution, norm, first.blocks[place].padding, groups=n)
        return rows.flatten(1)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, b, channels, h, w) to logits (N, b, n_outputs)."""
        side_by_side = rows.transpose(0, 1).flatten(1, 2)
        if is_accelerator(rows.device):
            side_by_side = side_by_side.contiguous(memory_format=torch.channels_last)
        return self._head(self.embed(side_by_side))


class ManyMLPs(_Stacked):
    """MLPs, as one with batched products."""

    def forward(self, rows: Tensor) -> Tensor:
        """(N, b, ...) to logits (N, b, n_outputs)."""
        n, rows = len(self.originals), rows.flatten(2)
        for place in range(0, len(self.originals[0].layers), 2):
            weight = getattr(self, f"layers_{place}_weight").unflatten(0, (n, -1))
            bias = getattr(self, f"layers_{place}_bias").view(n, 1, -1)
            rows = F.relu(torch.baddbmm(bias, rows, weight.transpose(1, 2)))
        return self._head(rows.transpose(0, 1).flatten(1))


def together(
    networks: Sequence[nn.Module], streams: Sequence[Stream], device: torch.device
) -> Separate | ManyConvNets | ManyMLPs:
    """The fastest form of these networks, all of one architecture.

    On a CPU ConvNets stay apart, each in chunks that stay in cache.
    """
    kinds = {type(network) for network in networks}
    if len(networks) > 1 and kinds == {MLP}:
        return ManyMLPs(networks)
    if len(networks) > 1 and kinds == {ConvNet} and is_accelerator(device):
        return ManyConvNets(networks).to(memory_format=torch.channels_last)
    return Separate(networks, streams)
