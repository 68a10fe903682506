"""benchmarks/soft_labels.py on runs of a moment."""

import soft_labels

from m3d_sklearn import IDMCondenser


def test_both_kinds_of_labels_are_scored_on_the_same_rows(monkeypatch, capsys):
    quick = {"max_iter": 3, "batch_real": 10}
    monkeypatch.setattr(soft_labels, "METHODS", {"quick": (IDMCondenser, quick)})
    monkeypatch.setattr(soft_labels, "NETWORK_STEPS", 5)
    rows = [row for seed in (0, 1) for row in soft_labels.split_rows(1, seed)]
    assert all(0.1 < row["own class"] < 1 for row in rows)
    assert all(row["hard"] != row["soft"] for row in rows)
    soft_labels.show(rows)
    *_, last = capsys.readouterr().out.strip().splitlines()
    assert last.startswith("| 1 | quick | ")
    assert last.count("±") == 4
