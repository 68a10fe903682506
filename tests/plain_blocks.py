"""ConvNet's blocks as torch's own modules: the oracle of the passes written for a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m3d_sklearn.core.cpu.weights import BlockWeights

NEAR = 1e-12


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers in [-1, 1), in float64."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


CONTENTS = {
    "noise": uniform,
    "constant": lambda *shape: torch.full(shape, 0.5, dtype=torch.float64),
    "black": lambda *shape: torch.zeros(shape, dtype=torch.float64),
    "one black": lambda *shape: uniform(*shape).index_fill_(0, torch.tensor(1), 0),
}
"""Images with and without contrast, by shape."""


def randomise_(network: nn.Module) -> nn.Module:
    """Random weights, in float64; a norm's first scale is zero, and about half are negative."""
    network.double()
    with torch.no_grad():
        for seed, values in enumerate(network.parameters()):
            values.copy_(uniform(*values.shape, seed=seed))
        for layer in network.modules():
            if isinstance(layer, nn.GroupNorm):
                layer.weight[0] = 0
    return network


def plain_block(c_in: int, c_out: int, padding: int = 1) -> nn.Sequential:
    """Convolution, instance norm, ReLU and pooling, with random weights."""
    return randomise_(
        nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=padding, bias=False),
            nn.GroupNorm(c_out, c_out),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
    )


def parameters(blocks: nn.Sequential) -> list[Tensor]:
    """Convolution, scale and shift of every block."""
    pairs = zip(blocks[::4], blocks[1::4], strict=True)
    return [value for c, n in pairs for value in (c.weight, n.weight, n.bias)]


def weights_of(blocks: nn.Sequential) -> list[BlockWeights]:
    """The same, and the paddings, as the passes want them."""
    values = parameters(blocks)
    paddings = [layer.padding[0] for layer in blocks[::4]]
    return [BlockWeights(*values[3 * i : 3 * i + 3], p) for i, p in enumerate(paddings)]


def agree(actual: Tensor, expected: Tensor, share: float = NEAR) -> None:
    """Equal but for a share of the largest value."""
    assert expected.numel()
    room = share * float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=0, atol=room)


def all_agree(actual, expected, share: float = NEAR) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        agree(mine, theirs, share)
