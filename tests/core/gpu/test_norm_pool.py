"""The fused kernel by Triton's interpreter, which needs no GPU, against torch's functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch on Linux alone")

ROOT = Path(__file__).resolve().parents[3]
INTERPRETED = """
import torch, torch.nn.functional as F
from m3d_sklearn.core.gpu.norm_pool import norm_relu_pool

generator = torch.Generator().manual_seed(0)
draw = lambda *shape: torch.randn(*shape, generator=generator)
for shape in ((2, 5, 8, 8), (3, 32, 4, 6), (2, 20, 12, 2), (1, 16, 32, 32), (1, 3, 40, 24)):
    y = (3 * draw(*shape) + 100).requires_grad_(True)
    weight, bias = (draw(shape[1]).requires_grad_(True) for _ in range(2))
    fused = norm_relu_pool(y, weight, bias)
    normed = F.group_norm(y.double(), shape[1], weight.double(), bias.double())
    plain = F.avg_pool2d(F.relu(normed), 2)
    torch.testing.assert_close(fused, plain.float(), rtol=1e-4, atol=1e-4)
    gradient = draw(*plain.shape)
    own = torch.autograd.grad(fused, (y, weight, bias), gradient)
    expected = torch.autograd.grad(plain, (y, weight, bias), gradient.double())
    for mine, theirs in zip(own, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
print("alike")
"""


def test_one_kernel_is_norm_relu_and_pooling():
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.strip() == "alike", ended.stderr
