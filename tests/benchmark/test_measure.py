import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from m3d_sklearn.benchmark.measure import limited_threads, machine, measured, now
from m3d_sklearn.core.devices import keep_freed_memory

CPU = torch.device("cpu")


def numbers():
    """Threads of every library, by its name."""
    return {info["filepath"]: info["num_threads"] for info in threadpool_info()}


@pytest.fixture
def two_threads():
    """All libraries at two threads, whatever the tests before have left."""
    with limited_threads(2):
        yield


def test_seconds_are_those_inside():
    with measured(CPU) as cost:
        time.sleep(0.1)
    assert 0.1 <= cost.seconds < 5


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux tells the peak")
def test_memory_is_the_peak_above_what_was_taken():
    kept = np.ones(10_000_000)  # 80 MB that are there before
    with measured(CPU) as cost:
        inside = np.ones(5_000_000)
        del inside
    if cost.peak_mb is None:
        pytest.skip("this kernel does not reset its mark")
    assert 39 < cost.peak_mb < 60
    with measured(CPU) as cost:
        pass
    assert cost.peak_mb < 5
    assert len(kept) == 10_000_000


def test_threads_are_limited_and_given_back(two_threads):
    before = numbers()
    assert torch.get_num_threads() == 2
    with limited_threads(1):
        assert torch.get_num_threads() == 1
        assert set(numbers().values()) == {1}
    assert torch.get_num_threads() == 2
    assert numbers() == before


def test_threads_are_given_back_after_an_error(two_threads):
    before = numbers()
    with pytest.raises(KeyboardInterrupt), limited_threads(1):
        raise KeyboardInterrupt
    assert (torch.get_num_threads(), numbers()) == (2, before)


def test_limits_lie_inside_one_another(two_threads):
    before = numbers()
    with limited_threads(1):
        with limited_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert numbers() == before


def test_threads_are_given_back_where_cells_overlap(two_threads):
    """Of two cells in threads the first to begin ends first."""
    before = numbers()
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first():
        with limited_threads(1):
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second():
        first_in.wait(10)
        with limited_threads(1):
            second_in.set()
            first_out.wait(10)

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers() == before
    assert torch.get_num_threads() == 2


def test_a_machine_is_what_json_holds():
    about = machine(CPU, 3)
    assert json.loads(json.dumps(about)) == about
    assert (about["device"], about["gpu"], about["threads"]) == ("cpu", None, 3)
    assert about["cpu"]
    assert about["cores"] >= 1
    assert about["versions"]["torch"] == torch.__version__


def test_later_times_are_greater_texts():
    times = [now() for _ in range(100)]
    assert times == sorted(times)
    assert len({len(text) for text in times}) == 1
    assert times[0].endswith("+00:00")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's accounts")
def test_memory_that_was_freed_before_does_not_hide_what_is_taken():
    keep_freed_memory()  # as ConvNet's passes ask of glibc
    peaks = []
    for _ in range(3):
        with measured(CPU) as cost:
            blocks = [bytearray(100_000) for _ in range(400)]
        del blocks
        peaks.append(cost.peak_mb)
    assert min(peaks) > 30, peaks
