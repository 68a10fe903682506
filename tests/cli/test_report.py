import re

import pytest
from grids import quick

from m3d_sklearn.cli import main


def run(*words):
    try:
        return main([str(word) for word in ("report", *words)])
    except SystemExit as end:
        return end.code


def test_a_folder_becomes_a_page(tmp_path, capsys, globals_untouched):
    quick("random", out=tmp_path / "out", seeds=2, models="knn")
    page = tmp_path / "deep" / "page.html"
    page.parent.mkdir()
    assert run(tmp_path / "out", "--out", page, "--title", "Mine & yours") == 0
    assert re.fullmatch(rf"{re.escape(str(page))} \(\d+ kB\)\n", capsys.readouterr().out)
    assert "Mine &amp; yours" in page.read_text("utf-8")


def test_what_is_no_results_folder_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "none", tmp_path / "file"):
        assert run(path, "--out", tmp_path / "page.html") == 2
        said = capsys.readouterr().err
        assert re.fullmatch(rf"m3d_sklearn: error: .*{path.name}.*\n", said)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("words", [[], ["out"], ["--out", "page.html"]])
def test_both_places_are_needed(words, capsys):
    assert run(*words) == 2
    assert "required" in capsys.readouterr().err
