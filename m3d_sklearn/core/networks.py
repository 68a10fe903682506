"""Networks by name, and their features.

Every network here has ``embed(x)``, the features before its classifier, and treats each
row alone (instance norm, no batch statistics), so a row's features do not depend on the
rows beside it.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m3d_sklearn.core.cpu.convnet import Passes, features
from m3d_sklearn.core.cpu.weights import FEW_CHANNELS, BlockWeights
from m3d_sklearn.core.devices import autocast, is_accelerator, keep_freed_memory
from m3d_sklearn.core.gpu.blocks import block
from m3d_sklearn.core.layers import instance_norm, need_images
from m3d_sklearn.core.randomness import Stream, borrowed_global_generators
from m3d_sklearn.core.redraw import redraw_

__all__ = [
    "MLP",
    "NETWORKS",
    "SIZED",
    "ByModules",
    "ConvNet",
    "Effort",
    "NetworkSpec",
    "auto_network",
    "build",
    "classify",
    "draws_nothing",
    "embed",
    "generators_for",
    "sees_batches",
]

# What measures fastest on a CPU: 16 images of 16 to 32 pixels a side, more of smaller ones,
# and fewer of larger ones, whose activations would take too much memory.
CHUNK_ROWS, CHUNK_SMALL, CHUNK_LARGE = 16, 64 * 8 * 8, 16 * 32 * 32
CHANNELS_LAST = 16 * 16  # pixels from which channels-last convolutions are the faster ones

NetworkSpec = str | Callable[..., nn.Module]


def depth_for(side: int) -> int:
    """Blocks for an image of this side: 3 from 28 pixels on, below as many as leave 4×4."""
    return 3 if side >= 28 else max(1, int(math.log2(side)) - 2)


class ConvNet(nn.Module):
    """Blocks of convolution, instance norm, ReLU and average pooling (Gidaris & Komodakis).

    Parameters
    ----------
    input_shape : (channels, height, width)
    n_outputs : int
    width : int, default=128
        Channels of every block.
    depth : int, default=None
        Blocks, each halving the sides. None takes 3 for images of 28 pixels or more, and
        below as many as leave 4×4 places: 2 from 16 pixels on, else 1.

    Attributes
    ----------
    passes : Passes
        How features are computed on a CPU: eagerly, or compiled.

    Notes
    -----
    28-pixel images are padded by 3 in the first convolution, to 32, as in the field.
    For 32×32×3 and 10 classes: 320,010 parameters, 2,048 features.

    On a CPU features come from ``core/cpu``, on CUDA devices from a fused kernel where it
    fits; they differ by rounding alone. Those of a CPU can be differentiated once.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        n_outputs: int,
        *,
        width: int = 128,
        depth: int | None = None,
    ) -> None:
        super().__init__()
        channels, *size = input_shape
        need_images(input_shape, "convnet", smallest=2)
        self.width = width
        depth = depth_for(min(size)) if depth is None else depth
        if depth < 1:
            raise ValueError(f"network 'convnet' needs a depth of 1 or more; got depth={depth}.")
        blocks: list[nn.Module] = []
        for place in range(depth):
            padding = 3 if place == 0 and size == [28, 28] else 1
            size = [(side + 2 * padding - 2) // 2 for side in size]
            if min(size) < 1:
                raise ValueError(
                    f"network 'convnet' of depth {depth} needs images of at least "
                    f"{2**depth} pixels a side; got {tuple(input_shape[1:])}."
                )
            blocks += [
                nn.Conv2d(channels, width, kernel_size=3, padding=padding),
                instance_norm(width),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2),
            ]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width * size[0] * size[1], n_outputs)
        self.passes = Passes()

    def embed(self, x: Tensor) -> Tensor:
        """Features of the last block, (n, width·h·w)."""
        parts: list[Any] = list(zip(self.blocks[::4], self.blocks[1::4], strict=True))
        # A CPU's passes have bfloat16 for wide convolutions: without one the modules obey.
        narrow = len(parts) == 1 and parts[0][0].in_channels <= FEW_CHANNELS
        cast = torch.is_autocast_enabled(x.device.type)
        if is_accelerator(x.device) or (cast and narrow):
            for c, n in parts:
                x = block(x, (c.weight, c.bias), (n.weight, n.bias), c.padding)
            return x.flatten(1)
        keep_freed_memory()
        blocks = [BlockWeights(c.weight, n.weight, n.bias, c.padding[0]) for c, n in parts]
        return features(x, blocks, rows_in_cache(x), self.passes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(embed(self, x))


class ByModules(nn.Module):
    """A network by torch's own modules, which can be differentiated twice and mapped.

    ConvNet's own passes can be differentiated once.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.network, ConvNet):
            return self.network.head(self.network.blocks(x).flatten(1))
        return self.network(x)


class MLP(nn.Module):
    """Fully connected layers with ReLU, for tables and flattened images.

    Parameters
    ----------
    input_shape : tuple of int
    n_outputs : int
    width : int, default=128
        Units of every hidden layer.
    depth : int, default=1
        Hidden layers.
    """

    def __init__(
        self, input_shape: tuple[int, ...], n_outputs: int, *, width: int = 128, depth: int = 1
    ) -> None:
        super().__init__()
        self.width = width
        sizes = [math.prod(input_shape)] + [width] * depth
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], n_outputs)

    def embed(self, x: Tensor) -> Tensor:
        """Last hidden layer, (n, width)."""
        return self.layers(x.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


def _from_torchvision(name: str, *arguments: Any) -> nn.Module:
    # Late, because importing torchvision's models takes seconds.
    from m3d_sklearn.core import torchvision_networks

    return torchvision_networks.make(name, *arguments)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "convnet": ConvNet,
    "mlp": MLP,
    "resnet10": partial(_from_torchvision, "resnet10"),
    "resnet18": partial(_from_torchvision, "resnet18"),
    "densenet121": partial(_from_torchvision, "densenet121"),
}


SIZED = ("convnet", "mlp")
"""The networks whose ``width`` can be chosen."""


def auto_network(input_shape: tuple[int, ...]) -> str:
    """The name behind ``network="auto"``: "convnet" for images, "mlp" for tables."""
    small = len(input_shape) != 3 or min(input_shape[1:]) < 2
    return "mlp" if small else "convnet"


def build(
    network: NetworkSpec, input_shape: tuple[int, ...], n_outputs: int, stream: Stream
) -> nn.Module:
    """Make a network with weights drawn from `stream`, on its device.

    Parameters
    ----------
    network : str or callable
        A name of ``NETWORKS``, or a factory called as ``factory(input_shape, n_outputs)``,
        or as ``factory()`` where it takes no arguments.
    input_shape : tuple of int
        (channels, height, width), or (columns,).
    n_outputs : int
    stream : Stream

    Returns
    -------
    nn.Module

    Raises
    ------
    ValueError
        If the name is unknown or the samples are too small for the network.
    TypeError
        If a factory does not give a module.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(
                f"network must be 'auto', one of {sorted(NETWORKS)} or a factory of a "
                f"module; got {network!r}."
            )
        network = NETWORKS[network]
    if isinstance(network, nn.Module):
        raise TypeError(
            "network must be a factory of a module, such as lambda input_shape, n_outputs: ..., "
            f"and not a module: fresh ones are made of it; got {type(network).__name__}."
        )
    if not callable(network):
        raise TypeError(
            f"network must be 'auto', one of {sorted(NETWORKS)} or a factory of a module; got "
            f"{network!r}."
        )
    arguments: tuple[Any, ...] = (input_shape, n_outputs)
    try:
        inspect.signature(network).bind(*arguments)
    except (TypeError, ValueError):  # too many arguments, or a builtin without a signature
        arguments = ()
    with borrowed_global_generators(stream):
        try:
            module = network(*arguments)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"network: its factory failed with {type(error).__name__}: {error}"
            ) from error
        if not isinstance(module, nn.Module):
            raise TypeError(
                "network must be a name or a factory of a torch.nn.Module; the factory gave "
                f"{type(module).__name__}."
            )
    module = module.to(stream.device)
    if is_accelerator(stream.device):
        module = module.to(memory_format=torch.channels_last)
    redraw_(module, stream)
    return module


def rows_in_cache(x: Tensor) -> int:
    """Images whose activations stay in a CPU's cache together."""
    pixels = x.shape[2] * x.shape[3]
    return max(1, min(max(CHUNK_ROWS, CHUNK_SMALL // pixels), CHUNK_LARGE // pixels))


def sees_batches(network: nn.Module) -> bool:
    """Whether a row's features depend on the rows beside it."""
    return network.training and any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules()
    )


def draws_nothing(network: nn.Module) -> bool:
    """Whether a network's passes are known to draw no random numbers."""
    return type(network) in (ConvNet, MLP)


def generators_for(network: nn.Module, stream: Stream) -> contextlib.AbstractContextManager[Any]:
    """Where passes of a network draw numbers (dropout): the run's, not the global generators'."""
    if draws_nothing(network):
        return contextlib.nullcontext()
    return borrowed_global_generators(stream)


class Effort(NamedTuple):
    """How features are computed: what changes their cost and rounding, and nothing else.

    Attributes
    ----------
    precision : torch.dtype
        float32 or bfloat16.
    rows : int or None
        On an accelerator, the most images whose activations are in memory together: more
        go through twice, once for their features and again, in parts, for the gradient.
    """

    precision: torch.dtype = torch.float32
    rows: int | None = None


def embed(network: nn.Module, x: Tensor, effort: Effort | None = None) -> Tensor:
    """Features of a network, (n, d): its ``embed`` where it has one, else its output.

    On a CPU the rows go through in chunks whose activations stay in cache. The chunk is a
    function of shapes alone, so results repeat.
    """
    effort = effort or Effort()
    own = getattr(network, "embed", network)

    dtype, on_cpu = x.dtype, not is_accelerator(x.device)

    def pass_through(rows: Tensor) -> Tensor:
        with autocast(x.device, effort.precision):
            return own(rows).flatten(1).to(dtype)

    if on_cpu and isinstance(network, ConvNet):
        return pass_through(x)  # which has its own layout and chunks
    if x.ndim == 4 and not on_cpu and effort.precision != torch.float32:
        x = x.to(effort.precision, memory_format=torch.channels_last)  # both in one pass
    elif x.ndim == 4 and (not on_cpu or x.shape[2] * x.shape[3] >= CHANNELS_LAST):
        x = x.contiguous(memory_format=torch.channels_last)
    if x.ndim != 4 or sees_batches(network):
        return pass_through(x)
    if not on_cpu:
        return _in_turn(pass_through, x, effort.rows)
    return torch.cat([pass_through(chunk) for chunk in x.split(rows_in_cache(x))])


def classify(network: nn.Module, features: Tensor) -> Tensor:
    """Outputs, (n, n_outputs), of features from :func:`embed`, by the network's ``head``."""
    head = getattr(network, "head", None)
    return head(features) if head is not None and hasattr(network, "embed") else features


def _in_turn(pass_through: Callable[[Tensor], Tensor], x: Tensor, rows: int | None) -> Tensor:
    """Features, with no more than `rows` images' activations in memory."""
    if rows is None or len(x) <= rows:
        return pass_through(x)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return torch.cat([pass_through(part) for part in x.split(rows)])
    parts = [checkpoint(pass_through, part, use_reentrant=False) for part in x.split(rows)]
    return torch.cat(parts)
