import base64
from xml.etree import ElementTree

import matplotlib
import pytest

from m3d_sklearn.benchmark import rows
from m3d_sklearn.report._pictures import pictures
from m3d_sklearn.report._table import differences, lines


def drawn(records):
    apart = differences(records)
    return pictures(rows(records), records, lines(records), apart)


def words(picture):
    """Texts of a picture, which stay text in SVG."""
    head, _, body = picture.uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    root = ElementTree.fromstring(base64.b64decode(body))
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_accuracy_against_ipc_where_there_are_two(record):
    cells = [record("a", ipc=1), record("a", ipc=10), record("b", ipc=1)]
    (picture,) = drawn(cells)
    assert (picture.kind, picture.caption) == (
        "lines",
        "Accuracy against ipc: a, convnet, protocol m3d.",
    )
    assert picture.alt == f"{picture.caption} In %, M3D: 91.0 at ipc 1, 91.0 at ipc 10."
    assert {"1", "10", "ipc (stored rows per class)"} <= set(words(picture))


def test_the_whole_set_is_a_line_of_its_own(record):
    cells = [record(ipc=1), record(ipc=10), record(method="whole set", ipc=None)]
    (picture,) = drawn(cells)
    assert picture.alt.endswith("; whole set: 91.0.")
    assert "whole set" in words(picture)


def test_networks_come_first_and_four_models_are_enough(record, score):
    plain = {"kind": "estimator", "protocol": None, "augmentation": None}
    scores = [score([0.9], model=name, **plain) for name in ("a", "b", "c", "d")]
    scores += [score([0.9]), score([0.9], protocol="dc")]
    found = [p.caption for p in drawn([record(ipc=i, scores=scores) for i in (1, 2)])]
    assert found[:5] == [
        "Accuracy against ipc: digits, convnet, protocol dc.",
        "Accuracy against ipc: digits, convnet, protocol m3d.",
        "Accuracy against ipc: digits, a.",
        "Accuracy against ipc: digits, b.",
        "Accuracy over models: digits, protocol dc, ipc 1.",
    ]


def test_one_augmentation_is_drawn(record, score):
    scores = [score([0.9]), score([0.5], augmentation="none")]
    (picture,) = drawn([record(ipc=ipc, scores=scores) for ipc in (1, 2)])
    assert picture.alt.endswith("M3D: 90.0 at ipc 1, 90.0 at ipc 2.")
    (picture,) = drawn([record(ipc=ipc, scores=scores[1:]) for ipc in (1, 2)])
    assert picture.alt.endswith("M3D: 50.0 at ipc 1, 50.0 at ipc 2.")


def test_cells_of_other_settings_are_lines_of_their_own(record):
    cells = [record(ipc=i, seed=s, params={"lr": s}) for i in (1, 2) for s in (0, 1)]
    (picture,) = drawn(cells)
    assert {"M3D (lr=0)", "M3D (lr=1)"} <= set(words(picture))


def curve(*accuracies):
    return [
        {"iteration": 10**i, "seconds": i / 2, "accuracy": a, "std": 0.0}
        for i, a in enumerate(accuracies)
    ]


def test_accuracy_against_iterations_where_there_are_curves(record):
    cells = [
        record(seed=0, curve=curve(0.5, 0.8)),
        record(seed=1, curve=curve(0.6, 0.9)),
        record(method="Random"),
    ]
    (picture,) = drawn(cells)
    where = "digits, protocol m3d, ipc 1"
    assert picture.caption == f"Accuracy against the iterations of condensing by M3D: {where}."
    assert picture.alt == f"{picture.caption} In %, first seed: M3D from 50.0 at 1 to 80.0 at 10."
    assert "training iterations" in words(picture)


def test_curves_that_never_meet_are_left_out(record):
    apart = [curve(0.5)[0] | {"iteration": 7}]
    assert drawn([record(seed=0, curve=curve(0.5)), record(seed=1, curve=apart)]) == []


def test_a_map_where_there_are_two_models(record, score):
    plain = {"kind": "estimator", "protocol": None, "augmentation": None}
    scores = [score([0.875]), score([0.5], model="knn", **plain)]
    (picture,) = drawn([record(scores=scores)])
    assert (picture.kind, picture.caption) == (
        "map",
        "Accuracy over models: digits, protocol m3d, ipc 1.",
    )
    assert picture.alt == f"{picture.caption} M3D on convnet, knn, as in the table."
    assert {"convnet", "knn", "87.5", "50.0"} <= set(words(picture))


def test_failed_cells_are_not_drawn(record, fail):
    assert drawn([record(ipc=1), fail(record(ipc=2))]) == []


@pytest.mark.parametrize("name", [r"$\frac{$", "<b>x</b>", "a & b", "_hidden"])
def test_any_name_can_be_drawn(record, name):
    (picture,) = drawn([record(name, name, ipc=ipc) for ipc in (1, 2)])
    assert picture.caption == f"Accuracy against ipc: {name}, convnet, protocol m3d."
    assert words(picture)


def test_the_same_cells_give_the_same_bytes_and_leave_matplotlib_as_it_was(record):
    before = dict(matplotlib.rcParams)
    cells = [record(ipc=ipc) for ipc in (1, 2)]
    assert drawn(cells) == drawn(cells)
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_nothing_is_drawn(record, monkeypatch):
    monkeypatch.setattr("m3d_sklearn.report._pictures.find_spec", lambda name: None)
    assert drawn([record(ipc=ipc) for ipc in (1, 2)]) == []
