"""The table of a grid for a budget of time."""

import json

import budget


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
