import re
import warnings

import joblib
import numpy as np
import pytest
import torch
from grids import QUICK, Told, Witness, grid_of, images, quick, results, same_sets, saved, table
from joblib import Parallel, delayed, parallel_config
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from m3d_sklearn import CondensedSet, Herding, M3DCondenser, Random
from m3d_sklearn.benchmark import ResultsFolder, compare, rows
from m3d_sklearn.benchmark.grid import Grid


def test_a_row_is_a_cell_and_a_score(tmp_path):
    models = {"auto": "auto", "mine": Witness(), "net": "mlp"}
    settings = {"models": models, "protocols": ["m3d", "dc"], "robust": True, "n_networks": 2}
    frame = quick("herding", ipc=[1, 2], out=tmp_path, **settings)
    # Two networks under two protocols with and without augmentation, and a classifier.
    assert len(frame) == (2 * 2 + 1) * (2 * 2 * 2 + 1)
    assert set(frame["method"]) == {"Herding", "Random", "whole set"}
    assert frame["model"].unique().tolist() == ["mlp", "mine", "net"]
    networks = frame[frame["kind"] == "network"]
    assert set(networks["augmentation"]) == {"auto", "none"}
    assert networks["scores"].map(len).eq(2).all()
    assert networks["steps"].eq(3).all()
    assert frame["ipc"].dtype == "Int64"
    assert frame.loc[frame["method"] == "whole set", ["ipc", "mmd"]].isna().all(axis=None)
    assert frame["accuracy"].between(0, 1).all()
    assert frame["threads"].eq(1).all()
    assert frame["n_stored"].tolist() == [
        60 if row.method == "whole set" else 3 * row.ipc for row in frame.itertuples()
    ]
    # What a folder gives is what the call gave.
    kept = rows(ResultsFolder(tmp_path).records())
    assert sorted(r["cell"] + str(r["scores"]) for r in kept) == sorted(
        frame["cell"] + frame["scores"].map(str)
    )


def test_the_users_condenser_stays_as_it_is():
    mine = M3DCondenser(7, max_iter=3, random_state=5)
    before = mine.get_params()
    quick(mine, seeds=2)
    assert mine.get_params() == before
    assert not hasattr(mine, "condensed_")


def test_without_pandas_rows_are_dicts(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    (row,) = quick(models="knn")
    assert row["method"] == "Random"


def test_a_curve_is_in_the_record(tmp_path):
    pytest.importorskip("sklearn.callback")
    methods = [M3DCondenser(max_iter=3), "random"]
    quick(methods, out=tmp_path, curve=[3, 1, 9], references=("start",), models=["knn", "mlp"])
    curves = {r["spec"]["method"]: r["curve"] for r in ResultsFolder(tmp_path).records()}
    assert [point["iteration"] for point in curves["M3D"]] == [1, 3]
    assert curves["Random"] == curves["M3D start"] == []


def test_a_seed_decides_everything():
    settings = {"models": ["auto", "knn"]}
    methods = ["random", "kmeans", M3DCondenser(max_iter=3)]
    one, again = (results(quick(methods, seeds=[3, 4], **settings)) for _ in range(2))
    assert one == again
    alone = results(quick(methods, seeds=[4], **settings))
    assert alone == [row for row in one if row["seed"] == 4]


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(3),
        make_pipeline(StandardScaler(), RandomForestClassifier(3, max_features=1)),
    ],
    ids=["bare", "in a pipeline"],
)
def test_a_classifier_that_draws_gets_the_seed(model, globals_untouched):
    settings = {"models": {"mine": model}, "ipc": 5, "seeds": 4}
    one, again = (quick("random", **settings)["accuracy"].tolist() for _ in range(2))
    assert one == again


def test_the_callers_generators_and_filters_stay(globals_untouched):
    methods = ["random", "herding", "kcenter", "kmeans", M3DCondenser(max_iter=3)]
    network = MLPClassifier(3, max_iter=2)  # warns that it has not converged
    models = {"auto": "auto", "svm": "svm", "log": "logistic", "mine": network}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        quick(methods, images(), models=models, references=("start", "whole"), robust=True)


# --------------------------------------------------------------------------- side by side

ALL = {"methods": ["random", "herding", M3DCondenser(max_iter=3)], "ipc": [1, 2]}
SCORED = {"models": ["auto", "knn"], "references": ("whole",)}


@pytest.fixture
def alone(tmp_path):
    """Results of cells one after the other, and their folder."""
    return results(quick(**ALL, **SCORED, out=tmp_path / "alone")), tmp_path / "alone"


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_cells_side_by_side_come_to_the_same(backend, alone, tmp_path):
    expected, folder = alone
    with parallel_config(backend):
        found = results(quick(**ALL, **SCORED, out=tmp_path / "out", n_jobs=2))
    assert found == expected
    assert same_sets(folder, tmp_path / "out") == 6


@pytest.mark.slow  # two processes import everything, and the scheduler's
def test_cells_on_a_cluster_come_to_the_same(alone, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs dask's distributed")
    expected, folder = alone
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        found = results(quick(**ALL, **SCORED, out=tmp_path / "out"))
    assert found == expected
    assert same_sets(folder, tmp_path / "out") == 6
    machines = {r["machine"]["threads"] for r in ResultsFolder(tmp_path / "out").records()}
    assert machines == {1}


def test_a_relative_folder_is_where_the_caller_is(tmp_path, monkeypatch):
    """joblib's processes are used again, and stay in the folder where they began."""
    names = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        quick(seeds=2, out="results", n_jobs=2, models="knn")
        names.append(sorted(p.name for p in (tmp_path / place).glob("results/cells/*.json")))
    assert len(names[0]) == 2
    assert names[0] == names[1]


def test_cores_are_shared_out_once():
    cells, cores = grid_of(seeds=8).cells, joblib.cpu_count()
    torch.set_num_threads(cores)
    for n_jobs in (1, 2, -1, None):
        shares = Grid.shares(cells, n_jobs, None)
        assert shares.side_by_side * shares.threads <= max(cores, shares.side_by_side)
    assert Grid.shares(cells[:1], -1, None).threads == cores  # one cell takes all
    assert Grid.shares(cells, 2, 5).threads == 5
    assert Grid.shares([], 2, None).side_by_side == 1
    torch.set_num_threads(1)
    assert Grid.shares(cells[:1], None, None).threads == 1  # no more than torch would


def test_a_cell_per_gpu_where_there_are_several(monkeypatch):
    gpus = ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setattr("m3d_sklearn.benchmark.grid.accelerators", lambda: gpus)
    cells, on_cpu = grid_of(seeds=8, device="auto").cells, grid_of(seeds=8).cells
    assert Grid.shares(cells, None, None).n_jobs == 3
    assert Grid.shares(cells, 1, None).side_by_side == 1
    assert Grid.shares(on_cpu, None, None).side_by_side == 1


def threads_of(seed):
    frame = compare(
        "random", table(), 1, models="knn", **QUICK | {"seeds": [seed], "threads": None}
    )
    return int(frame["threads"][0])


def test_a_grid_inside_a_worker_takes_the_workers_cores():
    found = Parallel(2, backend="loky")(delayed(threads_of)(seed) for seed in (0, 1))
    assert 2 * max(found) <= max(2, joblib.cpu_count())


# ------------------------------------------------------------------------- wrong arguments

WRONG = [
    *[("ipc", v) for v in (0, -1, "a", True, 1.5, None, [1, 1], [], [1, 2.5], {"a": 1})],
    *[("seeds", v) for v in (0, -1, [-1], [0, 0], True, 2.5, None)],
    *[("curve", v) for v in ([0], ["a"], [1, 1], 5, None)],
    *[("references", v) for v in ("best", ["whole", "none"], None)],
    *[("models", v) for v in ("vgg", [], 3, None, {"a": 3}, {"a": StandardScaler()})],
    *[("models", v) for v in (SVC, SVC(), {"a": SVC})],
    *[("protocols", v) for v in ("ours", [], 3)],
    *[("methods", v) for v in ("best", "random-start", [], {}, [3], 3, None)],
    *[("methods", v) for v in (M3DCondenser, [M3DCondenser], ["m3d", M3DCondenser()])],
    *[("datasets", v) for v in ("best", [], {}, [3], 3, [table(), table()], {"a": (1, 2)})],
    *[("device", v) for v in ("gpu", "cuda:99")],
    *[("n_networks", v) for v in (0, 1.5)],
    *[("image_size", v) for v in (0, 8)],  # of a table
    *[("max_steps", v) for v in (0, "epochs")],
    *[("robust", "yes"), ("verbose", "loud"), ("out", 3), ("root", 3)],
    *[("threads", v) for v in (0, "all")],
    *[("n_jobs", v) for v in (0, "all", 1.5)],
]
ALLOWED = r"must|asks|has no meaning"


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{n}-{v!r}"[:40] for n, v in WRONG])
def test_a_wrong_argument_is_named_before_any_work(name, value, tmp_path, monkeypatch):
    log = tmp_path / "log"
    given = {"methods": Told(log=str(log)), "out": tmp_path / "out", "datasets": table()}
    given |= {"datasets": "digits"} if name == "root" else {}
    given |= QUICK | {"ipc": 1, name: value}
    with pytest.raises((ValueError, TypeError)) as caught:
        compare(**given)
    assert not log.exists()
    assert not (tmp_path / "out").exists()
    said = str(caught.value)
    names = "datasets|name" if name == "datasets" else name
    assert re.search(rf"\b({names})\b", said), said
    assert re.search(ALLOWED, said), said
    assert re.search(r"\b[Gg]ot\b|asks for", said), said


@pytest.mark.parametrize(
    "condenser",
    [
        M3DCondenser(max_iter=-1),
        M3DCondenser(optimizer="best"),
        M3DCondenser(learning_rate=0),
        Random(device="gpu"),
        Herding(memory=3),
    ],
    ids=["max_iter", "optimizer", "learning_rate", "device", "memory"],
)
def test_a_condensers_wrong_parameter_is_named_before_any_work(condenser, tmp_path):
    log = tmp_path / "log"
    plain = type(condenser)().get_params()
    (name,) = (n for n, v in condenser.get_params().items() if v != plain[n])
    with pytest.raises(ValueError, match=name):
        quick({"good": Told(log=str(log)), "bad": condenser}, out=tmp_path / "out")
    assert not log.exists()


def test_a_folder_that_is_a_file_is_refused_before_any_work(tmp_path):
    log, path = tmp_path / "log", tmp_path / "file"
    path.write_text("mine")
    for out in (path, path / "sub"):
        with pytest.raises(NotADirectoryError, match=r"out must be a folder; got .*file"):
            quick(Told(log=str(log)), out=out)
    assert not log.exists()
    assert path.read_text() == "mine"


def test_wrong_rows_are_named(tmp_path):
    X_train, y_train, X_test, y_test = table()
    for bad in ((X_train[:5], y_train, X_test, y_test), (X_train, y_train, X_test[:, :3], y_test)):
        with pytest.raises(ValueError, match=r"\[5, 60\]|3 features.*4 features"):
            quick(datasets={"a": bad})
    names = np.array(["a", "b", "c"])[y_train]
    with pytest.raises(
        ValueError, match="y_test must hold labels of y_train, 'a', 'b', 'c'; got 0"
    ):
        quick(datasets={"a": (X_train, names, X_test, y_test)})


def test_a_device_may_be_an_object(tmp_path):
    path = str(saved(table(), tmp_path))
    frame = quick(datasets=path, device=torch.device("cpu"), models="knn")
    assert frame["device"].tolist() == ["cpu"]


def test_the_sets_of_a_grid_load(tmp_path):
    quick("random", ipc=2, out=tmp_path, references=("whole",), models="knn")
    folder = ResultsFolder(tmp_path)
    few, whole = folder.records()
    condensed = folder.condensed(few)
    assert isinstance(condensed, CondensedSet)
    assert (len(condensed), condensed.random_state) == (6, 0)
    assert folder.condensed(whole) is None
    assert not list((tmp_path / "cells").glob(".*"))
