"""The examples, at a small size, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from m3d_sklearn import CondensedSet, M3DCondenser
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.datasets import load

EXAMPLES = Path(__file__).parents[1] / "examples"
METHODS = ["Random", "Herding", "KCenter", "k-means", "M3D's start", "M3D"]


def run_example(name, folder, *flags):
    """What a script says, once it ended well, without a warning, and wrote to "out" alone."""
    before = set(folder.iterdir())
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--out", str(folder / "out"), *flags],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    assert set(folder.iterdir()) - before <= {folder / "out"}
    return run.stdout


def table_of(said):
    """Cells of the table with bars, by the first of each line."""
    lines = [line for line in said.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # aligned
    _, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    assert all(re.fullmatch(r":?-{2,}:?", cell) for cell in rule)
    return {row[0]: row[1:] for row in rows}


def assert_says_under_what(said, *more):
    for word in (*more, "steps", "seed", "Device cpu", "CPU cores", "Python", "torch"):
        assert word in said


def assert_picture(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 100
    assert pixels.std() > 5  # something is drawn


def test_the_readme_lists_every_script():
    listed = re.findall(r"^\| `(\w+\.py)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    small = ["--ipc", "1", "--iterations", "3", "--steps", "3"]
    return run_example("quickstart", folder, *small), folder


def test_quickstart_prints_a_table_that_markdown_reads(quickstart):
    lines = [line for line in quickstart[0].splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # aligned
    header, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    assert header[:2] == ["ipc", "method"]
    assert all(re.fullmatch(r":?-{2,}:?", cell) for cell in rule)
    assert [row[:2] for row in rows] == [["1", name] for name in METHODS] + [["all", "whole set"]]
    for row in rows:
        assert all(0 < float(cell) <= 100 for cell in row[2:7])


def test_quickstart_says_under_what_it_measured(quickstart):
    said = quickstart[0]
    assert "3 steps" in said
    assert "ipc 1: 3" in said  # epochs
    assert "one seed (0)" in said
    assert all(name in said for name in ("Python", "torch", "scikit-learn", "CPU cores"))


def test_quickstart_writes_the_picture_and_the_winner_alone(quickstart):
    said, folder = quickstart
    picture, winner = folder / "out" / "quickstart.png", folder / "out" / "winner.joblib"
    assert sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file()) == [
        picture.relative_to(folder),
        winner.relative_to(folder),
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000
    # 1,257 training images of 8×8 in float64 would take 640 kB.
    assert winner.stat().st_size < 100_000
    accuracies = re.search(r"Accuracy ([\d.]+) %, and ([\d.]+) % once loaded", said)
    assert accuracies[1] == accuracies[2]


def test_compare_coresets_scores_what_it_kept(tmp_path):
    small = ["--ipc", "2", "--seeds", "2", "--iterations", "2"]
    said = run_example("compare_coresets", tmp_path, *small)
    assert "8 condensers loaded again" in said
    assert_says_under_what(said.replace("iterations", "steps"), "M3D ran 2 ")
    table = table_of(said)
    assert list(table) == ["Random", "Herding", "KCenter", "M3D", "whole set"]
    fitted = joblib.load(tmp_path / "out" / "condensers.joblib")
    results = joblib.load(tmp_path / "out" / "results.joblib")
    assert_picture(tmp_path / "out" / "coresets.png")
    for name in ("Random", "Herding", "KCenter"):  # from their rows, by hand
        scores = []
        for seed in (0, 1):
            X_train, y_train, X_test, y_test = load("digits", random_state=seed)
            kept = fitted[name, seed].sample_indices_
            machine = SVC().fit(X_train[kept].reshape(-1, 64), y_train[kept])
            scores.append(machine.score(X_test.reshape(-1, 64), y_test))
        assert [r["accuracy"] for r in results if r["method"] == name] == scores
        shown = f"{100 * np.mean(scores):.1f} ± {100 * np.std(scores, ddof=1):.1f}"
        assert table[name][0] == shown


def test_poster_table_goes_on_where_it_stopped(tmp_path):
    small = ["--methods", "random", "herding", "--ipc", "1", "--seeds", "1", "--steps", "2"]
    said = run_example("poster_table", tmp_path, *small)
    cells = sorted((tmp_path / "out" / "cells").glob("*.json"))
    written = [path.stat().st_mtime_ns for path in cells]
    assert run_example("poster_table", tmp_path, *small) == said
    assert [path.stat().st_mtime_ns for path in cells] == written
    assert_says_under_what(said, "steps: 2", "1 convnet")
    shown = {}
    for record in ResultsFolder(tmp_path / "out").records():
        accuracy = f"{100 * record['scores'][0]['accuracy']:.1f}"
        shown[record["spec"]["method"]] = [str(record["spec"]["ipc"] or "all"), accuracy]
    assert list(shown) == ["Herding", "Random", "k-means", "whole set"]
    for method, (ipc, accuracy) in shown.items():
        assert re.search(rf"digits +{ipc} +{method} +{accuracy} ", said)
    assert_picture(tmp_path / "out" / "digits.png")
    assert "Herding" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.skipif(
    not hasattr(M3DCondenser, "set_callbacks"), reason="callbacks need scikit-learn 1.9"
)
def test_training_steps_begins_both_curves_at_the_same_start(tmp_path):
    small = ["--ipc", "1", "--iterations", "4", "--points", "2", "--steps", "2", "--seeds", "2"]
    said = run_example("training_steps", tmp_path, *small)
    assert_says_under_what(said, "2 training steps", "ipc 1")
    curves = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert list(curves) == ["M3D", "DM's loss"]
    for runs in curves.values():
        assert [[point["iteration"] for point in run] for run in runs] == [[0, 1, 4]] * 2
    starts, first, last = (
        [[r[i]["accuracy"] for r in runs] for runs in curves.values()] for i in range(3)
    )
    assert starts[0] == starts[1]
    assert (first, last) != (first[::-1], last[::-1])  # the losses lead elsewhere
    table = table_of(said)
    assert list(table) == ["0", "1", "4"]
    assert table["4"][0].startswith(f"{100 * np.mean(last[0]):.1f} ± ")
    assert_picture(tmp_path / "out" / "steps.png")


def test_continual_learning_remembers_by_its_memory_alone(tmp_path):
    # M3D's start is rows of the data, so each can be looked up.
    small = ["--tasks", "2", "--ipc", "2", "--iterations", "0", "--steps", "30", "--seeds", "1"]
    said = run_example("continual_learning", tmp_path, *small)
    assert_says_under_what(said, "training steps of each: 30", "20 in the end (whole set: 1257)")
    scores = json.loads((tmp_path / "out" / "accuracies.json").read_text())
    table = table_of(said)
    names = ["Random", "Herding", "KCenter", "k-means", "M3D", "whole set"]
    assert list(table) == list(scores) == names
    assert all(table[name] == [f"{100 * s:.1f}" for s in scores[name][0]] for name in names)
    # Who knew the last five classes alone would get about half of the ten right.
    assert all(runs[0][-1] > 0.55 for runs in scores.values())
    with np.load(tmp_path / "out" / "memory.npz") as memory:
        X, y = memory["X"], memory["y"]
    order = np.random.default_rng(0).permutation(10)
    assert sorted(y[:10]) == sorted(np.repeat(order[:5], 2))
    assert sorted(y[10:]) == sorted(np.repeat(order[5:], 2))
    digits = load_digits()
    for image, label in zip(X, y, strict=True):
        same = (digits.images == image).all(axis=(1, 2))
        assert digits.target[same].tolist() == [label]
    assert_picture(tmp_path / "out" / "continual.png")


def test_own_images_brings_its_own(tmp_path):
    small = ["--image-size", "8", "--ipc", "2", "--iterations", "2", "--steps", "2"]
    said = run_example("own_images", tmp_path, *small)
    assert "1437 training and 360 test images of shape (8, 8), 10 classes" in said
    assert_says_under_what(said, "2 training steps", "factor 1, 2 iterations")
    assert list(table_of(said)) == ["random images", "M3D", "whole set"]
    condensed = CondensedSet.load(tmp_path / "out" / "condensed.npz")
    assert condensed.ipc["seven"] == 2
    assert condensed.X.dtype == np.uint8


def test_own_images_tells_red_from_green_in_mosaics(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 5)):
        for channel, name in enumerate(("red", "green")):
            folder = tmp_path / "mine" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 60, (36, 30, 3), np.uint8)
                image[..., channel] += 190
                Image.fromarray(image).save(folder / f"{number}.png")
    small = ["--image-size", "28", "--ipc", "1", "--iterations", "2", "--steps", "10"]
    said = run_example("own_images", tmp_path, "mine", *small)
    assert "mine: 16 training and 10 test images of shape (28, 28, 3), 2 classes" in said
    table = table_of(said)
    assert table["M3D"] == ["2", "100.0"]
    assert table["whole set"] == ["16", "100.0"]
    assert "factor 2, 2 iterations" in said
    out = tmp_path / "out"
    assert CondensedSet.load(out / "condensed.npz").ipc == {"green": 1, "red": 1}
    assert_picture(out / "sheet.png")
    files = sorted(path.relative_to(out / "images") for path in (out / "images").rglob("*.png"))
    assert [str(file) for file in files] == [
        f"{name}/{i:04}.png" for name in ("green", "red") for i in range(4)
    ]
    for file in files:
        with Image.open(out / "images" / file) as image:
            assert image.size == (28, 28)
            red, green, _ = np.asarray(image).reshape(-1, 3).mean(0)
        assert (red > green) == (file.parts[0] == "red")
