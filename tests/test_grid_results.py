"""The table of a grid's records."""

import json

import grid_results
import pytest
from grids import images, quick, table

from m3d_sklearn.benchmark import ResultsFolder


def test_a_row_a_method_ipc_and_data_set(tmp_path, monkeypatch, capsys):
    quick(["random"], [table("a"), table("b")], [1, 2], models="knn", out=tmp_path / "out")
    records = ResultsFolder(tmp_path / "out").records()
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr("sys.argv", ["grid_results.py", "--records", str(file)])
    grid_results.main()
    rows = [line.split(" | ")[:4] for line in capsys.readouterr().out.splitlines()[2:]]
    kinds = {
        (name, ipc): 100 * record["scores"][0]["accuracy"]
        for record in records
        for name, ipc in [(record["spec"]["dataset"], record["spec"]["ipc"])]
    }
    wanted = [[f"| {n}", f"{i}", "Random", f"{value:.1f}"] for (n, i), value in kinds.items()]
    assert rows == wanted


def test_records_without_their_sets_have_no_images(tmp_path, monkeypatch):
    quick(["random", "herding"], images(), [1, 2], models="knn", out=tmp_path / "out")
    monkeypatch.setattr(grid_results, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    folder = ResultsFolder(tmp_path / "out")
    for record in folder.records():
        if record["spec"]["method"] == "Random":
            (folder.cells / f"{record['name']}.npz").unlink()
    assert len(grid_results.pictures(folder, "some")) == 2
    for path in folder.cells.glob("*.npz"):
        path.unlink()
    (path,) = grid_results.pictures(folder, "none")
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("words", [[], ["folder"], ["folder", "--name", "x", "--records", "y"]])
def test_a_folder_with_a_name_or_records(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["grid_results.py", *words])
    with pytest.raises(SystemExit):
        grid_results.main()
    assert "give FOLDER and --name, or --records" in capsys.readouterr().err
