"""A grid that is killed, damaged, or run by two, comes to what one undisturbed run gives."""

import json
import multiprocessing
import os
import shutil
import signal
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from grids import (
    Told,
    Witness,
    contents,
    grid_of,
    lines,
    quick,
    results,
    run_told,
    same_sets,
    send_told,
    told,
)

from m3d_sklearn import M3DCondenser
from m3d_sklearn.benchmark import ResultsFolder, rows

KILLS = 10


@pytest.fixture(scope="module")
def processes():
    """Makes processes quickly: torch is imported once, and each is forked from there."""
    context = multiprocessing.get_context("forkserver")
    # The optimizers of torch import torch._dynamo, which takes seconds.
    preloaded = ["m3d_sklearn.benchmark", "torch._dynamo", "pandas", "pytest"]
    context.set_forkserver_preload(preloaded)
    starter = context.Process(target=os.getpid)
    starter.start()
    starter.join()
    return context


@pytest.fixture
def start(processes):
    """Starts processes, and ends those that are left."""
    started = []

    def start(target, *arguments):
        started.append(processes.Process(target=target, args=tuple(map(_plain, arguments))))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def _plain(value):
    return str(value) if isinstance(value, Path) else value


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def done_in(folder):
    return [r["name"] for r in ResultsFolder(folder).records() if r["status"] == "done"]


def seconds_of(process):
    started = time.perf_counter()
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - started


def test_a_grid_killed_ten_times_comes_to_the_same(start, processes, tmp_path):
    log, whole, out = tmp_path / "log", tmp_path / "whole", tmp_path / "out"
    receive, send = processes.Pipe(duplex=False)
    taken = seconds_of(start(run_told, whole, log, 0.1))
    beginning = seconds_of(start(send_told, send, whole, log, 0.1))  # nothing is left to do
    expected = receive.recv()

    for pace in 0.5 ** np.arange(6):  # where the machine was slower as it was measured: earlier
        shutil.rmtree(out, ignore_errors=True)
        log.unlink(missing_ok=True)
        span = pace * (taken - beginning)
        killed, kept = killed_on_the_way(start, out, log, pace * beginning, span)
        if killed >= KILLS / 2:
            break
    assert killed >= KILLS / 2, "too quick to be killed"

    last = start(send_told, send, out, log, 0.1)
    assert receive.recv() == expected
    last.join()
    stays(kept, contents(out))
    assert same_sets(whole, out) == len(done_in(out)) == 8
    # A fit may have ended twice where the process was killed before it was kept, once a kill.
    assert set(told(log)) == {(ipc, seed) for ipc in (1, 2) for seed in (0, 1)}
    assert len(told(log)) - 4 <= killed

    before = told(log)
    assert run_told(str(out), str(log), 0.1) == expected
    assert told(log) == before  # nothing is left to run


def killed_on_the_way(start, out, log, beginning, span):
    """Runs that end at random moments of a whole one: how many were killed, and what is kept."""
    moments = np.sort(np.random.default_rng(0).uniform(0, span, KILLS))
    kept, killed = {}, 0
    for before, moment in pairwise([0.0, *moments]):
        process = start(run_told, out, log, 0.1)
        process.join(beginning + moment - before)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        stays(kept, contents(out))
        kept = contents(out)
    return killed, kept


def stays(kept, now):
    """What was kept is not made again: a fit as it took its seconds, a result as it is."""
    for name, record in kept.items():
        assert now[name]["fit"] == record["fit"]
        assert record["status"] == "fitted" or now[name] == record


def test_an_interrupted_cell_goes_on_from_its_fit(tmp_path, monkeypatch):
    log = tmp_path / "log"
    settings = {"methods": Told(log=str(log)), "models": {"mine": Witness(log=str(log))}}
    expected = results(quick(**settings))
    log.unlink()

    def interrupted(self, X, y):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Witness, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick(**settings, out=tmp_path / "out")
    (record,) = contents(tmp_path / "out").values()
    assert record["status"] == "fitted"
    assert ResultsFolder(tmp_path / "out").records() == []
    assert results(quick(**settings, out=tmp_path / "out")) == expected
    assert told(log) == [(1, 0)]
    (after,) = contents(tmp_path / "out").values()
    assert after["fit"] == record["fit"]


def test_an_interrupted_fit_is_no_failure(tmp_path, monkeypatch):
    calls = []

    def interrupted(self, task):
        calls.append(self.random_state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Told, "_condense", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick(Told(), seeds=3, out=tmp_path)
    assert calls == [0]
    assert contents(tmp_path) == {}
    assert quick(Told(), seeds=3, out=tmp_path)["status"].tolist() == ["done"] * 3


# ---------------------------------------------------------------------------------- damage


@pytest.fixture
def whole(tmp_path):
    """A folder of one cell that is done, and its files."""
    run_one(tmp_path)
    (record,) = (tmp_path / "out" / "cells").glob("*.json")
    return record, record.with_suffix(".npz")


def run_one(tmp_path):
    methods, models = Told(log=str(tmp_path / "log")), ["auto", "knn"]
    return results(quick(methods, models=models, out=tmp_path / "out"))


def as_fitted(record):
    """What a process killed between fit and evaluation leaves."""
    known = json.loads(record.read_text())
    kept = {k: v for k, v in known.items() if k not in ("scores", "mmd")}
    record.write_text(json.dumps(kept | {"status": "fitted"}))


RECORDS = {
    "truncated": lambda text: text[: len(text) // 2],
    "one byte short": lambda text: text.rstrip()[:-1],
    "empty": lambda text: "",
    "zeros": lambda text: "\0" * 4096,
    "another format": lambda text: text.replace('"format": 1', '"format": 2'),
    "no format": lambda text: text.replace('"format": 1', '"form": 1'),
    "a list": lambda text: "[]",
    "a number": lambda text: "3",
    "null": lambda text: "null",
    "of nothing": lambda text: '{"format": 1}',
}


@pytest.mark.parametrize("damage", RECORDS.values(), ids=RECORDS)
def test_a_damaged_record_is_none(damage, whole, tmp_path):
    record, _ = whole
    expected = run_one(tmp_path)
    record.write_text(damage(record.read_text()))
    assert ResultsFolder(tmp_path / "out").records() == []
    assert run_one(tmp_path) == expected
    assert told(tmp_path / "log") == [(1, 0)] * 2


def test_a_record_of_other_bytes_is_none(whole, tmp_path):
    whole[0].write_bytes(b"\xff\xfe\x00")
    assert ResultsFolder(tmp_path / "out").records() == []
    run_one(tmp_path)
    assert len(done_in(tmp_path / "out")) == 1


SETS = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another file": lambda path: np.savez(path, X=np.zeros(3)),
}


@pytest.mark.parametrize("damage", SETS.values(), ids=SETS)
def test_a_fit_without_its_set_is_made_again(damage, whole, tmp_path):
    record, condensed = whole
    expected, kept = run_one(tmp_path), condensed.read_bytes()
    as_fitted(record)
    damage(condensed)
    assert ResultsFolder(tmp_path / "out").records() == []
    assert run_one(tmp_path) == expected
    assert told(tmp_path / "log") == [(1, 0)] * 2
    np.testing.assert_array_equal(np.load(condensed)["X"], np.load(_file(tmp_path, kept))["X"])


def _file(tmp_path, content):
    path = tmp_path / "kept.npz"
    path.write_bytes(content)
    return path


def test_a_fit_that_was_kept_is_not_made_again(whole, tmp_path):
    expected = run_one(tmp_path)
    as_fitted(whole[0])
    assert ResultsFolder(tmp_path / "out").records() == []
    assert run_one(tmp_path) == expected
    assert told(tmp_path / "log") == [(1, 0)]


def test_a_fitted_record_without_its_parts_is_none(whole, tmp_path):
    expected = run_one(tmp_path)
    as_fitted(whole[0])
    known = json.loads(whole[0].read_text())
    del known["fit"]
    whole[0].write_text(json.dumps(known))
    assert run_one(tmp_path) == expected


def test_partial_files_are_nothing(whole, tmp_path):
    folder = whole[0].parent
    expected = run_one(tmp_path)
    for path in whole:
        content = path.read_bytes()
        (folder / f".{path.name}.123").write_bytes(content[: len(content) // 2])
        (folder / f"{path.name}.tmp").write_bytes(content)
        path.unlink()
    (folder / "a folder").mkdir()
    assert ResultsFolder(tmp_path / "out").records() == []
    assert run_one(tmp_path) == expected
    assert len(ResultsFolder(tmp_path / "out").records()) == 1


# -------------------------------------------------------------------------------- failures


def test_a_failed_cell_is_recorded_and_tried_again(tmp_path):
    broken = tmp_path / "broken"
    broken.touch()
    methods = {"bad": Told(error=str(broken)), "good": Told(log=str(tmp_path / "log"))}
    settings = {"methods": methods, "seeds": 2, "out": tmp_path / "out"}
    with pytest.warns(UserWarning, match="2 of 4 cells failed") as caught:
        frame = quick(**settings)
    assert Path(caught[0].filename).name == "grids.py"  # where compare was called
    frame = frame.sort_values(["method", "seed"])
    assert frame["status"].tolist() == ["failed", "failed", "done", "done"]
    assert frame["error"].tolist()[:2] == ["RuntimeError: asked to\nfail"] * 2
    assert frame["accuracy"].isna().tolist() == [True, True, False, False]
    folder = ResultsFolder(tmp_path / "out")
    failed = [r for r in folder.records() if r["status"] == "failed"]
    assert [r["error"]["type"] for r in failed] == ["RuntimeError"] * 2
    assert "in _condense" in failed[0]["error"]["traceback"]
    assert not any({"scores", "fit", "mmd"} & r.keys() for r in failed)
    assert [row["accuracy"] for row in rows(failed)] == [None, None]
    cells = [cell for cell in grid_of(methods, seeds=2).cells if cell.method == "bad"]
    assert not any(folder.done(cell) for cell in cells)
    assert [folder.condensed(r) for r in failed] == [None, None]

    with pytest.warns(UserWarning, match="2 of 4 cells failed"):
        quick(**settings)
    assert told(tmp_path / "log") == [(1, 0), (1, 1)]  # the good ones are not run again
    broken.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quick(**settings)["status"].tolist() == ["done"] * 4
    assert len(done_in(tmp_path / "out")) == 4


def test_a_cell_that_fails_after_its_fit_has_no_set(tmp_path):
    settings = {"methods": "random", "models": {"mine": Witness(99)}}  # of 3 rows
    with pytest.warns(UserWarning, match="1 of 1 cells failed"):
        quick(**settings, out=tmp_path)
    (record,) = ResultsFolder(tmp_path).records()
    assert record["status"] == "failed"
    assert ResultsFolder(tmp_path).condensed(record) is None


def test_a_fit_is_kept_where_scoring_failed(tmp_path):
    methods, models = Told(log=str(tmp_path / "log")), {"mine": Witness(99)}
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 1 cells failed"):
            quick(methods, models=models, out=tmp_path / "out")
    assert told(tmp_path / "log") == [(1, 0)]


# ----------------------------------------------------------------------------- two processes


def test_two_processes_share_a_folder(start, processes, tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    ends = [processes.Pipe(duplex=False) for _ in range(2)]
    pair = [start(send_told, send, out, log, 0.2, "", 3) for _, send in ends]
    one, other = (receive.recv() for receive, _ in ends)
    for process in pair:
        process.join()
    assert one == other
    assert len(one) == 2 * 2 * 3 * 2  # methods, ipc, seeds, models
    every = [(ipc, seed) for ipc in (1, 2) for seed in (0, 1, 2)]
    assert sorted(told(log, "begin")) == sorted(told(log, "end")) == every
    assert {process for _, _, process, _ in lines(log, "end")} == {p.pid for p in pair}


def test_who_waits_takes_the_others_result(start, processes, tmp_path):
    log, out, hold = tmp_path / "log", tmp_path / "out", tmp_path / "hold"
    held = Path(f"{hold}-1-0")
    held.touch()
    ends = [processes.Pipe(duplex=False) for _ in range(2)]
    first = start(send_told, ends[0][1], out, log, 0.0, hold)
    until(lambda: told(log, "begin") == [(1, 0)])
    second = start(send_told, ends[1][1], out, log, 0.0, hold)
    until(lambda: len(done_in(out)) == 7 if out.is_dir() else False)  # all others
    assert {process for _, _, process, _ in lines(log, "end")} == {second.pid}
    held.unlink()
    assert ends[0][0].recv() == ends[1][0].recv()
    first.join()
    assert sorted(told(log, "begin")) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_a_lock_dies_with_its_process(start, processes, tmp_path):
    log, out, hold = tmp_path / "log", tmp_path / "out", tmp_path / "hold"
    held = Path(f"{hold}-1-0")
    held.touch()
    receive, send = processes.Pipe(duplex=False)
    first = start(run_told, out, log, 0.0, hold)
    until(lambda: told(log, "begin") == [(1, 0)])
    second = start(send_told, send, out, log, 0.0, hold)
    until(lambda: len(done_in(out)) == 7 if out.is_dir() else False)
    first.kill()
    first.join()
    until(lambda: told(log, "begin").count((1, 0)) == 2)
    held.unlink()
    found = receive.recv()
    assert {row["status"] for row in found} == {"done"}
    assert len(found) == 2 * 2 * 2 * 2
    assert {process for _, _, process, _ in lines(log, "end")} == {second.pid}


def test_a_failure_of_the_other_is_not_tried_again_in_this_call(start, processes, tmp_path):
    """Who waited for a cell that then failed reports it, and does not repeat it."""
    grid = grid_of(Told(log=str(tmp_path / "log")))
    (cell,) = grid.cells
    folder = ResultsFolder(tmp_path / "out")
    late = {"format": 1, "name": cell.name, "status": "failed", "finished": "9999"}
    folder.write(cell, late)
    grid.run(folder, threads=1)
    assert told(tmp_path / "log", "begin") == []
    folder.write(cell, late | {"finished": "2000"})
    grid.run(folder, threads=1)
    assert told(tmp_path / "log", "end") == [(1, 0)]


def test_a_method_that_iterates_resumes_to_the_bit(tmp_path):
    """The set that is read back is scored as the one that was in memory."""
    for number, method in enumerate((M3DCondenser(max_iter=3), "kmeans", "herding")):
        out = tmp_path / str(number)
        expected = results(quick(method, ipc=2, out=out, models=["auto", "knn"]))
        (record,) = (out / "cells").glob("*.json")
        as_fitted(record)
        assert results(quick(method, ipc=2, out=out, models=["auto", "knn"])) == expected
