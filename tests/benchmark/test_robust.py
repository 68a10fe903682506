import math

import numpy as np
import pytest
from grids import quick

from m3d_sklearn import Random
from m3d_sklearn.benchmark import robust_scores
from m3d_sklearn.benchmark.robust import squashed

pd = pytest.importorskip("pandas")


def row(method, ipc, augmentation, accuracy, **changes):
    return {
        "dataset": "d",
        "method": method,
        "ipc": ipc,
        "seed": 0,
        "model": "mlp",
        "protocol": "m3d",
        "augmentation": augmentation,
        "accuracy": accuracy,
    } | changes


TABLE = [
    row("M3D", 1, "auto", 0.80),
    row("M3D", 1, "none", 0.70),
    row("Random", 1, "auto", 0.50),
    row("Random", 1, "none", 0.45),
    row("whole set", None, "auto", 0.90),
    row("whole set", None, "none", 0.85),
]


def squash(value):
    return (math.e**value - math.e**-1) / (math.e - math.e**-1)


@pytest.mark.parametrize("form", [list, pd.DataFrame], ids=["dicts", "DataFrame"])
def test_scores_by_hand(form):
    (score,) = robust_scores(form(TABLE))
    assert score.pop("hlr") == pytest.approx(0.9 - 0.8)
    assert score.pop("ior") == pytest.approx(0.8 - 0.5)
    assert score.pop("lrs") == pytest.approx(squash((0.3 - 0.1) / 2))
    assert score.pop("ars") == pytest.approx(squash((0.3 + 0.25) / 2))
    known = {"dataset": "d", "ipc": 1, "method": "M3D", "model": "mlp", "protocol": "m3d"}
    assert score == known
    assert type(score["ipc"]) is int


def test_the_ends_of_the_scale():
    assert squashed(-1) == 0
    assert squashed(1) == pytest.approx(1)
    assert squashed(0) == pytest.approx((1 - 1 / math.e) / (math.e - 1 / math.e))


def test_means_are_taken_over_seeds_before():
    more = [row("M3D", 1, "auto", 0.60, seed=1), row("whole set", None, "auto", 0.80, seed=1)]
    (score,) = robust_scores(TABLE + more)
    assert score["hlr"] == pytest.approx(0.85 - 0.7)
    assert score["ior"] == pytest.approx(0.7 - 0.5)


def missing(value):
    """A failed cell, and a classifier's row."""
    return [
        row("M3D", 1, value, value, model=value, protocol=value),
        row("M3D", 1, value, 0.3, model="knn", protocol=value),
        row("M3D", 1, "auto", value),
    ]


@pytest.mark.parametrize("value", [None, math.nan, np.nan], ids=str)
def test_failed_cells_and_classifiers_are_left_out(value):
    assert robust_scores(TABLE + missing(value)) == robust_scores(TABLE)


@pytest.mark.parametrize("integer", [False, True])
def test_failed_cells_in_a_frame_are_left_out(integer):
    frame = pd.DataFrame(TABLE + missing(None))
    if integer:
        frame = frame.astype({"ipc": "Int64"})
    assert robust_scores(frame) == robust_scores(TABLE)


def test_each_data_set_ipc_model_and_protocol_is_its_own():
    other = [r | {"accuracy": r["accuracy"] / 2} for r in TABLE]
    table = [
        *TABLE,
        *(r | {"dataset": "e"} for r in other),
        *(r | {"model": "convnet"} for r in other),
        *(r | {"protocol": "dc"} for r in other),
        *(r | {"ipc": 10} for r in other if r["ipc"]),
    ]
    scores = robust_scores(table)
    assert len(scores) == 5
    assert [round(s["ior"], 3) for s in scores] == [0.3, 0.15, 0.15, 0.15, 0.15]
    assert round(scores[-1]["hlr"], 3) == 0.5  # the one whole set


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_what_is_missing_is_asked_for(place):
    with pytest.raises(ValueError, match=r"M3D on d at ipc 1.*robust=True"):
        robust_scores(TABLE[:place] + TABLE[place + 1 :])


def test_the_whole_set_under_another_label_is_no_method():
    """A cell without ipc is the whole set, whatever it is called."""
    table = [*TABLE, row("everything", None, "auto", 0.9), row("everything", None, "none", 0.9)]
    assert [s["method"] for s in robust_scores(table)] == ["M3D"]


@pytest.mark.parametrize("methods", ["herding", ["herding", "random"], {"h": "herding"}])
def test_what_compare_gives_has_scores(methods):
    frame = quick(methods, ipc=[1, 2], seeds=2, robust=True, models=["auto", "knn"])
    scores = robust_scores(frame)
    assert [(s["ipc"], s["model"]) for s in scores] == [(1, "mlp"), (2, "mlp")]
    for score in scores:
        assert 0 <= score["lrs"] <= 1
        assert 0 <= score["ars"] <= 1
    assert robust_scores(frame.to_dict("records")) == scores


def test_random_rows_of_ones_own_label_leave_scores():
    frame = quick({"mine": Random(), "h": "herding"}, robust=True)
    assert {s["method"] for s in robust_scores(frame)} == {"mine", "h"}
