import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
from grids import Told, grid_of, images, linear, photos, saved, table
from sklearn.neighbors import KNeighborsClassifier

from m3d_sklearn import Herding, KCenter, KMeansCenters, M3DCondenser, Random
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.cli import main
from m3d_sklearn.datasets import load


@pytest.fixture
def data(tmp_path):
    return str(saved(table(), tmp_path))


def typed(command, folder):
    """The command's words after ``python -m m3d_sklearn``, with a folder to write to."""
    python, m, package, *words = shlex.split(command)
    assert (python, m, package) == ("python", "-m", "m3d_sklearn")
    assert words[-2:] == ["--out", "FOLDER"]
    return [*words[:-1], str(folder)]


@pytest.fixture
def cells_of(monkeypatch, tmp_path):
    """The cells that a command would run."""

    def laid_out(command):
        found = []
        monkeypatch.setattr(Grid, "run", lambda self, *_, **__: found.extend(self.cells))
        assert main(typed(command, tmp_path / "none")) == 0
        return found

    return laid_out


def quick_m3d(**params):
    return M3DCondenser(max_iter=3, **params)


CASES = {
    "names": {"methods": ["random", "herding", "kcenter", "kmeans", "m3d"]},
    "defaults": {"n_networks": 2, "max_steps": 1000, "device": "auto", "references": ("kmeans",)},
    "words": {"methods": quick_m3d(kernel="linear", optimizer="sgd", init="noise")},
    "nothing": {"methods": quick_m3d(augmentation=None, channel_axis=None)},
    "numbers": {"methods": quick_m3d(learning_rate=0.125, max_time=1e9, tol=1e-05, batch_real=7)},
    "a number as auto": {"methods": M3DCondenser(max_iter=3, learning_rate=1e-08)},
    "truth": {"methods": quick_m3d(verbose=True)},
    "lists": {"methods": quick_m3d(bandwidth=[0.5, 2.0])},
    "pairs": {"methods": quick_m3d(image_shape=(2, 2))},
    "lists of words": {"methods": quick_m3d(image_shape=(2, 2), augmentation=["flip", "crop"])},
    "members": {"methods": quick_m3d(image_shape=(2, 2), augmentation=["flip", ("crop", "scale")])},
    "selectors": {"methods": [Herding(features="mlp", feature_epochs=2), KCenter(features="mlp")]},
    "centres": {"methods": KMeansCenters(n_init=1)},
    "random rows": {"methods": Random(image_shape=(2, 2))},
    "device of its own": {"methods": Random(device="cpu")},
    "start": {"methods": quick_m3d(kernel="linear"), "references": ("start",)},
    "start by name": {"methods": "m3d-start"},
    "whole": {"references": ("whole",)},
    "whole by name": {"methods": "whole"},
    "labels": {"methods": {"Random": "random", "M3D": quick_m3d()}},
    "seeds": {"seeds": [0, 7]},
    "ipc": {"ipc": [1, 2]},
    "curve": {"methods": quick_m3d(), "curve": [1, 3]},
    "models": {"models": ["auto", "mlp", "knn", "svm", "logistic"]},
    "transfer": {"models": "transfer"},
    "dc": {"protocols": ["dc", "m3d"]},
    "epochs": {"max_steps": None},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_command_is_its_cell_and_no_other(settings, data, cells_of):
    for cell in grid_of(**{"datasets": data} | settings).cells:
        (again,) = cells_of(cell.command)
        assert again.key == cell.key
        assert again.spec == cell.spec
        # A list and a tuple inside it have one key, and act differently.
        one, other = (getattr(c.condenser, "augmentation", None) for c in (cell, again))
        assert one == other


def test_a_command_of_robust_scores_has_its_cell(data, cells_of):
    for cell in grid_of("herding", data, robust=True).cells:
        assert cell.key in [again.key for again in cells_of(cell.command)]


@pytest.mark.parametrize(
    "settings",
    [
        {"methods": quick_m3d(kernel="linear"), "references": ("start",), "curve": [2]},
        {"methods": "herding", "robust": True, "protocols": "dc"},
        {"methods": "random", "models": ["knn", "mlp"]},
    ],
    ids=["m3d", "robust", "models"],
)
def test_a_command_makes_the_record_of_its_cell(settings, data, tmp_path, capsys):
    for number, cell in enumerate(grid_of(**{"datasets": data} | settings).cells):
        folder = tmp_path / f"again {number}"
        assert main([*typed(cell.command, folder), "--quiet"]) == 0
        record = ResultsFolder(folder).find(cell)
        assert (record["status"], record["key"]) == ("done", cell.key)
        assert record["command"] == cell.command


@pytest.mark.parametrize("label", ["plain", "with space", "it's", "a;b", "a$HOME"])
def test_any_folder_can_be_typed(label, tmp_path, cells_of):
    path = saved(table(label), tmp_path)
    for datasets in (str(path), path, [path]):
        (cell,) = grid_of("random", datasets).cells
        (again,) = cells_of(cell.command)
        assert again.key == cell.key


def test_a_comma_in_a_path_is_no_second_data_set(tmp_path, cells_of):
    (cell,) = grid_of("random", saved(table("a,b"), tmp_path)).cells
    if cell.command is not None:
        (again,) = cells_of(cell.command)
        assert again.key == cell.key


def test_of_several_data_sets_each_has_its_own(tmp_path, cells_of):
    paths = [saved(table("one"), tmp_path), str(saved(images("two"), tmp_path))]
    for cell in grid_of("random", [*paths, "digits"]).cells:
        (again,) = cells_of(cell.command)
        assert (again.dataset, again.key) == (cell.dataset, cell.key)


def test_the_folder_of_the_data_is_in_the_command(tmp_path, cells_of):
    saved(images("mnist"), tmp_path)
    (cell,) = grid_of("random", "mnist", root=tmp_path).cells
    (again,) = cells_of(cell.command)
    assert again.key == cell.key


def test_the_size_of_images_is_in_the_command(tmp_path, cells_of):
    given = [photos(tmp_path), "digits"]
    for cell in grid_of("random", given, image_size=12).cells:
        (again,) = cells_of(cell.command)
        assert again.key == cell.key


def test_a_device_may_be_an_object(data, cells_of):
    (cell,) = grid_of("random", data, device=torch.device("cpu")).cells
    (again,) = cells_of(cell.command)
    assert again.key == cell.key


@pytest.mark.parametrize(
    "settings",
    [
        {"methods": {"mine": Random()}},
        {"methods": Told()},
        {"methods": {"M3D": Random()}},
        {"methods": {"Random": M3DCondenser(max_iter=3)}},
        {"methods": M3DCondenser(kernel=torch.cdist)},
        {"methods": M3DCondenser(network=partial(linear, width=8))},
        {"methods": M3DCondenser(device=torch.device("cpu"))},
        {"models": {"mine": "mlp"}},
        {"models": {"convnet": "mlp"}},
        {"models": {"knn": KNeighborsClassifier(3)}},
        {"models": {"auto": linear}},
    ],
    ids=[
        *("label", "class", "taken label", "taken label 2", "function", "factory", "device"),
        *("model's label", "another network", "another classifier", "a factory"),
    ],
)
def test_what_cannot_be_typed_has_no_command(settings, data):
    (cell,) = grid_of(**{"datasets": data} | settings).cells
    assert cell.command is None


@pytest.mark.parametrize(
    "methods", [{"everything": "whole"}, {"M3D start": M3DCondenser(max_iter=10)}]
)
def test_a_label_of_ones_own_is_typed_right_or_not_at_all(methods, data, cells_of):
    (cell,) = grid_of(methods, data).cells
    if cell.command is not None:
        (again,) = cells_of(cell.command)
        assert again.key == cell.key


@pytest.mark.parametrize(
    "datasets",
    [
        lambda: table(),
        lambda: [table()],
        lambda: {"table": tuple(table())},
        lambda: {"digits": load("digits")},
        lambda: {"mine": "digits"},
    ],
)
def test_data_from_python_have_no_command(datasets):
    assert [cell.command for cell in grid_of("random", datasets()).cells] == [None]


def test_a_name_under_its_own_label_can_be_typed(cells_of):
    (cell,) = grid_of("random", {"digits": "digits"}).cells
    (again,) = cells_of(cell.command)
    assert again.key == cell.key


def test_the_command_of_a_record_does_not_name_its_folder(data, tmp_path, capsys):
    arguments = ["--datasets", data, "--methods", "random", "--ipc", "1", "--seeds", "1"]
    more = ["--references", "none", "--models", "knn", "--out", str(tmp_path / "out"), "--quiet"]
    assert main(["compare", *arguments, *more]) == 0
    (record,) = ResultsFolder(tmp_path / "out").records()
    assert record["command"].endswith("--out FOLDER")
    assert Path(record["command"].split("--datasets ")[1].split()[0]) == Path(data)
