import statistics

import pytest
from grids import quick, saved, table

from m3d_sklearn.benchmark import ResultsFolder, rows
from m3d_sklearn.benchmark.summary import markdown, summarise


def row(method, ipc, scores, seed=0, **changes):
    return {
        "dataset": "d",
        "method": method,
        "ipc": ipc,
        "seed": seed,
        "model": "mlp",
        "kind": "network",
        "protocol": "m3d",
        "augmentation": "auto",
        "accuracy": None if scores is None else statistics.fmean(scores),
        "scores": scores,
        "epochs": 10,
        "steps": 30,
        "width": None,
        "factor": 1,
        "nbytes": 96,
        "mmd": 0.5,
        "n_iter": None,
        "fit_seconds": 2.0,
        "fit_peak_mb": None,
        "evaluate_seconds": 1.0,
    } | changes


SEEDS = [
    row("M3D", 1, [0.8, 0.9], 0, mmd=0.25, n_iter=3),
    row("M3D", 1, [0.6, 0.7], 1, mmd=0.75, fit_seconds=4.0, fit_peak_mb=6.0, n_iter=5),
]


def test_means_over_seeds_by_hand():
    (found,) = summarise(SEEDS)
    assert found == {
        "dataset": "d",
        "ipc": 1,
        "method": "M3D",
        "model": "mlp",
        "protocol": "m3d",
        "augmentation": "auto",
        "accuracy": pytest.approx(0.75),
        "std": pytest.approx((0.05 / 3) ** 0.5),  # of 0.8, 0.9, 0.6, 0.7
        "n_seeds": 2,
        "n_runs": 4,
        "mmd": 0.5,
        "n_iter": 4,
        "fit_seconds": 3.0,
        "fit_peak_mb": 6.0,  # of the seed that has one
        "evaluate_seconds": 1.0,
        "nbytes": 96,
        "epochs": 10,
        "steps": 30,
        "width": None,
        "factor": 1,
    }


def test_kinds_stay_apart_and_in_their_order():
    kinds = [
        row("M3D", 10, [0.1]),
        row("M3D", 1, [0.2]),
        row("Herding", 1, [0.3]),
        row("M3D", 1, [0.4], model="knn", protocol=None, augmentation=None),
        row("M3D", 1, [0.5], protocol="dc"),
        row("M3D", 1, [0.6], augmentation="none"),
        row("M3D", 1, [0.7], dataset="e"),
        row("whole set", None, [0.8], mmd=None),
    ]
    assert [s["accuracy"] for s in summarise(kinds)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert {s["std"] for s in summarise(kinds)} == {0.0}


def test_failed_cells_are_left_out():
    failed = row("M3D", 1, None, seed=2, model=None, protocol=None, augmentation=None)
    assert summarise([*SEEDS, failed]) == summarise(SEEDS)
    assert summarise([failed]) == []
    assert markdown([failed]) == markdown([]) == ""


def test_a_table_by_hand():
    table = [
        *SEEDS,
        row("M3D", 1, [0.5], model="knn", protocol=None, augmentation=None),
        row("Random", 1, [0.25]),
        row("M3D", 1, [0.125], augmentation="none"),
        row("whole set", None, [1.0], mmd=None, fit_seconds=None),
    ]
    lines = markdown(table).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        *("data", "ipc", "method", "mlp (m3d)", "knn", "mlp (m3d, no augmentation)"),
        *("MMD²", "fit, s", "runs"),
    ]
    assert set(lines[1]) == set("|:- ")
    assert cells[2:] == [
        ["d", "1", "M3D", "75.0 ± 12.9", "50.0", "12.5", "0.5", "3.0", "2×2"],
        ["d", "1", "Random", "25.0", "–", "–", "0.5", "2.0", "1×1"],
        ["d", "all", "whole set", "100.0", "–", "–", "–", "–", "1×1"],
    ]
    assert len({len(line) for line in lines}) == 1  # columns stand under one another


def test_a_table_a_data_set():
    one, other = markdown([*SEEDS, row("M3D", 1, [0.5], dataset="e")]).split("\n\n")
    assert "| d " in one
    assert "| e " in other


@pytest.mark.parametrize("label", ["a|b", "a\nb"])
def test_a_label_does_not_break_the_table(label):
    lines = markdown([row(label, 1, [0.5]), row("M3D", 1, [0.5])]).splitlines()
    assert len(lines) == 4
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_what_a_folder_holds_becomes_a_table(tmp_path):
    quick("random", str(saved(table(), tmp_path)), seeds=2, out=tmp_path / "out", models="knn")
    text = markdown(rows(ResultsFolder(tmp_path / "out").records()))
    assert "Random" in text
    assert "2×1" in text
