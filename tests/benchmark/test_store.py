import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import Timeout
from grids import contents, grid_of, quick, table

from m3d_sklearn import CondensedSet, Random
from m3d_sklearn.benchmark import ResultsFolder, rows

CELL = grid_of().cells[0]


def record(**changes):
    known = {"format": 1, "name": CELL.name, "status": "done", "spec": CELL.spec, "scores": []}
    return known | changes


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder(tmp_path / "out")


def test_a_folder_is_made_when_something_is_written(folder):
    assert not folder.path.exists()
    assert folder.find(CELL) is None
    assert not folder.done(CELL)
    assert not folder.path.exists()
    folder.write(CELL, record())
    assert folder.done(CELL)
    assert [p.name for p in folder.cells.iterdir()] == [f"{CELL.name}.json"]


def test_a_folder_may_be_in_the_home():
    """As the data's folder may."""
    assert ResultsFolder("~/results").path == Path.home() / "results"


def test_a_record_is_read_as_it_was_written(folder):
    known = record(label="ü≤✓", numbers=[0.1, 1e-300, None, True])
    folder.write(CELL, known)
    assert folder.find(CELL) == known
    assert folder.records() == [known]
    assert contents(folder.path) == {CELL.name: known}


def test_a_set_lies_beside_its_record(folder):
    condensed = Random(2, random_state=0).fit(*list(table())[:2]).condensed_
    folder.write(CELL, record(), condensed)
    assert sorted(p.name for p in folder.cells.iterdir()) == [
        f"{CELL.name}.json",
        f"{CELL.name}.npz",
    ]
    found = folder.condensed(record())
    assert isinstance(found, CondensedSet)
    np.testing.assert_array_equal(found.X, condensed.X)


def test_a_set_that_cannot_be_written_leaves_no_record(folder, monkeypatch):
    def full(self, path):
        raise OSError("no space left")

    monkeypatch.setattr(CondensedSet, "save", full)
    condensed = Random(2, random_state=0).fit(*list(table())[:2]).condensed_
    with pytest.raises(OSError, match="no space"):
        folder.write(CELL, record(), condensed)
    assert folder.find(CELL) is None


def test_a_record_that_json_cannot_hold_leaves_the_one_before(folder):
    folder.write(CELL, record())
    with pytest.raises(TypeError):
        folder.write(CELL, record(thing=object()))
    assert folder.find(CELL) == record()


@pytest.mark.parametrize(
    ("status", "done", "listed"),
    [("done", True, True), ("failed", False, True), ("fitted", False, False), ("?", False, False)],
)
def test_what_ended_is_listed_and_what_is_done_is_done(status, done, listed, folder):
    folder.write(CELL, record(status=status))
    assert folder.done(CELL) is done
    assert bool(folder.records()) is listed
    assert folder.find(CELL)["status"] == status


def test_a_folder_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="out is no results folder"):
        folder.records()
    (tmp_path / "empty").mkdir()
    assert ResultsFolder(tmp_path / "empty").records() == []


def test_records_come_in_their_order(folder):
    spec = {"dataset": "b", "ipc": 10, "method": "M3D", "seed": 0}
    wanted = [
        spec | {"dataset": "a", "ipc": 50},
        spec | {"dataset": "a", "ipc": None},
        spec | {"ipc": 1, "seed": 1},
        spec | {"method": "Herding"},
        spec,
        spec | {"seed": 2},
        spec | {"seed": 10},
        spec | {"ipc": None},
    ]
    folder.cells.mkdir(parents=True)
    for number, known in enumerate(reversed(wanted)):
        path = folder.cells / f"{number}.json"
        path.write_text(json.dumps(record(spec=known, name=str(number))))
    assert [r["spec"] for r in folder.records()] == wanted


def test_a_lock_is_one_processs_and_one_threads(folder):
    with folder.lock(CELL):
        with pytest.raises(Timeout):
            folder.lock(CELL).acquire(blocking=False)
        with ThreadPoolExecutor(1) as pool, pytest.raises(Timeout):
            pool.submit(folder.lock(CELL).acquire, blocking=False).result()
        other = folder.lock(grid_of(ipc=2).cells[0])
        other.acquire(blocking=False)
        other.release()
    folder.lock(CELL).acquire(blocking=False).lock.release()


def test_readers_see_whole_records(folder):
    """While one writes again and again, what others read is one text or the other."""
    versions = [record(scores=[n] * 2000) for n in range(2)]
    folder.write(CELL, versions[0])
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for version in versions:
                folder.write(CELL, version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(folder.find(CELL) in versions for _ in range(200))
    finally:
        stop.set()
        writer.join()


def test_rows_by_hand():
    machine = {"device": "cpu", "threads": 3}
    score = {"model": "mlp", "kind": "network", "protocol": "m3d", "augmentation": "auto"}
    score |= {"accuracy": 0.5, "std": 0.1, "scores": [0.4, 0.6], "epochs": 1, "steps": 2}
    score |= {"width": 8, "seconds": 1.5, "peak_mb": 2.5}
    fit = {"seconds": 3.5, "peak_mb": None, "n_iter": 7, "n_stored": 3, "n_train": 12}
    fit |= {"nbytes": 96, "factor": 2, "params": {}}
    done = record(machine=machine, fit=fit, mmd=0.25, error=None, scores=[score, score])
    error = {"type": "ValueError", "message": "it broke", "traceback": "..."}
    broken = record(status="failed", machine=machine, error=error)
    broken.pop("scores")
    one, two, three = rows([done, broken])
    assert one == two
    assert one == {
        "dataset": "table",
        "method": "Random",
        "ipc": 1,
        "seed": 0,
        "model": "mlp",
        "kind": "network",
        "protocol": "m3d",
        "augmentation": "auto",
        "accuracy": 0.5,
        "std": 0.1,
        "scores": [0.4, 0.6],
        "epochs": 1,
        "steps": 2,
        "width": 8,
        "n_stored": 3,
        "n_train": 12,
        "nbytes": 96,
        "factor": 2,
        "mmd": 0.25,
        "n_iter": 7,
        "fit_seconds": 3.5,
        "fit_peak_mb": None,
        "evaluate_seconds": 1.5,
        "evaluate_peak_mb": 2.5,
        "device": "cpu",
        "threads": 3,
        "status": "done",
        "error": None,
        "cell": CELL.name,
    }
    assert list(three) == list(one)
    known = {"dataset", "method", "ipc", "seed", "device", "threads", "status", "error", "cell"}
    assert {name for name, value in three.items() if value is not None} == known
    assert (three["status"], three["error"]) == ("failed", "ValueError: it broke")


def test_a_record_has_the_parts_of_the_format(tmp_path):
    quick("random", out=tmp_path, models=["auto", "knn"], references=("whole",))
    few, whole = ResultsFolder(tmp_path).records()
    parts = {"format", "key", "name", "status", "spec", "data", "fit", "scores", "mmd", "curve"}
    assert few.keys() == whole.keys() == parts | {"machine", "command", "finished", "error"}
    assert (few["format"], few["status"], few["error"]) == (1, "done", None)
    assert few["name"].endswith(few["key"])
    fit = {"n_stored": 3, "n_train": 3, "nbytes": 96, "factor": 1}
    assert few["fit"].items() >= fit.items()
    assert few["fit"].keys() == {*fit, "seconds", "peak_mb", "n_iter", "params"}
    assert whole["fit"] == {"n_stored": 60, "n_train": 60, "nbytes": 1920, "factor": 1}
    assert (whole["mmd"], whole["spec"]["params"], whole["spec"]["ipc"]) == (None, None, None)
    assert few["data"]["shape"] == [4]
    assert few["data"]["class_names"] == ["a", "b", "c"]
    for score in few["scores"] + whole["scores"]:
        assert score["accuracy"] == pytest.approx(np.mean(score["scores"]))
