import errno
import os
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from grids import images, photos, saved, table
from PIL import Image

from m3d_sklearn import CondensedSet, Herding, M3DCondenser
from m3d_sklearn.cli import main


@pytest.fixture
def condense(tmp_path):
    def run(data, *more, out="set.npz", quiet=True):
        words = ["condense", data, "--ipc", "2", "--out", tmp_path / out, *more]
        try:
            return main([str(word) for word in (*words, *(["--quiet"] if quiet else []))])
        except SystemExit as end:
            return end.code

    return run


QUICK = ["--set", "max_iter=3"]


@pytest.mark.parametrize(
    "data", [table(), images(), images("colour", 3)], ids=["table", "grey", "colour"]
)
def test_a_set_and_a_sheet_are_written(data, condense, tmp_path, capsys, globals_untouched):
    assert condense(saved(data, tmp_path), *QUICK) == 0
    found = CondensedSet.load(tmp_path / "set.npz")
    expected = M3DCondenser(2, max_iter=3, random_state=0).fit(data.X_train, data.y_train)
    np.testing.assert_array_equal(found.X, expected.condensed_.X)
    with Image.open(tmp_path / "set.png") as sheet:
        assert min(sheet.size) > 50
    said = capsys.readouterr()
    assert re.match(rf"60 rows of {data.name} condensed to 6 in \d+\.\d s: ", said.out)
    assert (said.out.count("\n"), said.err) == (1, "")


def test_method_seed_and_place_of_the_sheet(condense, tmp_path):
    data, sheet = images(), tmp_path / "deep" / "sheet.png"
    path = saved(data, tmp_path)
    more = ["--method", "herding", "--seed", "3", "--sheet", sheet]
    assert condense(path, *more, out="new/folder/mine") == 0
    found = CondensedSet.load(tmp_path / "new" / "folder" / "mine.npz")
    expected = Herding(2).fit(data.X_train, data.y_train).condensed_
    np.testing.assert_array_equal(found.X, expected.X)
    assert (found.method, found.random_state) == ("Herding", 3)
    assert sheet.is_file()


@pytest.mark.parametrize("method", ["random", "herding", "kcenter", "kmeans"])
def test_every_method(method, condense, tmp_path):
    assert condense(saved(table(), tmp_path), "--method", method, quiet=False) == 0
    assert len(CondensedSet.load(tmp_path / "set.npz")) == 6


def test_a_bar_is_shown_unless_quiet(condense, tmp_path, capsys):
    assert condense(saved(table(), tmp_path), *QUICK, quiet=False) == 0
    assert "3/3" in capsys.readouterr().err


def test_a_folder_of_images(condense, tmp_path, capsys):
    folder = photos(tmp_path)
    assert condense(folder, "--image-size", "8", "--method", "random") == 0
    assert CondensedSet.load(tmp_path / "set.npz").X.shape == (4, 8, 8, 3)
    assert "rows of photos" in capsys.readouterr().out
    assert condense(folder, "--method", "random") == 2
    assert "--image-size must be given where images differ in size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--ipc", "0"], "ipc"),
        (["--ipc", "a"], "--ipc"),
        (["--method", "best"], "--method"),
        (["--set", "best=3"], "--set must name parameters of m3d.*got 'best'"),
        (["--set", "max_iter"], "NAME=VALUE"),
        (["--set", "max_iter=-1"], "max_iter.*-1"),
        (["--set", "kernel=best"], "kernel.*best"),
        (["--seed", "-1"], "random_state.*-1"),
        (["--device", "best"], "device.*best"),
        (["--image-size", "8"], "--image-size must be None .*got --image-size=8"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(more, said, condense, tmp_path, capsys):
    assert condense(saved(images(), tmp_path), *QUICK, *more) == 2
    found = capsys.readouterr().err
    assert re.search(said, found)
    assert "Traceback" not in found
    assert found.count("\n") == 1, found
    assert not (tmp_path / "set.npz").exists()


@pytest.mark.parametrize("name", ["none.npz", "none/", "empty", "best"])
def test_data_that_are_not_there_are_named(name, condense, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert condense(name) == 2
    found = capsys.readouterr().err
    assert name.rstrip("/") in found
    assert found.count("\n") == 1


@pytest.fixture
def no_fit(monkeypatch):
    """A fit may take hours: nothing that can be known before it is found after it."""

    def began(*args):
        raise AssertionError("the fit began")

    monkeypatch.setattr(Herding, "_condense", began)


def denied(**how):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize(
    ("flag", "place", "said"),
    [
        ("--out", "file/set.npz", "--out must be in a folder that can be written; got .*file"),
        ("--sheet", "file/set.png", "--sheet must be in a folder that can be written; got .*file"),
        ("--out", "folder", "--out must be the name of a file to write; got the folder .*folder"),
        ("--out", "folder.npz", "--out must be the name of a file to write; got the folder"),
        ("--sheet", "folder", "--sheet must be the name of a file to write; got the folder"),
        ("--out", "closed/set.npz", "--out must be in a folder that can be written; got .*closed"),
        ("--sheet", "y.txt", r"--sheet must end in one of .*\.png.*; got .*y.txt"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(
    flag, place, said, condense, tmp_path, capsys, no_fit, monkeypatch
):
    (tmp_path / "file").write_text("mine")
    for folder in ("folder", "folder.npz", "closed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "closed").chmod(0o555)
    if "closed" in place and os.access(tmp_path / "closed", os.W_OK):  # to root every folder is
        monkeypatch.setattr("tempfile.TemporaryFile", denied)
    more = ["--method", "herding", flag, tmp_path / place]
    assert condense(saved(table(), tmp_path), *more) == 2
    found = capsys.readouterr().err
    assert re.search(said, found), found
    assert found.count("\n") == 1


def test_a_sheet_without_an_ending_is_a_png(condense, tmp_path, capsys):
    more = ["--method", "random", "--sheet", tmp_path / "sheet"]
    assert condense(saved(table(), tmp_path), *more) == 0
    assert (tmp_path / "sheet.png").is_file()
    assert "sheet.png" in capsys.readouterr().out


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_without_matplotlib_the_set_is_written_alone(condense, tmp_path, capsys, no_matplotlib):
    assert condense(saved(table(), tmp_path), "--method", "random") == 0
    assert len(CondensedSet.load(tmp_path / "set.npz")) == 6
    said = capsys.readouterr()
    assert "no picture, as matplotlib is not installed" in said.out
    assert (said.out.count("\n"), said.err) == (1, "")


def test_without_matplotlib_a_sheet_is_refused(condense, tmp_path, capsys, no_matplotlib, no_fit):
    more = ["--method", "herding", "--sheet", tmp_path / "sheet.png"]
    assert condense(saved(table(), tmp_path), *more) == 2
    assert "--sheet needs matplotlib: pip install matplotlib" in capsys.readouterr().err


def test_the_picture_of_a_table_is_as_wide_as_its_columns(condense, tmp_path):
    condense(saved(table(), tmp_path), "--method", "random", out="narrow")
    data = table()
    X_train, X_test = (np.repeat(X, 12, 1) for X in (data.X_train, data.X_test))
    (tmp_path / "wide").mkdir()
    wide = saved(replace(data, X_train=X_train, X_test=X_test), tmp_path / "wide")
    condense(wide, "--method", "random", out="broad")
    with Image.open(tmp_path / "narrow.png") as narrow, Image.open(tmp_path / "broad.png") as broad:
        assert broad.width > 1.5 * narrow.width
        assert abs(broad.height - narrow.height) < 0.5 * narrow.height


def test_a_set_that_was_there_stays_whole_until_the_new_one_is(condense, tmp_path):
    path = saved(table(), tmp_path)
    condense(path, *QUICK)
    before = (tmp_path / "set.npz").read_bytes()
    assert condense(path, "--set", "max_iter=-1") == 2
    assert (tmp_path / "set.npz").read_bytes() == before
