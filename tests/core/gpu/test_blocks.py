import pytest
import torch
from torch import nn

from m3d_sklearn.core.gpu import blocks
from m3d_sklearn.core.gpu.blocks import block


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize(("side", "padding", "groups"), [(8, 1, 1), (7, 1, 2), (28, 3, 1)])
def test_a_block_is_the_modules(side, padding, groups):
    convolution = nn.Conv2d(4, 6, 3, padding=padding, groups=groups)
    norm = nn.GroupNorm(6, 6)
    norm.weight.data, norm.bias.data = draw(6), draw(6)
    x = draw(2, 4, side, side)
    modules = nn.Sequential(convolution, norm, nn.ReLU(), nn.AvgPool2d(2))
    own = block(
        x, (convolution.weight, convolution.bias), (norm.weight, norm.bias), (padding,) * 2, groups
    )
    torch.testing.assert_close(own, modules(x))


@pytest.mark.parametrize(
    ("shape", "dtype", "fused"),
    [
        ((32, 32), torch.float32, True),
        ((64, 64), torch.bfloat16, True),
        ((66, 64), torch.bfloat16, False),
        ((7, 8), torch.float32, False),
        ((8, 7), torch.float32, False),
        ((8, 8), torch.float64, False),
    ],
)
def test_what_is_fused_where_triton_runs(monkeypatch, shape, dtype, fused):
    monkeypatch.setattr(blocks, "runs_triton", lambda device: True)
    monkeypatch.setattr(blocks, "_has_triton", lambda: True)
    assert blocks._fuses(torch.zeros(1, dtype=dtype), *shape) is fused


def test_nothing_is_fused_without_triton(monkeypatch):
    monkeypatch.setattr(blocks, "runs_triton", lambda device: True)
    monkeypatch.setattr(blocks, "_has_triton", lambda: False)
    assert not blocks._fuses(torch.zeros(1), 8, 8)
    monkeypatch.undo()
    assert not blocks._fuses(torch.zeros(1), 8, 8)
