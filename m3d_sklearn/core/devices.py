"""Devices: the only file that knows their names."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from m3d_sklearn.core.distributed import ranks

__all__ = [
    "PRECISIONS",
    "accelerators",
    "autocast",
    "cache_memory",
    "device_name",
    "float64_device",
    "fused_optimizer",
    "global_generators",
    "group_backend",
    "is_accelerator",
    "keep_freed_memory",
    "on_device",
    "out_of_memory",
    "own_device",
    "peak_memory",
    "record",
    "records",
    "reset_peak_memory",
    "resolve_device",
    "resolve_precision",
    "runs_triton",
    "send",
    "upload",
    "working_memory",
]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a user's ``device`` into a usable :class:`torch.device`.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}, a name such as "cuda:1", or torch.device
        ``"auto"`` takes CUDA where there is one, then Apple's MPS, then the CPU. Of several
        processes that share a fit each takes a GPU of its own.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the name is unknown, or the device is not on this machine.

    Notes
    -----
    All work begins here, so here a child that was forked after its parent worked goes on
    with one thread: the parent's are gone, and OpenMP would wait for them without end.
    """
    if _process() != os.getpid():
        torch.set_num_threads(1)
        _process.cache_clear()
        _process()
    allowed = "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available() and ranks().size > 1:
            return _cuda_of(ranks().local)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be {allowed}; got {device!r}.") from error
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device must be {allowed}; got {device!r}.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} asks for a CUDA device, and this machine has "
            f"{torch.cuda.device_count()}; use 'auto' or 'cpu'."
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r} is not available here; use 'auto' or 'cpu'.")
    return resolved


@functools.cache
def _process() -> int:
    """The process that worked here first, in a forked child its parent."""
    return os.getpid()


def _cuda_of(local: int) -> torch.device:
    return torch.device("cuda", local % torch.cuda.device_count())


def own_device(local: int) -> contextlib.AbstractContextManager[Any]:
    """Make the GPU of a process, by its number on this machine, the current one."""
    if not torch.cuda.is_available():
        return contextlib.nullcontext()
    return torch.cuda.device(_cuda_of(local))


def group_backend() -> str:
    """By what processes talk: on the host by Gloo, and what is on a GPU by NCCL."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def float64_device(device: torch.device) -> torch.device:
    """`device` where it computes in double precision, else the CPU (Apple's MPS does not)."""
    return torch.device("cpu") if device.type == "mps" else device


def global_generators(device: torch.device) -> list[torch.Generator]:
    """torch's global generators that code running on `device` may draw from."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    return generators


def working_memory(device: torch.device) -> float:
    """Bytes that one step's activations may take: half of what a GPU has free, 2 GB else."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2
    return 2e9


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn ``precision`` into the dtype of a network's passes.

    ``"auto"`` is bfloat16 on CUDA devices that compute in it (from the A100 on), and
    float32 elsewhere. With AMX a CPU is about twice as fast in it; without them
    hundreds of times slower, and a seed should give the same set on either.
    """
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Run what can in `dtype`; nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def upload(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    """Numbers as a tensor on `device`, without waiting for it."""
    return send(torch.tensor(numbers), device)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A host's tensor on `device`: to a GPU from pinned memory, without waiting for it."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def cache_memory(device: torch.device) -> int:
    """Bytes of training rows that stay on a device: half of a GPU's memory, 256 MB else.

    Of all its memory, not of what is free, so that the number is the same from run to run.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 2
    return 2**28


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on any device."""
    words = "can't allocate memory", "not enough memory", "out of memory"
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in words)


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed activations of a few megabytes instead of giving them back.

    Each would be mapped anew, page by page, which costs more than the arithmetic on it.
    glibc learns this by itself from the largest block that it has seen freed, up to 32 MB:
    so free one of that size. Once a process is enough.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def on_device(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Launch kernels of our own on `device`, whichever GPU is the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def runs_triton(device: torch.device) -> bool:
    """Whether Triton's kernels run on `device`."""
    return device.type == "cuda"


def records(device: torch.device) -> bool:
    """Whether launches on `device` can be recorded and replayed."""
    return device.type == "cuda"


def record(step: Callable[[], Any], device: torch.device) -> tuple[Callable[[], None], Any]:
    """Run a step once, record its launches, and give what replays them and what they fill.

    Raises
    ------
    RuntimeError
        Where the step waits for the device, or memory is out.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may allocate meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = step()
    return graph.replay, outputs


def fused_optimizer(device: torch.device) -> bool:
    """Whether torch's optimisers have one kernel for a step on `device`."""
    return device.type == "cuda"


def is_accelerator(device: torch.device) -> bool:
    """Whether `device` is a GPU: long default runs are affordable there."""
    return device.type != "cpu"


def accelerators() -> list[str]:
    """Names of the GPUs that several processes can share out."""
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def device_name(device: torch.device) -> str:
    """A GPU's name for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def reset_peak_memory(device: torch.device) -> int:
    """Forget a GPU's highest mark; gives the bytes taken now (0 where it cannot be asked)."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_memory(device: torch.device) -> int:
    """A GPU's highest mark since, in bytes; waits for it (0 where it cannot be asked)."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
