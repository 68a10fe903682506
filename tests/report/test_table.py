from statistics import stdev

import pytest

from m3d_sklearn.report._table import differences, lines


def table(records):
    return lines(records)


def test_means_over_seeds_and_networks_by_hand(record, score):
    first = record(seed=0, scores=[score([0.90, 0.94])], mmd=0.10, fit={"seconds": 1.0})
    second = record(seed=1, scores=[score([0.80, 0.84])], mmd=0.30, fit={"seconds": 4.0})
    (line,) = table([first, second])
    assert line.accuracy == pytest.approx(0.87)
    # Deviations ±0.03 and ±0.07: sqrt((2·0.0009 + 2·0.0049) / 3).
    assert line.std == pytest.approx((0.0116 / 3) ** 0.5)
    assert (line.n_seeds, line.n_runs, line.runs) == (2, 4, "2 × 2")
    assert line.fit_seconds == pytest.approx(2.5)
    assert line.mmd == pytest.approx(0.2)
    assert (line.nbytes, line.fit_peak_mb, line.epochs, line.width) == (1536, 50.0, 1000, 128)


def test_one_run_has_no_deviation(record, score):
    (line,) = table([record(scores=[score([0.5])])])
    assert (line.accuracy, line.std, line.runs) == (0.5, None, "1 × 1")


def test_seeds_with_other_numbers_of_networks_are_counted_apart(record, score):
    cells = [record(seed=0, scores=[score([0.5])]), record(seed=1, scores=[score([0.7, 0.9])])]
    (line,) = table(cells)
    assert line.runs == "2 (3)"
    assert line.accuracy == pytest.approx(0.7)
    assert line.std == pytest.approx(stdev([0.5, 0.7, 0.9]))


def test_a_line_a_model_protocol_and_augmentation(record, score):
    scores = [
        score([0.5, 0.6]),
        score([0.5, 0.6], protocol="dc"),
        score([0.4, 0.5], augmentation="none"),
        score([0.7], model="knn", kind="estimator", protocol=None, augmentation=None),
    ]
    found = [
        (line.model, line.protocol, line.augmentation) for line in table([record(scores=scores)])
    ]
    assert found == [
        ("convnet", "dc", "auto"),
        ("convnet", "m3d", "auto"),
        ("convnet", "m3d", "none"),
        ("knn", None, None),
    ]


def test_lines_stand_by_ipc_and_then_from_the_plainest_method_to_ones_own(record):
    methods = ["mine", "M3D", "Random", "M3D start", "Herding", "k-means", "KCenter"]
    cells = [record(method=method, ipc=ipc) for ipc in (10, 2) for method in methods]
    cells.append(record(method="whole set", ipc=None))
    order = ["Random", "Herding", "KCenter", "k-means", "M3D start", "M3D", "mine"]
    expected = [(ipc, method) for ipc in (2, 10) for method in order] + [(None, "whole set")]
    assert [(line.ipc, line.method) for line in table(cells)] == expected


def test_failed_cells_have_no_line(record, fail):
    assert table([fail(record())]) == []


def test_the_best_of_each_comparison_is_marked(record, score):
    def cell(method, ipc, m3d, dc):
        scores = [score([m3d]), score([dc], protocol="dc")]
        return record(method=method, ipc=ipc, scores=scores)

    cells = [cell("Random", 1, 0.5, 0.6), cell("M3D", 1, 0.7, 0.6), cell("M3D", 10, 0.9, 0.9)]
    best = {(li.ipc, li.method, li.protocol) for li in table(cells) if li.best}
    # One alone (ipc 10) is no best; two that are equal both are.
    assert best == {(1, "M3D", "m3d"), (1, "Random", "dc"), (1, "M3D", "dc")}


def test_cells_of_other_settings_are_not_averaged(record, score):
    long = record(seed=0, params={"max_iter": 300}, scores=[score([0.9])])
    short = record(seed=1, params={"max_iter": 5}, scores=[score([0.5])])
    random = record(method="Random", scores=[score([0.6])])
    found = {line.label: line.accuracy for line in table([long, short, random])}
    assert found == {"M3D (max_iter=300)": 0.9, "M3D (max_iter=5)": 0.5, "Random": 0.6}


def test_seed_ipc_device_and_verbosity_are_no_settings(record):
    cells = [
        record(seed=seed, ipc=seed + 1, params={"device": f"gpu:{seed}", "verbose": seed})
        for seed in (0, 1)
    ]
    assert set(differences(cells).values()) == {""}


@pytest.mark.parametrize("name", ["steps", "device", "version", "fingerprint", "estimator"])
def test_what_a_cell_was_made_with_sets_it_apart(record, name):
    cells = [record(seed=seed, spec={name: f"v{seed}"}) for seed in (0, 1)]
    assert list(differences(cells).values()) == [f"{name}=v0", f"{name}=v1"]


def test_long_settings_are_cut_and_lists_are_shown(record):
    cells = [
        record(seed=0, params={"augmentation": ["color", "crop"]}),
        record(seed=1, params={"augmentation": "x" * 100}),
    ]
    told = differences(cells)
    assert told[cells[0]["name"]] == 'augmentation=["color", "crop"]'
    assert told[cells[1]["name"]] == "augmentation=" + "x" * 40


def test_the_poster_stands_beside_what_it_measured(record, score):
    about = {"n_train": 60_000, "shape": [28, 28], "class_names": list("0123456789")}
    mnist = {"dataset": "mnist", "ipc": 10, "data": about}
    cells = [
        record(**mnist, scores=[score([0.9], epochs=400), score([0.9], protocol="dc")]),
        record(**mnist, method="KCenter", params={"features": "pixels"}),
        record(**mnist, method="mine"),
    ]
    found = {(line.method, line.protocol): line.poster for line in table(cells)}
    assert found["M3D", "m3d"].accuracy == 97.6
    assert found["M3D", "m3d"].caveats == ("fewer epochs",)
    assert found["M3D", "dc"].caveats == ("other protocol",)
    assert found["KCenter", "m3d"].caveats == ("other protocol", "on pixels")
    assert found["mine", "m3d"] is None
