import pytest
import torch

from m3d_sklearn.core.devices import (
    PRECISIONS,
    autocast,
    float64_device,
    global_generators,
    is_accelerator,
    keep_freed_memory,
    out_of_memory,
    resolve_device,
    resolve_precision,
    upload,
    working_memory,
)

CPU = torch.device("cpu")

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
without_mps = pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_cpu(device):
    assert resolve_device(device) == torch.device("cpu")


def test_auto_takes_what_is_there():
    expected = "cpu"
    if torch.cuda.is_available():
        expected = "cuda"
    elif torch.backends.mps.is_available():
        expected = "mps"
    assert resolve_device("auto").type == resolve_device().type == expected


@pytest.mark.parametrize("device", ["gpu", "tpu0", "", "meta", torch.device("meta"), None, 1.5])
def test_unknown_devices(device):
    with pytest.raises(ValueError, match=r"device must be 'auto', 'cpu', 'cuda', .*; got"):
        resolve_device(device)


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_cuda_where_there_is_none(device):
    with pytest.raises(ValueError, match=r"asks for a CUDA device, .* has 0; use 'auto' or 'cpu'"):
        resolve_device(device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_where_there_is_one():
    assert resolve_device("cuda").type == "cuda"
    with pytest.raises(ValueError, match="asks for a CUDA device"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")


@without_mps
def test_mps_where_there_is_none():
    with pytest.raises(ValueError, match="'mps' is not available here; use 'auto' or 'cpu'"):
        resolve_device("mps")


@pytest.mark.parametrize(("name", "expected"), [("cpu", False), ("cuda:0", True), ("mps", True)])
def test_is_accelerator(name, expected):
    assert is_accelerator(torch.device(name)) is expected


def test_float64_is_computed_where_it_can_be():
    assert float64_device(torch.device("mps")) == torch.device("cpu")
    for name in ("cpu", "cuda:1"):
        assert float64_device(torch.device(name)) == torch.device(name)


def test_global_generators_of_the_cpu():
    assert global_generators(torch.device("cpu")) == [torch.default_generator]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_global_generators_of_a_gpu():
    assert [g.device.type for g in global_generators(torch.device("cuda"))] == ["cpu", "cuda"]


def test_upload():
    tensor = upload([3, -1, 2**40], CPU)
    assert tensor.tolist() == [3, -1, 2**40]
    assert (tensor.device, tensor.dtype) == (CPU, torch.int64)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_upload_to_a_gpu():
    tensor = upload([3, -1, 2**40], torch.device("cuda"))
    assert tensor.device.type == "cuda"
    assert tensor.tolist() == [3, -1, 2**40]


def test_working_memory_of_a_cpu_is_fixed():
    """Parts, and with them the last bits, are the same on every machine."""
    assert working_memory(CPU) == 2e9


def failed_allocation():
    """The error that torch raises here, for a petabyte that no address space holds."""
    try:
        torch.empty(2**50, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("a petabyte was allocated")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (torch.OutOfMemoryError(""), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (RuntimeError(""), False),
    ],
)
def test_out_of_memory(error, expected):
    assert out_of_memory(error) is expected


def test_out_of_memory_as_it_happens():
    assert out_of_memory(failed_allocation())


@pytest.mark.parametrize(("name", "dtype"), list(PRECISIONS.items()))
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_a_precision_that_is_asked_for(name, dtype, device):
    assert resolve_precision(name, torch.device(device)) == dtype == getattr(torch, name)


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", None, torch.float32),
        ("mps", None, torch.float32),
        ("cuda", (7, 5), torch.float32),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda:1", (12, 0), torch.bfloat16),
    ],
)
def test_auto_precision(monkeypatch, device, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device(device)) == expected


@pytest.mark.parametrize("dtype", PRECISIONS.values(), ids=list(PRECISIONS))
def test_autocast(dtype):
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(CPU, dtype):
        assert layer(x).dtype == dtype
    assert layer(x).dtype == torch.float32


def test_float32_leaves_a_users_own_autocast_alone():
    with torch.autocast("cpu", torch.bfloat16), autocast(CPU, torch.float32):
        assert torch.is_autocast_enabled("cpu")


def test_keeping_freed_memory_is_asked_for_once(monkeypatch):
    sizes, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda n, **k: sizes.append(n) or empty(n, **k))
    keep_freed_memory.cache_clear()
    keep_freed_memory()
    keep_freed_memory()
    (size,) = sizes
    assert 2**24 < size < 2**25  # the largest block that glibc learns from
