import dataclasses
import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from grids import Told, Witness, grid_of, keys, linear, quick, table
from joblib import parallel_config
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import nn

from m3d_sklearn import Herding, M3DCondenser, Random, __about__
from m3d_sklearn.benchmark import cells
from m3d_sklearn.benchmark.cells import described
from m3d_sklearn.datasets import Dataset


def key_of(methods="random", datasets=None, ipc=1, **settings):
    (cell,) = grid_of(methods, datasets, ipc, **settings).cells
    return cell.key


def changed(part, index, by):
    arrays = {name: getattr(table(), name).copy() for name in ("X_train", "X_test", "y_test")}
    arrays[part][index] = by
    data = table()
    parts = arrays["X_train"], data.y_train, arrays["X_test"], arrays["y_test"]
    return Dataset("table", *parts, data.class_names)


BASE = {"methods": {"m": M3DCondenser()}, "models": {"mine": KNeighborsClassifier()}}
OTHERS = {
    "method": {"methods": {"m": Herding()}},
    "label": {"methods": {"n": M3DCondenser()}},
    "parameter": {"methods": {"m": M3DCondenser(max_iter=3)}},
    "ipc": {"ipc": 2},
    "seed": {"seeds": [1]},
    "name": {"datasets": table("other")},
    "training rows": {"datasets": changed("X_train", (0, 0), 7.0)},
    "test rows": {"datasets": changed("X_test", (0, 0), 7.0)},
    "test labels": {"datasets": changed("y_test", 0, 1)},
    "model": {"models": {"mine": SVC()}},
    "model's name": {"models": {"yours": KNeighborsClassifier()}},
    "model's parameter": {"models": {"mine": KNeighborsClassifier(3)}},
    "more models": {"models": {"mine": KNeighborsClassifier(), "mlp": "mlp"}},
    "protocol": {"protocols": "dc"},
    "protocols": {"protocols": ["m3d", "dc"]},
    "networks": {"n_networks": 2},
    "steps": {"max_steps": 4},
    "epochs": {"max_steps": None},
    "curve": {"curve": [1]},
    "curve at another": {"curve": [2]},
}


def test_everything_that_decides_a_result_is_in_the_key():
    found = {"base": key_of(**BASE)} | {name: key_of(**BASE | o) for name, o in OTHERS.items()}
    assert len(set(found.values())) == len(found), found


def test_the_key_has_the_device_of_the_fit(monkeypatch):
    """A method that names its device is fitted there, wherever the networks are trained."""
    grids = {name: {"m": M3DCondenser(device=name)} for name in ("auto", "cpu")}
    before = [key_of(methods) for methods in grids.values()]
    monkeypatch.setattr(cells, "resolve_device", lambda device: torch.device("cuda"))
    after = [key_of(methods) for methods in grids.values()]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_version_and_robust_scores_are_in_the_key(monkeypatch):
    before = key_of()
    robust = grid_of("random", robust=True).cells[0]
    monkeypatch.setattr(__about__, "__version__", "999")
    assert len({before, robust.key, key_of()}) == 3


def test_every_parameter_of_a_condenser_is_in_the_key():
    (cell,) = grid_of(M3DCondenser()).cells
    names = sorted(cell.condenser.get_params(deep=False))
    found = {cell.key}
    for name in names:
        other = M3DCondenser(**cell.condenser.get_params(deep=False) | {name: 0.123})
        found.add(dataclasses.replace(cell, condenser=other).key)
    assert len(found) == 1 + len(names)


def nested(width):
    if width == 8:
        return lambda shape, n: nn.Sequential(*(nn.Linear(4, 8) for _ in range(1)))
    return lambda shape, n: nn.Sequential(*(nn.Linear(4, 9) for _ in range(1)))


def module_inside(width):
    """A factory whose module's class is defined within it."""
    if width == 8:

        def make(shape, n):
            class Net(nn.Module):
                width = 8

            return Net()
    else:

        def make(shape, n):
            class Net(nn.Module):
                width = 9

            return Net()

    return make


class Maker:
    def __init__(self, width):
        self.width = width

    def make(self, shape, n):
        return nn.Linear(4, self.width)

    def __call__(self, shape, n):
        return self.make(shape, n)


def closure(width):
    return lambda shape, n: nn.Linear(4, width)


def defaults(width):
    def make(shape, n, width=width):
        return nn.Linear(4, width)

    return make


def keywords(width):
    def make(shape, n, *, width=width):
        return nn.Linear(4, width)

    return make


def local_class(width):
    if width == 8:

        class Net(nn.Linear):
            def __init__(self):
                super().__init__(4, 8)
    else:

        class Net(nn.Linear):
            def __init__(self):
                super().__init__(4, 9)

    return Net


WIDTH, NOTES = 8, []


def reads_a_global(width):
    global WIDTH
    WIDTH = width
    return lambda shape, n: nn.Linear(4, WIDTH)


def reads_a_global_inside(width):
    global WIDTH
    WIDTH = width
    return lambda shape, n: nn.Sequential(*(nn.Linear(4, WIDTH) for _ in range(1)))


def calls_what_reads_a_global(width):
    inner = reads_a_global(width)
    return lambda shape, n: inner(shape, n)


def method_reads_a_global(width):
    global WIDTH
    WIDTH = width

    class Net(nn.Linear):
        def __init__(self):
            super().__init__(4, WIDTH)

    return Net


def lambdas(width):
    return {8: lambda s, n: nn.Linear(4, 8), 9: lambda s, n: nn.Linear(4, 9)}[width]


@pytest.mark.parametrize(
    "make",
    [
        lambda width: partial(linear, width=width),
        lambda width: partial(linear, (width,)),
        closure,
        defaults,
        keywords,
        lambdas,
        nested,
        module_inside,
        local_class,
        lambda width: Maker(width),
        lambda width: Maker(width).make,
        reads_a_global,
        reads_a_global_inside,
        calls_what_reads_a_global,
        method_reads_a_global,
    ],
    ids=[
        *("partial", "partial's position", "closure", "default", "keyword", "constant"),
        *("inner code", "inner class", "class", "callable", "bound method"),
        *("global", "global of inner code", "global of what it calls", "global of a method"),
    ],
)
def test_two_factories_have_two_keys(make):
    eight, nine = (key_of({"m": M3DCondenser(network=make(width))}) for width in (8, 9))
    assert eight == key_of({"m": M3DCondenser(network=make(8))})
    assert eight != nine


def test_a_function_that_calls_itself_has_a_key():
    def make(shape, n, depth=2):
        return make(shape, n, depth - 1) if depth else nn.Linear(4, n)

    assert key_of({"m": M3DCondenser(network=make)})


def test_globals_that_cannot_be_described_count_by_their_kind(monkeypatch):
    loop = []
    loop.append(loop)
    for value in (loop, sys.stdin, random, lambda: 0):
        monkeypatch.setitem(globals(), "NOTES", value)
        assert described(lambda shape, n: NOTES) == described(lambda shape, n: NOTES)


def test_a_factory_that_writes_a_global_finds_its_cells(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "NOTES", [])

    def noted(shape, n):
        NOTES.append(n)
        return linear(shape, n)

    frame = quick(models={"mine": noted}, out=tmp_path)
    assert NOTES
    assert frame["status"].tolist() == ["done"]


def test_classes_of_a_script_count_by_their_code(tmp_path):
    """A callable object is hashed with what its class does."""
    found = set()
    for width in (8, 9):
        script = tmp_path / f"{width}.py"
        script.write_text(
            "from m3d_sklearn.benchmark.described import described\n"
            f"WIDTH = {width}\n"
            "class Make:\n"
            "    def __call__(self, shape, n):\n"
            "        return WIDTH\n"
            "print(described(Make()))\n"
        )
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, script], env=env, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 2


def test_names_of_what_a_function_calls_are_in_the_key():
    one, other = lambda s, n: nn.Linear(4, n), lambda s, n: nn.Bilinear(4, n)
    assert key_of({"m": M3DCondenser(network=one)}) != key_of({"m": M3DCondenser(network=other)})


def test_parameters_inside_parameters_are_in_the_key():
    one, other = (({"m": Told(error=e)}) for e in ("", "x"))
    assert key_of(one) != key_of(other)
    starts = [Random(2, random_state=0).fit(*list(table(seed=s))[:2]) for s in (0, 1)]
    assert described(starts[0]) != described(starts[1])
    assert described(starts[0].condensed_) != described(starts[1].condensed_)
    assert described(M3DCondenser(init=starts[0])) != described(M3DCondenser(init=starts[1]))


def test_the_order_of_a_dict_is_not_in_the_key():
    one = {"a": KNeighborsClassifier(), "b": SVC(class_weight={0: 1.0, 1: 2.0})}
    other = {"b": SVC(class_weight={1: 2.0, 0: 1.0}), "a": KNeighborsClassifier()}
    assert key_of(models=one) == key_of(models=other)


def test_a_copy_on_the_disk_has_the_key_of_the_data(tmp_path):
    data, parts = table(), []
    for number, array in enumerate(data):
        np.save(tmp_path / f"{number}.npy", array)
        parts.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    mapped = Dataset("table", *parts, data.class_names)
    fortran = Dataset("table", np.asfortranarray(data.X_train), *list(data)[1:], data.class_names)
    assert key_of() == key_of(datasets=mapped) == key_of(datasets=fortran)
    assert key_of(datasets={"table": tuple(data)}) == key_of()


def test_how_a_grid_is_run_is_not_in_the_key(tmp_path):
    plain = quick()["cell"].tolist()
    assert quick(threads=None)["cell"].tolist() == plain
    with parallel_config("threading"):
        frame = quick(threads=2, out=tmp_path, verbose=1, n_jobs=2)
    assert frame["cell"].tolist() == plain


def test_another_process_finds_the_same_keys():
    here = keys()
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", "import grids, json; print(json.dumps(grids.keys()))"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert [name for name in here if here[name] != there[name]] == []


@pytest.mark.parametrize("label", ["a/b", "../up", "ü ü", "x" * 300, ".", "", "a\nb", "CON", "a:b"])
def test_any_label_gives_a_file(label, tmp_path):
    frame = quick({label: Random()}, out=tmp_path / "out", models="knn")
    assert frame["method"].tolist() == [label]
    (path,) = (tmp_path / "out" / "cells").glob("*.json")
    assert path.stem == frame["cell"][0]
    assert len(path.name) < 200


def test_labels_that_look_alike_as_files_stay_apart():
    one, other = grid_of({"a b": Random(), "a/b": Random()}).cells
    assert one.name != other.name


def test_the_spec_is_what_json_holds():
    methods = {
        "a": M3DCondenser(network=partial(linear, width=np.int64(8)), device=torch.device("cpu")),
        "b": M3DCondenser(bandwidth=np.array([1.0, 2.0]), augmentation=("color", ("crop", "flip"))),
        "c": M3DCondenser(init=(np.zeros((3, 4)), np.arange(3)), kernel=torch.cdist),
        "whole": "whole",
    }
    for cell in grid_of(methods, models={"mine": Witness(), "net": linear}).cells:
        assert json.loads(json.dumps(cell.spec)) == cell.spec


def test_described_by_hand():
    assert described({1: (2, [3.5, None]), "a": True}) == {"1": [2, [3.5, None]], "a": True}
    assert described(np.float32(0.5)) == 0.5
    assert described(Random) == "m3d_sklearn.selection.Random"
    assert described(len) == "builtins.len"
    assert described(torch.device("cpu")) == "cpu"
    assert described(KNeighborsClassifier(3))["params"]["n_neighbors"] == 3
    assert described(random.Random(0)) != described(random.Random(1))
