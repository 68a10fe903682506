"""How much arithmetic a network's passes are, and whether to compile for it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from m3d_sklearn.core import compiling
from m3d_sklearn.core.cpu.convnet import compiled_passes
from m3d_sklearn.core.devices import is_accelerator
from m3d_sklearn.core.networks import ConvNet, embed

__all__ = ["compile_where_it_pays", "forward_flop"]


@torch.no_grad()
def forward_flop(network: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> float:
    """Floating-point operations of one row's features, as the device does them."""
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    with FlopCounterMode(display=False) as counter:
        embed(network, torch.zeros(1, *input_shape, device=device, dtype=dtype))
    return float(counter.get_total_flops())


def compile_where_it_pays(
    network: nn.Module, input_shape: tuple[int, ...], rows: float, device: torch.device
) -> None:
    """Compile ConvNet's passes on a CPU, for a run that sends `rows` rows through in all."""
    if is_accelerator(device) or not isinstance(network, ConvNet):
        return
    if compiling.pays(rows * forward_flop(network, input_shape, device)):
        network.passes = compiled_passes()
