"""The script that judges a choice of M3D's, on small images."""

import json

import numpy as np
import pytest
import tuning


def load(channels):
    def images(name):
        rng = np.random.default_rng(0)
        shape = (12, 12, channels) if channels else (12, 12)
        X = rng.integers(0, 256, (60, *shape)).astype(np.uint8)
        y = np.arange(60) % 3
        return X, y, None, None  # test images that nobody may read

    return images


@pytest.mark.parametrize("channels", [0, 3])
def test_a_row_a_seed_on_held_out_training_images(channels, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tuning, "load", load(channels))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    kind = ["--data", "cifar10", "--side", "8", "--width", "4", "--ipc", "1", "--steps", "2"]
    more = ["--set", "max_iter=2", "--set", "kernel=linear", "--set", "batch_real=5"]
    file = tmp_path / "rows.jsonl"
    tuning.main([*kind, *more, "--seeds", "2", "--start", "herding", "--json", str(file)])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert capsys.readouterr().out == file.read_text()
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        assert (row["side"], row["width"], row["iterations"], row["steps"]) == (8, 4, 2, 2)
        assert row["settings"] == {"max_iter": "2", "kernel": "linear", "batch_real": "5"}
        assert round(21 * row["accuracy"]) == pytest.approx(21 * row["accuracy"])


def test_some_classes_alone(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", load(3))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    X, y, X_judge, y_judge = tuning.held_out("cifar10", 8, [2, 0])
    assert len(X) + len(X_judge) == 40
    assert set(y) == set(y_judge) == {0, 2}
    kind = ["--data", "cifar10", "--side", "8", "--width", "4", "--ipc", "1", "--steps", "2"]
    tuning.main([*kind, "--set", "max_iter=2", "--set", "batch_real=5", "--classes", "2", "0"])
    row = json.loads(capsys.readouterr().out)
    assert row["classes"] == [2, 0]
    assert "8 px, width 4, classes 2, 0 |" in tuning.table([row])


def test_some_images_alone(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", load(3))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    X, y, X_judge, _ = tuning.held_out("cifar10", 8, most=30)
    assert (len(X), len(y), len(X_judge)) == (30, 30, 21)
    np.testing.assert_array_equal(X, tuning.held_out("cifar10", 8)[0][:30])
    kind = ["--data", "cifar10", "--side", "8", "--width", "4", "--ipc", "1", "--steps", "2"]
    tuning.main([*kind, "--set", "max_iter=2", "--set", "batch_real=5", "--images", "30"])
    row = json.loads(capsys.readouterr().out)
    assert row["images"] == 30
    assert "8 px, width 4, 30 images |" in tuning.table([row])


def test_a_shrunken_image_is_for_every_method(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", load(3))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    kind = ["--data", "cifar10", "--side", "8", "--width", "4", "--ipc", "1", "--steps", "2"]
    tuning.main([*kind, "--set", "max_iter=2", "--set", "batch_real=5", "--method", "dm"])
    assert json.loads(capsys.readouterr().out)["method"] == "dm"


def large(name):
    X = np.random.default_rng(0).integers(0, 256, (90, 28, 28)).astype(np.uint8)
    return X, np.arange(90) % 3, None, None


@pytest.mark.parametrize(("ipc", "factor"), [(1, 2), (20, 1)])
@pytest.mark.parametrize("start", [[], ["--start", "herding"]], ids=["mix", "herding"])
def test_mosaics_and_width_are_the_librarys(ipc, factor, start, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", large)
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    made, evaluate = [], tuning.evaluate

    def seen(condensed, *judge, **training):
        made.append(condensed.factor)
        return evaluate(condensed, *judge, **training)

    monkeypatch.setattr(tuning, "evaluate", seen)
    kind = ["--data", "mnist", "--ipc", str(ipc), "--steps", "1", *start]
    tuning.main([*kind, "--set", "max_iter=1", "--set", "batch_real=5"])
    assert made == [factor]
    assert json.loads(capsys.readouterr().out)["width"] == 64  # of large images on a CPU


def test_without_a_side_it_is_the_librarys_own_defaults_for_some_seconds(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", load(0))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    for method in ("m3d", "dm"):
        kind = ["--data", "mnist", "--ipc", "1", "--method", method, "--seconds", "0.01"]
        tuning.main([*kind, "--set", "factor=1", "--set", "batch_real=5", "--steps", "2"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["method"] for row in rows] == ["m3d", "dm"]
    assert all(row["seconds"] == 0.01 and row["iterations"] < 100 for row in rows)
    names = [tuning.choice(row) for row in rows]
    assert names == ["factor=1, batch_real=5", "dm, factor=1, batch_real=5"]


def test_a_constant_of_the_pool_and_both_kinds_of_labels(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "load", load(0))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    monkeypatch.setattr(tuning._pool, "MOST_STEPS", 7)
    monkeypatch.setattr(tuning._pool, "BATCH", 64)
    kind = ["--data", "mnist", "--side", "8", "--width", "4", "--ipc", "1", "--steps", "2"]
    more = ["--set", "max_iter=16", "--set", "soft_labels=True", "--set", "batch_real=5"]
    tuning.main([*kind, *more, "--pool", "MOST_STEPS=3", "--pool", "BATCH=4"])
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tuning._pool.MOST_STEPS == 3
    assert row["pool"] == {"MOST_STEPS": "3", "BATCH": "4"}
    assert tuning.choice(row).endswith("batch_real=5, the pool's MOST_STEPS=3, the pool's BATCH=4")
    assert 0 <= row["hard_labels"] <= 1
    with pytest.raises(SystemExit):
        tuning.main([*kind, "--pool", "MOST=3"])
    assert "a constant of _pool.py; got 'MOST'" in capsys.readouterr().err


def test_the_same_rows_are_held_out_every_time(monkeypatch):
    monkeypatch.setattr(tuning, "load", load(0))
    monkeypatch.setattr(tuning, "HELD_OUT", 21)
    first, second = (tuning.held_out("mnist", None) for _ in range(2))
    assert [len(part) for part in first] == [39, 39, 21, 21]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    together = np.concatenate([first[0], first[2]]).reshape(60, -1)
    assert len(np.unique(together, axis=0)) == 60


@pytest.mark.parametrize(
    ("text", "value"),
    [("pool=4", 4), ("kernel=linear", "linear"), ("bandwidth=[1, 2]", [1, 2]), ("tol=None", None)],
)
def test_settings_are_literals_or_words(text, value):
    assert tuning.setting(text) == (text.partition("=")[0], value)


def found(seed, accuracy, seconds, **settings):
    kind = {"data": "mnist", "side": 28, "width": 64, "ipc": 1, "start": None}
    return kind | {"settings": settings, "seed": seed, "accuracy": accuracy, "fit_s": seconds}


def test_the_table_compares_by_the_seeds_that_both_have(tmp_path, capsys):
    rows = [
        found(0, 0.90, 10.0),
        found(1, 0.92, 10.0),
        found(0, 0.93, 20.0, pool="0"),
        found(1, 0.93, 20.0, pool="0"),
        found(2, 0.10, 20.0, pool="0"),
        found(1, 0.91, 5.0, kernel="linear") | {"start": "herding"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    tuning.main(["--table", str(file)])
    lines = capsys.readouterr().out.splitlines()[2:]
    kind = "| mnist, 28 px, width 64 | 1 |"
    assert lines == [
        f"{kind} defaults | 91.0 ± 1.4 | – | – | 2 |",
        f"{kind} pool=0 | 65.3 ± 47.9 | +2.0 ± 1.0 | ×2.0 | 3 |",
        f"{kind} kernel=linear, start: herding | 91.0 | -1.0 | ×0.5 | 1 |",
    ]


@pytest.mark.parametrize("words", [[], ["--data", "mnist", "--table", "rows.jsonl"]])
def test_one_thing_is_asked_at_a_time(words, capsys):
    with pytest.raises(SystemExit):
        tuning.main(words)
    assert "--data to judge a choice, or --table" in capsys.readouterr().err
