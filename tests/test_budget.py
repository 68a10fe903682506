"""The table of a grid for a budget of time."""

import json

import budget
import pytest


def record(method, ipc, scores, n_iter=None, status="done"):
    return {
        "spec": {"method": method, "ipc": ipc},
        "status": status,
        "scores": [{"scores": scores}],
        "fit": {"seconds": 12.4, "n_iter": n_iter},
    }


def test_m3d_beside_every_other_method(tmp_path, capsys):
    records = [
        record("M3D", 1, [0.95, 0.97], 1000),
        record("M3D", 1, [0.96, 0.96], 1200),
        record("DM", 1, [0.94, 0.96], 300),
        record("Random", 1, [0.5]),
        record("DM", 1, [0.1, 0.1], 300, status="failed"),
        record("Random", 10, [0.9, 0.9]),
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    budget.main(["--json", str(file)])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 1 | Random | 50.00 | +46.00 | 1 × 1 | – | 12 |",
        # Variances 2/3 of 4 networks and 2 of 2: a standard error of √(1/6 + 1).
        "| 1 | DM | 95.00 ± 1.41 | +1.00 ± 1.08 | 1 × 2 | 300 | 12 |",
        "| 1 | M3D | 96.00 ± 0.82 | – | 2 × 2 | 1,000 to 1,200 | 12 |",
        "| 10 | Random | 90.00 ± 0.00 | – | 1 × 2 | – | 12 |",
    ]


def of(method="M3D", seed=0, **spec):
    about = {"dataset": "mnist", "version": "1", "params": {"factor": 2, "random_state": seed}}
    found = record(method, 1, [0.9, 0.9])
    return found | {"spec": found["spec"] | about | {"seed": seed} | spec}


def test_records_of_one_grid_make_a_table():
    records = [of(), of(seed=1), of("DM", params={"factor": 1})]
    assert len(budget.table(records).splitlines()) == 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (of(dataset="cifar10"), "dataset"),
        (of("DM", version="2"), "DM, M3D differ in version"),
        (of(params={"factor": 1, "random_state": 1}), "M3D differ in params"),
    ],
)
def test_records_that_differ_in_more_than_the_seed_are_refused(other, said):
    with pytest.raises(ValueError, match=said):
        budget.table([of(), other])
