"""The runner of what waits for a GPU, on small jobs of its own."""

import json
import sys

import on_gpu
import pytest
from grids import images
from on_gpu import JOBS, Job, main

from m3d_sklearn import M3DCondenser, cli
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.datasets import Dataset, available

QUICK = ("-c", "print('here')")


def writing(name, line="x"):
    """A job that adds a line to a file in the folder."""
    code = f"open(r'{{out}}/{name}', 'a').write('{line}\\n')"
    return Job(name, ("-c", code), 0.0)


def large(name):
    """Images of 24 pixels a side, in colour: every network takes them."""
    data = images(name, 3)
    grown = [X.repeat(4, axis=1).repeat(4, axis=2) for X in (data.X_train, data.X_test)]
    return Dataset(name, grown[0], data.y_train, grown[1], data.y_test, data.class_names)


def statuses(folder):
    lines = (folder / "done.jsonl").read_text().splitlines()
    return [(row["job"], row["status"]) for row in map(json.loads, lines)]


def test_finished_jobs_are_not_run_again(tmp_path, capsys):
    jobs = [writing("a"), writing("b")]
    for _ in range(2):
        main(["--budget", "60", "--out", str(tmp_path), "--jobs", "1"], jobs)
    assert (tmp_path / "a").read_text() == "x\n"
    assert statuses(tmp_path) == [("a", "done"), ("b", "done")]
    assert "2 of 2 jobs done; left: none" in capsys.readouterr().out


def test_what_does_not_fit_is_left_and_later_jobs_still_run(tmp_path, capsys):
    main(["--budget", "30", "--out", str(tmp_path)], [Job("long", QUICK, 1e6), writing("short")])
    assert statuses(tmp_path) == [("short", "done")]
    assert "1 of 2 jobs done; left: long" in capsys.readouterr().out


def test_a_failed_job_is_run_again_and_stops_no_other(tmp_path):
    broken = Job("broken", ("-c", "import sys; print('why'); sys.exit(3)"), 0.0)
    for _ in range(2):
        folder = ["--out", str(tmp_path), "--jobs", "1"]
        main(["--budget", "60", *folder], [broken, writing("next")])
    assert statuses(tmp_path) == [("broken", "failed"), ("next", "done"), ("broken", "failed")]
    assert (tmp_path / "broken.log").read_text() == "why\n"


def test_a_job_is_stopped_when_the_budget_is_spent(tmp_path):
    endless = Job("endless", ("-c", "import time; time.sleep(60)"), 0.0)
    main(["--budget", "1", "--out", str(tmp_path)], [endless])
    assert statuses(tmp_path) == [("endless", "stopped")]


def test_untimed_jobs_run_side_by_side_and_timed_ones_alone(tmp_path):
    """Two that wait for each other end; a timed one begins when both have ended."""
    meet = (
        "import pathlib, sys, time; here = pathlib.Path(r'{out}'); own, other = sys.argv[1:];"
        "(here / own).touch();"
        "[time.sleep(0.05) for _ in range(400) if not (here / other).exists()];"
        "assert (here / other).exists(); time.sleep(0.2); (here / f'{own}.ended').touch()"
    )
    alone = "import pathlib; assert len(list(pathlib.Path(r'{out}').glob('*.ended'))) == 2"
    jobs = [
        Job("first", ("-c", meet, "here1", "here2"), 0.0),
        Job("second", ("-c", meet, "here2", "here1"), 0.0),
        Job("timed", ("-c", alone), 0.0, alone=True),
    ]
    assert on_gpu.run(jobs, tmp_path, 60.0, side_by_side=2) == []


def test_a_tiny_budget_runs_nothing_of_the_real_list(tmp_path, capsys):
    main(["--budget", "1", "--out", str(tmp_path)])
    assert f"0 of {len(JOBS)} jobs done" in capsys.readouterr().out
    assert not (tmp_path / "done.jsonl").exists()


def test_list_runs_nothing(tmp_path, capsys):
    main(["--budget", "60", "--out", str(tmp_path), "--list"], [writing("a")])
    assert "waits" in capsys.readouterr().out
    assert not (tmp_path / "a").exists()


def test_the_package_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job("import", ("-c", "import m3d_sklearn"), 0.0)
    assert on_gpu.run([job], tmp_path, 60.0) == []


def test_jobs_have_names_of_their_own():
    assert len({job.name for job in JOBS}) == len(JOBS)


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_every_command_is_one_that_its_script_takes(job, monkeypatch, tmp_path):
    """Parsed by the script itself, whose work is taken out."""
    script, *arguments = (part.replace("{out}", str(tmp_path)) for part in job.command)
    if script == "-m" and arguments[0] == "m3d_sklearn":
        monkeypatch.setattr(Grid, "run", lambda *_, **__: None)
        monkeypatch.setattr("m3d_sklearn.benchmark.plan.load", lambda name, **_: large(name))
        assert cli.main(arguments[1:]) == 0
        assert arguments[arguments.index("--datasets") + 1] in available()
        return
    if script == "-m":
        assert arguments[0] == "pytest"
        return
    seen = []
    if "speed" in script:
        import speed

        monkeypatch.setattr(speed, "resolve_device", lambda name: seen.append(name) or "cuda")
        monkeypatch.setattr(speed, "machine", lambda device: {})
        monkeypatch.setattr(speed, "measured", lambda *given: seen.append(given) or [])
        speed.main(arguments)
        _, (_, quick, only, precision) = seen
        assert not quick
        assert precision == "auto"
        assert set(only) <= speed.names("cuda")
    elif "fused_kernel" in script:
        import fused_kernel

        monkeypatch.setattr(fused_kernel, "rows", lambda: [{"total_ms": 1.0}])
        fused_kernel.main(arguments)
        assert json.loads((tmp_path / "fused-kernel.jsonl").read_text()) == {"total_ms": 1.0}
    elif "tuning" in script:
        import tuning

        for name in ("PART", "MOST_STEPS"):  # which --pool sets
            monkeypatch.setattr(tuning._pool, name, getattr(tuning._pool, name))
        monkeypatch.setattr(tuning, "held_out", lambda *given: seen.append(given))
        monkeypatch.setattr(tuning, "row", lambda options, *_: seen.append(options.set) or {})
        tuning.main(arguments)
        assert seen[0] == ("cifar10", None, None, None)
        assert set(seen[1]) <= set(M3DCondenser().get_params())
    else:
        import accuracy

        monkeypatch.setattr(accuracy, "cell", lambda options: seen.append(options) or {})
        accuracy.main(arguments)
        assert seen[0].data in ("mnist", "cifar10")


def test_cells_that_a_file_has_records_of_are_known(tmp_path, capsys):
    table = ["-m", "m3d_sklearn", "compare", "--datasets", "digits", "--methods", "random"]
    settings = ["--models", "knn", "--references", "none", "--ipc", "1"]

    def job(seeds):
        more = ["--seed-list", seeds, "--out", "{out}/grid"]
        return Job(f"seeds {seeds}", (*table, *settings, *more), 0.0)

    assert on_gpu.run([job("0")], tmp_path / "first", 300.0) == []
    (known,) = ResultsFolder(tmp_path / "first" / "grid").records()
    known |= {"finished": "long ago"}
    (tmp_path / "known.jsonl").write_text(json.dumps(known) + "\n")
    where = ["--out", str(tmp_path / "second"), "--known", str(tmp_path / "known.jsonl")]
    main(["--budget", "300", *where], [job("0,1")])
    found = ResultsFolder(tmp_path / "second" / "grid").records()
    assert [record["finished"] == "long ago" for record in found] == [True, False]


def test_the_interpreter_is_this_one(tmp_path):
    job = Job("which", ("-c", "import sys; print(sys.executable)"), 0.0)
    on_gpu.run([job], tmp_path, 60.0)
    assert (tmp_path / "which.log").read_text().strip() == sys.executable
