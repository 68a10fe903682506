"""Fresh random weights for a network that is there, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from m3d_sklearn.core.randomness import Stream, borrowed_global_generators

__all__ = ["as_built", "redraw_"]

UNIFORM = nn.Linear, nn.modules.conv._ConvNd
NORMS = nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase


def as_built(module: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters that no layer draws, such as a user's own, with copies of their values."""
    return [
        (parameter, parameter.detach().clone())
        for layer in module.modules()
        if not isinstance(layer, UNIFORM + NORMS) and _reset_of(layer) is None
        for parameter in layer.parameters(recurse=False)
    ]


@torch.no_grad()
def redraw_(
    module: nn.Module, stream: Stream, built: Sequence[tuple[nn.Parameter, Tensor]] = ()
) -> None:
    """Give every layer fresh random weights: torch's own initialisation.

    Convolutions and linear layers are drawn on the device from the run's own generator;
    norms start anew; any other layer is asked to reset itself. A parameter that belongs to
    none of these goes back to its value in `built`, of :func:`as_built`, or else stays.
    """
    for parameter, first in built:
        parameter.copy_(first)
    for layer in module.modules():
        if isinstance(layer, UNIFORM):
            _draw_uniform(layer, stream)
        elif isinstance(layer, NORMS):
            layer.reset_parameters()
        else:
            reset = _reset_of(layer)
            if reset is not None:
                with borrowed_global_generators(stream):
                    reset()


def _reset_of(layer: nn.Module) -> Callable[[], Any] | None:
    """A layer's own reset; attention keeps it private."""
    return getattr(layer, "reset_parameters", getattr(layer, "_reset_parameters", None))


def _draw_uniform(layer: Any, stream: Stream) -> None:
    """Draw weight and bias of a convolution or a linear layer."""
    fan_in = layer.weight[0].numel()
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    for name in ("weight", "bias"):
        values = getattr(layer, name)
        if values is None:
            continue
        if not is_parametrized(layer, name):
            values.uniform_(-bound, bound, generator=stream.generator)
            continue
        # Such as weight_norm's, which is computed at every look and takes what it is given.
        drawn = values.clone().uniform_(-bound, bound, generator=stream.generator)
        setattr(layer, name, drawn)
