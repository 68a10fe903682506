"""A folder's fits are those of the settings that "auto" comes to now."""

import json

import pytest
from grids import contents, grid_of, images, quick

from m3d_sklearn import DCCondenser, IDMCondenser, M3DCondenser
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.condensers import _settings


@pytest.fixture
def few(monkeypatch):
    """M3D makes few iterations, and another number when asked to."""

    def few(iterations):
        monkeypatch.setattr(_settings, "default_iterations", lambda *_: iterations)

    few(3)
    return few


def iterations_in(folder):
    return [record["fit"]["n_iter"] for record in contents(folder).values()]


def run(out, **settings):
    quick(M3DCondenser(), out=out, models="knn", **settings)
    return contents(out)


def test_other_defaults_are_fitted_anew(few, tmp_path):
    before = run(tmp_path)
    assert run(tmp_path) == before
    few(4)
    after = run(tmp_path)
    assert [record["fit"]["n_iter"] for record in after.values()] == [4]
    assert before.keys() == after.keys()
    assert run(tmp_path) == after


def test_a_fit_without_scores_is_made_anew_too(few, tmp_path):
    grid, folder = grid_of(M3DCondenser(), models="knn"), ResultsFolder(tmp_path)
    grid.run(folder, threads=1, fit_only=True)
    assert grid.unfitted(folder) == []
    few(4)
    assert len(grid.unfitted(folder)) == len(grid.missing(folder)) == 1
    grid.run(folder, threads=1)
    assert iterations_in(tmp_path) == [4]


def test_a_dry_run_counts_what_no_longer_stands(few, tmp_path):
    run(tmp_path)
    grid, folder = grid_of(M3DCondenser(), models="knn"), ResultsFolder(tmp_path)
    assert grid.missing(folder) == []
    few(4)
    assert len(grid.missing(folder)) == 1


def test_what_was_given_does_not_follow_the_defaults(few, tmp_path):
    method = M3DCondenser(max_iter=2)
    quick(method, out=tmp_path, models="knn")
    few(4)
    assert grid_of(method, models="knn").missing(ResultsFolder(tmp_path)) == []


@pytest.mark.parametrize(
    "method",
    [
        M3DCondenser(max_iter=1, preset="paper"),
        DCCondenser(max_iter=1, factor=2),
        IDMCondenser(max_iter=1),
        M3DCondenser(max_iter=1, init="noise", augmentation=None, network="mlp"),
    ],
    ids=lambda method: type(method).__name__,
)
def test_what_agrees_stands(method, tmp_path):
    quick(method, images(channels=3), out=tmp_path, models="knn")
    (record,) = contents(tmp_path).values()
    assert record["status"] == "done", record["error"]
    assert grid_of(method, images(channels=3), models="knn").missing(ResultsFolder(tmp_path)) == []


def test_a_rate_agrees_to_its_last_bits(tmp_path):
    """The statistics that it follows from differ so from processor to processor."""
    method, folder = DCCondenser(max_iter=1, preset="paper"), ResultsFolder(tmp_path)
    quick(method, images(channels=3), out=tmp_path, models="knn")
    (path,) = folder.cells.glob("*.json")
    record = json.loads(path.read_text())
    for factor, missing in ((1 + 1e-12, 0), (1.01, 1)):
        changed = json.loads(json.dumps(record))
        changed["fit"]["params"]["learning_rate"] *= factor
        path.write_text(json.dumps(changed))
        assert len(grid_of(method, images(channels=3), models="knn").missing(folder)) == missing
