import json
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from grids import images, photos, saved, table

from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.cli import main, make_parser
from m3d_sklearn.cli._compare import DEFAULTS, REQUIRED, chosen_methods, resolved
from m3d_sklearn.core.networks import NETWORKS

QUICK = {
    "--methods": "random",
    "--references": "none",
    "--ipc": "1",
    "--seeds": "1",
    "--networks": "1",
    "--steps": "3",
    "--threads": "1",
}


@pytest.fixture
def data(tmp_path):
    return saved(table(), tmp_path)


@pytest.fixture
def compare(data, tmp_path):
    """Runs compare with little to do; flags that are given take the place of others."""

    def run(*more, **flags):
        known = QUICK | {"--datasets": data, "--out": tmp_path / "out"}
        known |= {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
        words = [word for pair in known.items() if pair[1] is not None for word in pair]
        try:
            return main([str(word) for word in ("compare", *words, "--quiet", *more)])
        except SystemExit as end:
            return end.code

    return run


@pytest.fixture
def laid_out(monkeypatch, compare):
    """The cells that would run, by method and ipc."""

    def cells(*more, **flags):
        found = []
        with monkeypatch.context() as patched:
            patched.setattr(Grid, "run", lambda self, *_, **__: found.extend(self.cells))
            assert compare(*more, **flags) == 0
        return found

    return cells


@pytest.fixture
def refused(compare, capsys, tmp_path):
    """Asserts that a call is refused in one line, without a trace; gives the line."""

    def error(*more, **flags):
        assert compare(*more, **flags) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert not (tmp_path / "out").exists()
        assert said.err.count("\n") == 1, said.err
        return said.err

    return error


# ------------------------------------------------------------------------------------ runs


def test_a_grid_is_run_and_shown(compare, tmp_path, capsys, globals_untouched):
    assert compare(methods="random,herding", ipc="1,2", seeds="2", models="auto,knn") == 0
    out = capsys.readouterr()
    assert out.err == ""
    lines = out.out.splitlines()
    assert len(lines) == 2 + 4 + 1
    assert re.match(r"\| data +\| +ipc \| method +\| +mlp \(m3d\) \| +knn \|", lines[0])
    assert lines[-1] == f"8 of 8 cells in {tmp_path / 'out'}"
    assert len(ResultsFolder(tmp_path / "out").records()) == 8


def test_a_second_call_runs_nothing(compare, tmp_path, capsys):
    compare(models="knn")
    first = capsys.readouterr().out
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "cells").iterdir()}
    assert compare(models="knn") == 0
    assert capsys.readouterr().out == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "cells").iterdir()} == files


def test_a_bar_is_shown_unless_quiet(data, tmp_path, capsys):
    words = [w for pair in QUICK.items() for w in pair]
    words = ["compare", *words, "--datasets", str(data), "--models", "knn"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "1/1" in capsys.readouterr().err


def test_a_wrong_parameter_is_refused_before_any_work(compare, capsys, tmp_path):
    bad = ["--set", "m3d.kernel=best", "--set", "m3d.max_iter=3"]
    assert compare(*bad, methods="random,m3d", models="knn") == 2
    said = capsys.readouterr().err
    assert re.fullmatch("m3d_sklearn: error: method 'M3D': The 'kernel' parameter of M3D.*\n", said)
    assert not (tmp_path / "out").exists()


def test_failed_cells_are_code_1_after_all(
    compare, capsys, monkeypatch, tmp_path, globals_untouched
):
    from m3d_sklearn import Random

    def broken(self, task):
        raise RuntimeError("no\nway")

    with monkeypatch.context() as patched:
        patched.setattr(Random, "_condense", broken)
        assert compare(methods="random,herding", models="knn") == 1
    said = capsys.readouterr()
    assert re.fullmatch(r"m3d_sklearn: failed: table-Random-\S+: RuntimeError: no way\n", said.err)
    assert "1 of 2 cells" in said.out
    assert compare(methods="random,herding", models="knn") == 0  # tried again
    assert "2 of 2 cells" in capsys.readouterr().out


def test_an_interrupt_is_code_130(compare, capsys, monkeypatch, tmp_path):
    from m3d_sklearn import Random

    def interrupted(self, task):
        raise KeyboardInterrupt

    monkeypatch.setattr(Random, "_condense", interrupted)
    assert compare(models="knn") == 130
    assert capsys.readouterr().err == "m3d_sklearn: interrupted\n"
    assert ResultsFolder(tmp_path / "out").records() == []


def test_cells_side_by_side(compare, tmp_path, monkeypatch):
    asked = []
    run = Grid.run

    def seen(self, folder, **how):
        asked.append(how)
        run(self, folder, **how | {"n_jobs": 1})

    monkeypatch.setattr(Grid, "run", seen)
    assert compare(jobs="3", threads="2", models="knn") == 0
    assert asked == [{"n_jobs": 3, "threads": 2, "verbose": False, "fit_only": False}]


# --------------------------------------------------------------------------------- dry run


def test_a_dry_run_says_what_would_run_and_runs_nothing(compare, tmp_path, capsys):
    compare(methods="random", ipc="1", seeds="1", models="knn")
    capsys.readouterr()
    files = sorted(tmp_path.rglob("*"))
    flags = {"methods": "random,herding", "ipc": "1,2", "seeds": "2", "references": "whole"}
    assert compare("--dry-run", **flags, models="knn") == 0
    assert sorted(tmp_path.rglob("*")) == files
    lines = capsys.readouterr().out.splitlines()
    kinds = [re.split(r"  +", line.strip()) for line in lines[1:-1]]
    assert [kind[:5] for kind in kinds] == [
        ["table", "Random", "1", "1", "1"],
        ["table", "Herding", "1", "2", "0"],
        ["table", "Random", "2", "2", "0"],
        ["table", "Herding", "2", "2", "0"],
        ["table", "whole set", "all", "2", "0"],
    ]
    assert re.fullmatch(r"9 of 10 cells to run, 1 side by side with 1 threads? .*", lines[-1])
    assert re.search(r"about \d+ s\.$", lines[-1])


def test_a_dry_run_makes_no_folder(compare, tmp_path, capsys):
    assert compare("--dry-run", models="knn") == 0
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_which_kind_would_fail_and_times_the_others(compare, capsys):
    """Features of "convnet" are not to be had of a table, which the fit finds out."""
    more = ["--set", "herding.features=convnet"]
    assert compare("--dry-run", *more, methods="herding,random", models="knn") == 0
    said = capsys.readouterr()
    (herding, random) = (line for line in said.out.splitlines() if line.startswith("table"))
    assert herding.split()[-1] == "fails"
    assert re.fullmatch(r"\d+\.\d", random.split()[-1])  # seconds
    assert said.err.startswith("m3d_sklearn: would fail: Herding on table: ValueError: features=")
    assert len(said.err.splitlines()) == 1


def test_a_dry_run_of_what_is_done_times_nothing(compare, capsys, monkeypatch):
    compare(models="knn")
    timed = mock.Mock()
    monkeypatch.setattr("m3d_sklearn.benchmark.estimate._seconds", timed)
    assert compare("--dry-run", models="knn") == 0
    timed.assert_not_called()
    assert "0 of 1 cells to run" in capsys.readouterr().out


# ----------------------------------------------------------------------------------- flags


def test_flags_become_cells(laid_out):
    (cell,) = laid_out(
        "--robust",
        *("--set", "m3d.max_iter=3", "--set", "m3d.kernel=linear", "--curve", "1,3"),
        **{"methods": "m3d", "ipc": "5", "seeds": None, "seed_list": "7", "networks": "4"},
        **{"steps": "epochs", "protocols": "dc,m3d", "models": "mlp,svm", "device": "cpu"},
    )[:1]
    settings, condenser = cell.settings, cell.condenser
    assert (cell.ipc, cell.seed, condenser.max_iter, condenser.kernel) == (5, 7, 3, "linear")
    assert (settings.n_networks, settings.max_steps, settings.curve) == (4, None, (1, 3))
    assert settings.protocols == ("dc", "m3d")
    assert settings.augmentations == ("auto", "none")
    assert list(settings.models) == ["mlp", "svm"]
    assert settings.device == "cpu"


def test_defaults_are_those_of_compare(data):
    words = ["compare", "--datasets", str(data), "--methods", "random", "--out", "x"]
    found = resolved(vars(make_parser().parse_args(words)))
    assert found == DEFAULTS | {"datasets": [str(data)], "methods": ["random"], "out": Path("x")}


def test_seeds_and_references(laid_out):
    found = laid_out(references="start,kmeans,random,whole", methods="m3d", seeds="2")
    labels = ["M3D start", "M3D", "k-means", "Random", "whole set"]
    assert [(c.seed, c.method) for c in found] == [(s, m) for s in (0, 1) for m in labels]


@pytest.mark.parametrize("methods", ["whole", "random,whole", "m3d-start", "M3D,K-Means"])
def test_every_name_of_the_help_is_a_method(methods, laid_out):
    found = [cell.method for cell in laid_out(methods=methods)]
    labels = {"whole": "whole set", "random": "Random", "m3d-start": "M3D start"}
    labels |= {"M3D": "M3D", "K-Means": "k-means"}
    assert sorted(found) == sorted(labels[name] for name in methods.split(","))


@pytest.mark.parametrize("methods", ["m3d,m3d-start", "m3d-start"])
def test_a_start_has_no_start(methods, laid_out):
    found = {cell.method for cell in laid_out(methods=methods, references="start")}
    assert found <= {"M3D", "M3D start"}


def test_a_parameter_goes_to_its_method(laid_out):
    setting = ["--set", "m3d.kernel=linear", "--set", "kmeans.n_init=7"]
    found = {c.method: c.condenser for c in laid_out(*setting, methods="m3d,kmeans,random")}
    assert found["M3D"].kernel == "linear"
    assert found["k-means"].n_init == 7


def test_a_method_may_be_written_in_any_way(laid_out):
    (cell,) = laid_out("--set", "m3d.kernel=linear", methods="M3D")
    assert cell.condenser.kernel == "linear"


# ------------------------------------------------------------------------- configurations


@pytest.fixture
def configure(tmp_path):
    def write(**settings):
        path = tmp_path / "grid.toml"
        tables = {k: v for k, v in settings.items() if isinstance(v, dict)}
        lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if k not in tables]
        for name, about in tables.items():
            for inner, value in about.items():
                if isinstance(value, dict):
                    lines.append(f"[{name}.{inner}]")
                    lines += [f"{k} = {json.dumps(v)}" for k, v in value.items()]
                else:
                    lines += [f"[{name}]", f"{inner} = {json.dumps(value)}"]
        path.write_text("\n".join(lines))
        return path

    return write


def chosen(*words):
    return resolved(vars(make_parser().parse_args(["compare", *map(str, words)])))


EVERY = {
    "datasets": ["a", "b"],
    "methods": ["random"],
    "out": "x",
    "ipc": [3],
    "seeds": [5],
    "references": ["whole"],
    "models": ["knn"],
    "protocols": ["dc"],
    "networks": 7,
    "steps": 77,
    "robust": True,
    "curve": [9],
    "set": {"random": {"image_shape": [2, 2]}},
    "root": "r",
    "image_size": 12,
    "device": "cpu",
    "jobs": 2,
    "threads": 3,
}


def test_a_configuration_holds_every_flag(configure):
    assert set(EVERY) == {*DEFAULTS, *REQUIRED}
    assert chosen("--config", configure(**EVERY)) == EVERY


FLAGS = {
    "datasets": ("c", ["c"]),
    "methods": ("m3d", ["m3d"]),
    "out": ("y", Path("y")),
    "ipc": ("4", [4]),
    "seeds": ("6", 6),
    "references": ("none", []),
    "models": ("svm", ["svm"]),
    "protocols": ("m3d", ["m3d"]),
    "networks": ("2", 2),
    "steps": ("1000", 1000),
    "curve": ("1", [1]),
    "root": ("s", "s"),
    "image_size": ("16", 16),
    "device": ("auto", "auto"),
    "jobs": ("1", 1),
    "threads": ("1", 1),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_goes_before_the_configuration(name, configure):
    text, value = FLAGS[name]
    flag = f"--{name.replace('_', '-')}"
    assert chosen("--config", configure(**EVERY), flag, text) == EVERY | {name: value}


def test_a_configuration_is_run(configure, data, tmp_path, capsys):
    path = configure(
        datasets=str(data),
        methods={"mine": {"method": "m3d", "max_iter": 3}, "rows": {"method": "random"}},
        **{"references": [], "ipc": 1, "seeds": 1, "networks": 1, "steps": 3, "threads": 1},
        **{"out": str(tmp_path / "out"), "models": "knn"},
    )
    assert main(["compare", "--config", str(path), "--quiet"]) == 0
    records = ResultsFolder(tmp_path / "out").records()
    assert [r["spec"]["method"] for r in records] == ["mine", "rows"]
    assert records[0]["spec"]["params"]["max_iter"] == 3


def test_methods_of_a_configuration():
    table = {"a": {"method": "m3d", "kernel": "linear"}, "b": {"method": "m3d"}}
    found = chosen_methods(table, {"m3d": {"max_iter": 3, "kernel": "laplace"}})
    assert (found["a"].kernel, found["b"].kernel) == ("linear", "laplace")
    assert found["a"].max_iter == found["b"].max_iter == 3
    assert list(chosen_methods("random", {})) == ["Random"]


def test_a_set_flag_goes_before_the_tables(laid_out, configure):
    """Parameter by parameter: a flag, then the method's own table, then the table of set."""
    path = configure(
        methods={"a": {"method": "m3d", "kernel": "linear", "tol": 0.25}, "b": {"method": "m3d"}},
        set={"m3d": {"kernel": "poly", "max_iter": 9, "tol": 0.5, "batch_real": 7}},
    )
    flags = ("--set", "m3d.kernel=laplace", "--set", "m3d.max_iter=3")
    found = {c.method: c.condenser for c in laid_out(*flags, config=path, methods=None)}
    assert {c.kernel for c in found.values()} == {"laplace"}
    assert {c.max_iter for c in found.values()} == {3}
    assert {c.batch_real for c in found.values()} == {7}
    assert (found["a"].tol, found["b"].tol) == (0.25, 0.5)


def test_a_set_flag_takes_a_label(laid_out, configure):
    methods = {"a": {"method": "m3d", "max_iter": 9}, "b.c": {"method": "m3d", "max_iter": 9}}
    path = configure(methods={f'"{label}"': about for label, about in methods.items()})
    flags = ("--set", "a.max_iter=3", "--set", "b.c.max_iter=4", "--set", "m3d.max_iter=5")
    found = {c.method: c.condenser for c in laid_out(*flags, config=path, methods=None)}
    assert (found["a"].max_iter, found["b.c"].max_iter) == (3, 4)  # before the method's name
    (cell, _) = laid_out("--set", "a.kernel=linear", config=path, methods=None)
    assert (cell.condenser.kernel, cell.condenser.max_iter) == ("linear", 9)


def test_a_set_flag_takes_a_label_that_is_a_methods_name(laid_out, configure):
    path = configure(methods={"m3d": {"method": "m3d"}, "other": {"method": "m3d"}})
    found = laid_out("--set", "m3d.max_iter=3", config=path, methods=None)
    assert [cell.condenser.max_iter for cell in found] == [3, 3]


def test_a_table_of_set_takes_a_label(laid_out, configure):
    path = configure(methods={"a": {"method": "m3d"}}, set={"a": {"max_iter": 3}})
    (cell,) = laid_out(config=path, methods=None)
    assert cell.condenser.max_iter == 3


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("b.max_iter=3", "--set must name a method of this grid or its label, a, all; got 'b'"),
        ("a.best=3", "--set must name parameters of m3d.*got 'best'"),
        ("a.ipc=3", "--set must leave ipc"),
        ("all.ipc=3", "--set must name a condenser's parameters; 'whole' has none"),
    ],
)
def test_a_wrong_set_flag_beside_tables_is_named(flag, said, refused, configure):
    path = configure(methods={"a": {"method": "m3d"}, "all": {"method": "whole"}})
    assert re.search(said, refused("--set", flag, config=path, methods=None))


@pytest.mark.parametrize("name", ["whole", "m3d-start"])
def test_every_method_can_be_labelled(name, laid_out, configure):
    path = configure(methods={"mine": {"method": name}})
    (cell,) = laid_out("--config", path, methods=None)
    assert cell.method == "mine"


WRONG_TYPES = {
    "ipc": ["a", 0, -1, 1.5, True, [], [1, 1], [0], {"a": 1}],
    "seeds": ["a", 0, -1, 1.5, True, [], [-1]],
    "methods": [3, [], [3], "best", {"a": 3}, {"a": {"kernel": "rbf"}}, {"a": {"method": 3}}],
    "datasets": [[], 3, [3], "best", ["best"]],
    "set": [3, [1], "a", {"random": 3}, {"random": {"best": 3}}, {"best": {"ipc": 3}}],
    "steps": [0, -1, "a", 1.5, True, [1]],
    "networks": ["x", 0, 1.5, [1]],
    "references": [3, "best", [3]],
    "models": [3, "best", [], [3]],
    "protocols": [3, "best", []],
    "robust": ["yes", 3],
    "curve": [3, "a", [0]],
    "device": [3, "best"],
    "root": [3],
    "image_size": [0, "a", 1.5, True, [8], 8],
    "jobs": ["all", 0, 1.5],
    "threads": [0, "all", 1.5],
    "out": [3, [], ""],
}
CASES = [(name, value) for name, values in WRONG_TYPES.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{n}={json.dumps(v)}" for n, v in CASES])
def test_a_wrong_value_is_named_in_one_line(name, value, configure, data, tmp_path, capsys):
    known = {"datasets": str(data), "methods": "random", "references": [], "ipc": 1, "seeds": 1}
    known |= {"networks": 1, "steps": 3, "threads": 1, "models": "knn"}
    known |= {"out": str(tmp_path / "out"), name: value}
    if name == "root":
        known["datasets"] = "mnist"
    assert main(["compare", "--config", str(configure(**known)), "--quiet"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not (tmp_path / "out").exists()
    names = {"networks": "networks|n_networks", "steps": "steps|max_steps", "jobs": "jobs|n_jobs"}
    names |= {"datasets": "datasets|name", "methods": "methods|method"}
    names |= {"image_size": "image-size"}
    assert re.search(rf"\b({names.get(name, name)})\b", said.err), said.err


def test_broken_configurations_are_named(refused, tmp_path):
    path = tmp_path / "grid.toml"
    assert "grid.toml" in refused(config=path)
    path.write_text("a = [")
    assert "grid.toml is no TOML" in refused(config=path)
    path.write_bytes(b"\xff\xfe")
    assert "grid.toml is no TOML" in refused(config=path)
    path.write_text("best = 3")
    assert re.search(r"must hold .*networks.*got 'best'", refused(config=path))
    assert "tmp" in refused(config=tmp_path) or str(tmp_path) in refused(config=tmp_path)


# ------------------------------------------------------------------------------ wrong flags


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"methods": "best"}, "methods must be of .*'m3d'.*got 'best'"),
        ({"methods": ","}, "--methods.*names"),
        ({"datasets": "best"}, "must be one of .*mnist.*got 'best'"),
        ({"datasets": "no/such/folder"}, "no folder no/such/folder"),
        ({"datasets": "no.npz"}, "no.npz"),
        ({"ipc": "0"}, r"ipc must .*1 or more.*got \[0\]"),
        ({"ipc": "a"}, "--ipc: whole numbers.*got 'a'"),
        ({"ipc": "1,1"}, "ipc must hold different"),
        ({"seeds": "0"}, "--seeds: .*got '0'"),
        ({"seeds": None, "seed_list": "a"}, "--seed-list: whole numbers.*got 'a'"),
        ({"networks": "0"}, "--networks: .*got '0'"),
        ({"steps": "a"}, "--steps: .*got 'a'"),
        ({"models": "best"}, "models must be of .*got 'best'"),
        ({"models": "convnet"}, "convnet.*table"),
        ({"protocols": "best"}, "protocols must be of .*got .*best"),
        ({"references": "best"}, "references must be of .*got .*best"),
        ({"device": "best"}, "device must be .*got 'best'"),
        ({"jobs": "0"}, "jobs"),
        ({"jobs": "a"}, "--jobs"),
        ({"image_size": "a"}, "--image-size"),
        ({"image_size": "8"}, "--image-size must be None where no .*folder.*got 8"),
        ({"threads": "0"}, "--threads: .*got '0'"),
        ({"curve": "0"}, r"curve must .*got \[0\]"),
        ({"set": "best.a=1"}, "--set must name a method.*got 'best'"),
        ({"set": "random.best=1"}, "--set must name parameters of random.*got 'best'"),
        ({"set": "random=1"}, "--set must be METHOD.NAME=VALUE; got random=1"),
        ({"set": "random"}, "--set: NAME=VALUE.*got 'random'"),
        ({"set": "random.image_shape=best"}, "image_shape"),
        ({"set": "random.device=best"}, "device"),
        ({"set": "random.ipc=7"}, "ipc"),
        ({"set": "random.random_state=7"}, "random_state|seed"),
        ({"methods": "m3d", "set": "m3d.max_iter=-1"}, "max_iter"),
        ({"methods": "m3d", "set": "m3d.kernel=best"}, "kernel"),
        ({"methods": "m3d-start", "set": "m3d-start.max_iter=5"}, "max_iter"),
        ({"datasets": None}, "--datasets must be given"),
        ({"methods": None, "out": None}, "--methods, --out must be given"),
    ],
)
def test_a_wrong_flag_is_named_in_one_line(flags, said, refused):
    assert re.search(said, refused(**{"models": "knn"} | flags))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_out_that_is_a_file_is_named(more, compare, capsys, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    for out in (path, path / "sub"):
        assert compare(*more, out=out, models="knn") == 2
        said = capsys.readouterr().err
        assert re.fullmatch(r"m3d_sklearn: error: out must be a folder; got .*file.*\n", said)
    assert path.read_text() == "mine"


def test_a_folder_without_images_is_named(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(datasets=tmp_path / "empty")
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    assert re.search("photos/a must hold images", refused(datasets=tmp_path / "photos"))


def test_images_are_compared(compare, tmp_path, capsys):
    path = saved(images(), tmp_path)
    assert compare(datasets=path, methods="herding", models="auto,knn") == 0
    assert "convnet (m3d)" in capsys.readouterr().out
    (record,) = ResultsFolder(tmp_path / "out").records()
    assert np.load(tmp_path / "out" / "cells" / f"{record['name']}.npz")["X"].shape == (3, 6, 6)


def test_images_of_several_sizes_are_compared(compare, refused, configure, tmp_path, capsys):
    path = photos(tmp_path)
    said = refused(datasets=path)
    assert "--image-size must be given where images differ in size, as in --image-size=64" in said
    assert compare(datasets=path, image_size="12", models="knn") == 0
    (record,) = ResultsFolder(tmp_path / "out").records()
    assert record["data"]["shape"] == [12, 12, 3]
    assert "--image-size 12" in record["command"]
    assert compare("--config", configure(image_size=12), datasets=path, models="knn") == 0
    assert len(ResultsFolder(tmp_path / "out").records()) == 1


def test_transfer_is_all_that_fit(laid_out):
    (cell,) = laid_out(models="transfer")
    assert (
        set(cell.settings.models)
        == {"mlp", "knn", "svm", "logistic"}
        <= {*NETWORKS} | {*("knn", "svm", "logistic")}
    )


def test_fits_alone_are_kept_and_a_later_call_trains_on_them(compare, tmp_path, capsys):
    assert compare("--fit-only") == 0
    assert "1 of 1 cells fitted" in capsys.readouterr().out
    folder = ResultsFolder(tmp_path / "out")
    assert folder.records() == []
    (made,) = folder.cells.glob("*.npz")
    written = made.stat().st_mtime_ns
    assert compare() == 0
    (record,) = folder.records()
    assert record["status"] == "done"
    assert len(record["scores"]) == 1
    assert made.stat().st_mtime_ns == written


def test_fits_alone_that_fail_are_counted(compare, capsys):
    assert compare("--fit-only", "--set", "m3d.factor=2", methods="m3d") == 1
    said = capsys.readouterr()
    assert "0 of 1 cells fitted" in said.out
    assert re.fullmatch(r"m3d_sklearn: failed: table-M3D-\S+: ValueError: factor .*\n", said.err)


def test_the_whole_set_is_no_fit(compare, capsys):
    assert compare("--fit-only", references="whole") == 0
    assert "1 of 1 cells fitted" in capsys.readouterr().out
