"""Launch sizes of the fused kernel of norm, ReLU and pooling beside each other, on a GPU.

    python benchmarks/fused_kernel.py [--json FILE]

Forward and backward of the three blocks of a ConvNet on 2,000 images of 32 pixels, in
bfloat16: median milliseconds, and the share of a copy's rate at which each
moves the bytes that it has to. The first line is the library's own sizes.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from typing import Any

import torch

IMAGES, CHANNELS, SIDES = 2000, 128, (32, 16, 8)
SIZES = {"VALUES": (8192, 4096, 2048), "LEAST_CHANNELS": (32, 16), "A_WARP": (512, 256, 1024)}


def milliseconds(run: Callable[[], Any]) -> float:
    from triton.testing import do_bench  # where there is no GPU there may be no triton

    return do_bench(run, return_mode="median")


def bytes_moved(side: int) -> tuple[int, int]:
    """Of a forward pass, y in and a quarter out, and a backward one: both in, y out."""
    y = 2 * IMAGES * CHANNELS * side**2
    return y + y // 4, 2 * y + y // 4


def rows() -> list[dict[str, Any]]:
    from m3d_sklearn.core.gpu import norm_pool

    x = torch.empty(2**28, dtype=torch.bfloat16, device="cuda")
    copy = 2 * x.nbytes / milliseconds(lambda: x.clone())
    found = []
    for sizes in itertools.product(*SIZES.values()):
        chosen = dict(zip(SIZES, sizes, strict=True))
        for name, value in chosen.items():
            setattr(norm_pool, name, value)
        row: dict[str, Any] = {"hardware": torch.cuda.get_device_name(), **chosen}
        for side in SIDES:
            forward, backward = timed(norm_pool.norm_relu_pool, side)
            row |= {f"forward_{side}_ms": forward, f"backward_{side}_ms": backward}
            for name, spent, moved in zip(
                ("forward", "backward"), (forward, backward), bytes_moved(side), strict=True
            ):
                row[f"{name}_{side}_of_copy"] = moved / spent / copy
        row["total_ms"] = sum(value for name, value in row.items() if name.endswith("_ms"))
        found.append(row)
        print(json.dumps(row), flush=True)
    return found


def timed(function: Callable[..., torch.Tensor], side: int) -> tuple[float, float]:
    y = torch.randn(IMAGES, CHANNELS, side, side, device="cuda", dtype=torch.bfloat16)
    y = y.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    weight, bias = torch.rand(2, CHANNELS, device="cuda").unbind()
    out = function(y, weight, bias)
    gradient = torch.randn_like(out)
    return (
        milliseconds(lambda: function(y.detach(), weight, bias)),
        milliseconds(lambda: torch.autograd.grad(out, y, gradient, retain_graph=True)),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="add the rows to FILE as JSON lines")
    options = parser.parse_args(arguments)
    found = rows()
    if options.json:
        with open(options.json, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)


if __name__ == "__main__":
    main()
