import os

import joblib
import pytest
import torch
from filelock import FileLock, Timeout
from grids import Told, Witness, grid_of, lines, quick, table, told
from joblib import Parallel, delayed, parallel_config
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from m3d_sklearn import CondensedClassifier, M3DCondenser
from m3d_sklearn.benchmark import ResultsFolder, running
from m3d_sklearn.benchmark.measure import limited_threads, now
from m3d_sklearn.benchmark.running import TAKEN, run_cell

DATA = table()
EARLY, LATE = "2000", "9999"


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder(tmp_path / "out")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def one_cell(log, **settings):
    (cell,) = grid_of(Told(log=str(log)), DATA, **settings).cells
    return cell


# ------------------------------------------------------------------------------- one cell


def test_a_cell_is_run_once(folder, log):
    cell = one_cell(log)
    for _ in range(2):
        assert run_cell(folder, cell, DATA, 1, now()) == "done"
    assert told(log) == [(1, 0)]


def test_a_cell_that_is_taken_is_left(folder, log):
    cell = one_cell(log)
    with folder.lock(cell):
        assert run_cell(folder, cell, DATA, 1, now()) == TAKEN
    assert not log.exists()
    assert run_cell(folder, cell, DATA, 1, now(), wait=True) == "done"


@pytest.mark.parametrize(
    ("status", "finished", "outcome", "runs"),
    [
        ("failed", LATE, "failed", 0),
        ("failed", EARLY, "done", 1),
        ("fitted", LATE, "done", 1),  # without its set
        ("done", EARLY, "done", 0),
    ],
)
def test_what_is_known_decides(status, finished, outcome, runs, folder, log):
    cell = one_cell(log)
    known = {"fit": {}, "curve": [], "machine": {}}
    folder.write(
        cell, known | {"format": 1, "name": cell.name, "status": status} | {"finished": finished}
    )
    assert run_cell(folder, cell, DATA, 1, now()) == outcome
    assert len(told(log)) == runs


def test_the_lock_is_free_after_an_error(folder, log, tmp_path):
    (tmp_path / "broken").touch()
    (cell,) = grid_of(Told(error=str(tmp_path / "broken")), DATA).cells
    assert run_cell(folder, cell, DATA, 1, now()) == "failed"
    folder.lock(cell).acquire(blocking=False).lock.release()


def test_numbers_of_numpy_are_kept(folder, monkeypatch):
    """A method of one's own may count in numpy."""
    fitted = Told._fitted

    def counts(self, task, result):
        return fitted(self, task, result) | {"n_iter_": DATA.y_train.sum()}

    monkeypatch.setattr(Told, "_fitted", counts)
    (cell,) = grid_of(Told(), DATA).cells
    assert run_cell(folder, cell, DATA, 1, now()) == "done"
    assert folder.find(cell)["fit"]["n_iter"] == DATA.y_train.sum()


def test_the_grids_device_goes_to_the_condenser(folder):
    (cell,) = grid_of(Told(), DATA, device="cpu").cells
    run_cell(folder, cell, DATA, 1, now())
    assert folder.find(cell)["fit"]["params"]["device"] == "cpu"


# ---------------------------------------------------------------------------------- GPUs


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "accelerators", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(running, "resolve_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(running.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_each_cell_has_a_gpu_of_its_own(two_gpus):
    (cell,) = grid_of("random", DATA, device="auto").cells
    with running._own_device(cell) as one:
        with running._own_device(cell) as other, running._own_device(cell) as third:
            assert (one, other) == (torch.device("cuda:0"), torch.device("cuda:1"))
            assert third == torch.device("cuda")  # more cells than GPUs share
        with running._own_device(cell) as again:
            assert again == torch.device("cuda:1")
    for name in ("cuda-0", "cuda-1"):
        FileLock(two_gpus / f"m3d_sklearn-{name}.lock").acquire(blocking=False).lock.release()


def test_a_gpu_is_free_after_an_error(two_gpus):
    (cell,) = grid_of("random", DATA, device="auto").cells
    with pytest.raises(TimeoutError), running._own_device(cell):
        raise TimeoutError  # filelock's Timeout is one
    with running._own_device(cell) as device:
        assert device == torch.device("cuda:0")


def test_a_lock_timeout_inside_a_cell_is_the_cells(two_gpus):
    (cell,) = grid_of("random", DATA, device="auto").cells
    with pytest.raises(Timeout), running._own_device(cell):
        raise Timeout("of something inside")


def test_a_lock_that_is_another_users_is_passed_by(two_gpus):
    """On a machine of several users a lock may be there and not be ours to open."""
    (two_gpus / "m3d_sklearn-cuda-0.lock").mkdir()  # for root too it cannot be opened
    (cell,) = grid_of("random", DATA, device="auto").cells
    with running._own_device(cell) as device:
        assert device == torch.device("cuda:1")


def test_a_device_that_is_asked_for_is_taken(two_gpus):
    (cell,) = grid_of("random", DATA, device="cpu").cells
    with running._own_device(cell) as device:
        assert device == torch.device("cuda")  # what resolve_device gives here


# ------------------------------------------------------------------------ sharing the cores


def pools():
    return {info["filepath"]: info["num_threads"] for info in threadpool_info()}


def test_threads_are_as_before_after_compare(log):
    with limited_threads(2):
        before = torch.get_num_threads(), pools()
        frame = quick(Told(log=str(log)), DATA, threads=1, models="svm")
        assert (torch.get_num_threads(), pools()) == before
        with pytest.warns(UserWarning, match="failed"):
            quick("random", DATA, models={"mine": Witness(99)})
        assert (torch.get_num_threads(), pools()) == before
        with parallel_config("threading"):
            quick("random", DATA, seeds=6, n_jobs=2, models="svm")
        assert (torch.get_num_threads(), pools()) == before
    assert frame["threads"].tolist() == [1]
    assert [threads for *_, threads in lines(log, "end")] == [1]


def test_a_cell_takes_the_threads_it_is_given(log):
    quick(Told(log=str(log)), DATA, threads=2, models={"mine": Witness(log=str(log))})
    assert [threads for kind in ("end", "fit") for *_, threads in lines(log, kind)] == [2, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda witness: GridSearchCV(witness, {"n_neighbors": [1, 2]}, cv=2, n_jobs=2),
        lambda witness: BaggingClassifier(witness, 3, n_jobs=2, random_state=0),
    ],
    ids=["search", "bagging"],
)
def test_a_classifier_starts_no_processes_inside_a_cell(make, log):
    model = make(Witness(log=str(log)))
    quick("random", DATA, ipc=4, models={"mine": model})
    fits = lines(log, "fit")
    assert len(fits) >= 3
    assert {process for _, _, process, _ in fits} == {os.getpid()}
    assert {threads for *_, threads in fits} == {1}


def test_cells_side_by_side_take_no_core_twice(log):
    torch.set_num_threads(joblib.cpu_count())
    search = GridSearchCV(Witness(log=str(log)), {"n_neighbors": [1]}, cv=2, n_jobs=2)
    methods, settings = Told(log=str(log)), {"models": {"mine": search}, "threads": None}
    frame = quick(methods, DATA, ipc=4, seeds=4, n_jobs=2, **settings)
    told_by = lines(log, "end") + lines(log, "fit")
    workers = {process for _, _, process, _ in told_by}
    assert os.getpid() not in workers
    assert len(workers) <= 2
    assert 2 * max(threads for *_, threads in told_by) <= max(2, joblib.cpu_count())
    assert frame["status"].eq("done").all()


def test_a_search_over_condensers_takes_no_core_twice(log):
    model = CondensedClassifier(Told(4, log=str(log)), LogisticRegression())
    search = GridSearchCV(model, {"condenser__random_state": [0, 1]}, cv=2, n_jobs=2)
    search.fit(DATA.X_train, DATA.y_train)
    here, others = [], []
    for _, _, process, threads in lines(log, "end"):
        (here if process == os.getpid() else others).append(threads)
    assert len(here) == 1  # the last fit, on all rows
    assert len(others) == 4
    assert 2 * max(others) <= max(2, joblib.cpu_count())


def grid_threads(log, seed):
    quick(Told(log=log), DATA, seeds=[seed], models="knn", threads=None)


def test_grids_inside_workers_take_no_core_twice(log):
    Parallel(2, backend="loky")(delayed(grid_threads)(str(log), seed) for seed in range(2))
    assert 2 * max(threads for *_, threads in lines(log, "end")) <= max(2, joblib.cpu_count())


def test_a_fit_is_not_changed_by_who_watches(folder):
    plain, watched = (
        grid_of(M3DCondenser(max_iter=4), DATA, curve=curve).cells[0] for curve in ((), (1, 3))
    )
    for cell in (plain, watched):
        assert run_cell(folder, cell, DATA, 1, now()) == "done"
    one, other = (folder.condensed(folder.find(cell)).X for cell in (plain, watched))
    assert (one == other).all()
    assert [p["iteration"] for p in folder.find(watched)["curve"]] == [1, 3]
