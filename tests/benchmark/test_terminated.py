"""A grid that is asked to end leaves nobody at work."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from grids import Told, lines, quick

from m3d_sklearn.benchmark.terminated import Terminated, workers_end_too


def run_held(log, hold, cells):
    quick(Told(log=log, hold=hold), ipc=range(1, cells + 1), n_jobs=2)


def alive(process):
    """Whether there is such a process, and not only what is left of one that nobody asked after."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("cells", [1, 2])
def test_sigterm_ends_the_workers_and_then_the_process(cells, tmp_path):
    log, hold = tmp_path / "log", tmp_path / "hold"
    for ipc in (1, 2):
        Path(f"{hold}-{ipc}-0").touch()
    process = multiprocessing.get_context("spawn").Process(
        target=run_held, args=(str(log), str(hold), cells)
    )
    process.start()
    try:
        until(lambda: len(lines(log, "begin")) == cells)
        workers = [worker for _, _, worker, _ in lines(log, "begin")]
        assert all(map(alive, workers))
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == -signal.SIGTERM
        until(lambda: not any(map(alive, workers)))
    finally:
        process.kill()
        for ipc in (1, 2):
            Path(f"{hold}-{ipc}-0").unlink()
    assert lines(log, "end") == []


def test_the_handler_is_there_for_as_long_as_workers_are():
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    with workers_end_too(), pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_callers_own_stays(monkeypatch):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with workers_end_too():
            signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
