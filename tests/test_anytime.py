"""The script that asks what a budget of seconds buys, on small data."""

import json

import anytime
import numpy as np
import pytest

from m3d_sklearn import M3DCondenser


@pytest.fixture
def data(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8), np.arange(60) % 10
    arrays = (X, y, X[:20], y[:20])
    monkeypatch.setattr(anytime, "load", lambda name: arrays)
    monkeypatch.setattr(anytime, "STEPS", 2)
    return arrays


def test_every_cell_is_run_once_and_drawn(data, tmp_path, capsys):
    file, png = tmp_path / "rows.jsonl", tmp_path / "anytime.png"
    call = ["--json", str(file), "--ipc", "1", "--seconds", "0.05,0.1", "--threads", "1"]
    call += ["--sets", str(tmp_path / "sets")]
    anytime.main(call)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    methods = ["M3D", "DM", "published loop"]
    budgets = (0.05, 0.1)
    assert [(r["seconds"], r["method"]) for r in rows] == [(s, m) for s in budgets for m in methods]
    assert all(row["fit_s"] >= row["seconds"] and row["iterations"] > 0 for row in rows)
    capsys.readouterr()
    anytime.main(call)
    assert capsys.readouterr().out == ""
    anytime.main(["--json", str(file), "--picture", str(png)])
    assert png.stat().st_size > 1000
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "| ipc | method | 0.05 s | 0.1 s |"
    assert [line.split(" | ")[1] for line in table[2:]] == methods


def test_sets_are_made_first_and_scored_later(data, tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    call = ["--json", str(file), "--ipc", "1", "--seconds", "0.05", "--threads", "1"]
    call += ["--sets", str(tmp_path / "sets")]
    anytime.main([*call, "--fit-only"])
    assert not file.exists()
    monkeypatch.setattr(anytime, "METHODS", dict.fromkeys(anytime.METHODS))  # none is made again
    anytime.main(call)
    assert [json.loads(line)["steps"] for line in file.read_text().splitlines()] == [2, 2, 2]


def test_another_version_is_another_cell(data, tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.jsonl"
    call = ["--json", str(file), "--ipc", "1", "--seconds", "0.01", "--threads", "1"]
    call += ["--sets", str(tmp_path / "sets")]
    anytime.main(call)
    monkeypatch.setattr(anytime, "__version__", "999")
    anytime.main(call)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 6
    assert {row["version"] for row in rows[3:]} == {"999"}
    with pytest.raises(SystemExit):
        anytime.main(["--json", str(file), "--picture", str(tmp_path / "anytime.png")])
    assert "one version" in capsys.readouterr().err


def test_the_published_loop_starts_as_m3d_does_and_gives_mosaics(data):
    condensed, iterations = anytime.published_loop(data, 1, 0.0, 0)
    begin = M3DCondenser(1, max_iter=0, random_state=0).fit(*data[:2]).condensed_
    assert iterations == 0
    np.testing.assert_array_equal(condensed.X, begin.X)
    assert condensed.factor == 2
