import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from common import digits, iris

from m3d_sklearn import Herding
from m3d_sklearn.report import write_report
from m3d_sklearn.report._page import _number

NASTY = "<b>x</b></script><script>alert(1)</script>'\"&<!--"


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, its text, its scripts."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags, self.texts, self.inside = [], [], []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_data(self, data):
        self.texts.append((self.inside[-1] if self.inside else None, data))

    def text(self):
        spoken = (data for tag, data in self.texts if tag not in ("script", "style"))
        return re.sub(r"\s+", " ", " ".join(spoken))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(path):
    return Page(path)


def test_sections_and_their_heading(page):
    headings = re.findall(r"<h[12]>(.*?)</h[12]>", page.source)
    assert headings == [
        "Condensed sets of digits, iris, mnist",
        "Accuracy",
        "Pictures",
        "Condensed images",
        "Failed cells",
        "Versions, hardware and commands",
    ]
    assert "26 done, 1 failed" in page.text().replace(" ,", ",")
    assert "60 training rows, grey images of 8×8, 3 classes" in page.text()
    assert "2026-11-22 18:00 UTC" in page.text()


def test_links_within_the_page_lead_somewhere(page):
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    inner = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
    assert inner
    assert inner <= ids


def test_nothing_is_loaded(page):
    loading = ("src", "srcset", "href", "action", "data", "poster", "xlink:href")
    for tag, attrs in page.tags:
        for name in set(loading) & attrs.keys():
            allowed = ("#", "https://arxiv.org/") if tag == "a" else ("data:",)
            assert attrs[name].startswith(allowed), (tag, attrs[name][:80])
    assert not any("src" in attrs for attrs in page.all("script"))
    style = re.search(r"<style>(.*?)</style>", page.source, re.S)[1]
    assert not re.search(r"url\(|@import|https?:", style)
    assert re.findall(r"https?://[^\"\s<]*", page.source) == ["https://arxiv.org/abs/2312.15927"]


def test_pictures_load_nothing_either(page):
    uris = [image["src"] for image in page.all("img") if "svg" in image["src"][:30]]
    assert len(uris) > 3
    for uri in uris:
        svg = base64.b64decode(uri.partition(",")[2]).decode()
        assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="(.*?)"', svg))
        assert "<script" not in svg


def test_the_policy_of_the_page_allows_its_own_script_and_style_alone(page):
    (policy,) = (m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for _, a in page.tags for name in a)


def test_every_picture_has_words_in_its_place(page):
    assert all(image["alt"] for image in page.all("img"))


def test_numbers_of_a_line(page):
    row = re.search(r'<tr[^>]* data-dataset="mnist".*?</tr>', page.source, re.S)[0]
    cells = [re.sub(r"<[^>]*>|\s+", " ", c).strip() for c in re.findall(r"<td.*?</td>", row, re.S)]
    caveats = "64.9 ± 3.5 other pixels, other rows, fewer epochs"
    shown = ["mnist", "1", "Random", "58.0 ± 0.8", caveats, "convnet", "dc", "2 × 2"]
    assert [re.sub(r"\s+", " ", cell) for cell in cells[:8]] == shown
    assert cells[8:] == ["0.0900", "50.0", "1.54", "0.0800"]


def test_figures_that_do_not_compare_are_grey_and_told_about(page):
    assert page.source.count("poster apart") == 6
    assert "other pixels the images here are a compressed or resized copy." in page.text()
    assert "other width" not in page.text()


def test_failed_cells_and_commands(page):
    text = page.text()
    assert "digits-KCenter-ipc4-seed0: ValueError: it broke" in text
    assert "Traceback ValueError: it broke" in text
    assert text.count("from Python") == 1
    assert len(page.all("code")) == 26
    assert "A processor of 2" in text


def test_the_page_stays_small(path):
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00"),
        (0.08, "0.0800"),
        (0.0000012, "0.000001"),
        (3.14159, "3.14"),
        (31.4159, "31.4"),
        (9.999, "10.00"),
        (1052.8, "1,053"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value, shown):
    assert _number(value) == shown


# Names and messages from outside


@pytest.fixture
def nasty(record, fail, cells, tmp_path):
    X, y = digits()
    names = np.array([NASTY, "</script>", "c"])
    condensed = Herding(ipc=1).fit(X, names[y]).condensed_
    good = [
        record(NASTY, NASTY, ipc=i, name=f"cell{i}", command=NASTY, params={"lr": NASTY * i})
        for i in (1, 2)
    ]
    broken = fail(record("a", NASTY, name=f"bad {NASTY}".replace("/", "")), NASTY, NASTY)
    folder = cells(tmp_path / "nasty", [(good[0], condensed), (good[1], condensed), (broken, None)])
    return Page(write_report(folder, tmp_path / "nasty.html", title=NASTY))


def test_names_from_outside_are_text(nasty):
    tags = {tag for tag, _ in nasty.tags}
    assert "b" not in tags
    assert len(nasty.all("script")) == 2
    assert "alert(1)</script>" not in nasty.source
    assert "<!--" not in nasty.source
    assert NASTY in nasty.text()


def test_names_in_the_data_of_the_script_come_back_as_they_were(nasty):
    data = re.search(r'<script type="application/json" id="albums">(.*?)</script>', nasty.source)[1]
    album = json.loads(data)[0]
    assert (album["dataset"], album["method"]) == (NASTY, NASTY)
    assert set(album["classes"]) == {NASTY, "</script>", "c"}


# What is written, and when


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_report(tmp_path / "nowhere", tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_cells_is_named_with_what_is_wanted(tmp_path):
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))} holds no cell.*cells/"):
        write_report(tmp_path, tmp_path / "x.html")


def test_a_folder_is_no_file_to_write(results, tmp_path):
    with pytest.raises(ValueError, match="out must be the name of a file to write; got the folder"):
        write_report(results, tmp_path)


def test_an_earlier_page_stays_until_the_new_one_is_whole(record, cells, tmp_path, monkeypatch):
    folder = cells(tmp_path / "r", [(record(), None)])
    out = tmp_path / "made" / "x.html"
    assert write_report(str(folder), str(out), title="first") == out
    earlier = out.read_text("utf-8")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(folder, out, title="second")
    assert out.read_text("utf-8") == earlier
    assert list(out.parent.iterdir()) == [out]
    monkeypatch.undo()
    write_report(folder, out, title="second")
    assert "<h1>second</h1>" in out.read_text("utf-8")


def test_failed_cells_alone_make_a_page_without_a_table(record, fail, cells, tmp_path):
    folder = cells(tmp_path / "r", [(fail(record()), None)])
    page = Page(write_report(folder, tmp_path / "x.html"))
    assert page.all("table") == []
    assert "it broke" in page.text()


def test_cells_without_their_sets_make_a_page(record, cells, tmp_path):
    folder = cells(tmp_path / "r", [(record(), None)])
    text = Page(write_report(folder, tmp_path / "x.html")).text()
    assert "digits, M3D, ipc 1 (its condensed set is not in the folder)." in text


def test_augmentation_has_a_column_where_there_are_several(record, score, cells, tmp_path):
    scores = [score([0.9]), score([0.8], augmentation="none")]
    both = cells(tmp_path / "both", [(record(scores=scores), None)])
    one = cells(tmp_path / "one", [(record(scores=scores[:1]), None)])
    assert "Augmentation" in Page(write_report(both, tmp_path / "x.html")).text()
    assert "Augmentation" not in Page(write_report(one, tmp_path / "x.html")).text()


def test_images_that_found_no_room_are_told_about(record, cells, tmp_path, monkeypatch):
    monkeypatch.setattr("m3d_sklearn.report._images.MOST_IMAGES", 2)
    condensed = Herding(ipc=4).fit(*digits()).condensed_
    folder = cells(tmp_path / "r", [(record(ipc=4), condensed)])
    assert "6 stored images are left out" in Page(write_report(folder, tmp_path / "x.html")).text()


def test_robust_scores_stand_where_the_grid_was_run_for_them(tmp_path, record, score, cells):
    def both(method, ipc, augmented, plain):
        scores = [score([augmented]), score([plain], augmentation="none")]
        return record("digits", method, ipc, scores=scores), None

    random, whole = both("Random", 1, 0.5, 0.4), both("whole set", None, 0.9, 0.8)
    folder = cells(tmp_path / "whole", [random, both("M3D", 1, 0.8, 0.6), whole])
    text = Page(write_report(folder, tmp_path / "robust.html")).text()
    # HLR 0.9 − 0.8, IOR 0.8 − 0.5, LRS s(0.1), ARS s(½·0.3 + ½·0.2), s(α) = (e^α − e⁻¹)/(e − e⁻¹)
    assert "digits 1 M3D convnet m3d 0.100 0.300 0.314 0.390" in text
    folder = cells(tmp_path / "part", [random, both("M3D", 1, 0.8, 0.6)])
    assert "Robust scores" not in Page(write_report(folder, tmp_path / "part.html")).text()


def test_tables_alone_have_no_section_of_images(record, cells, tmp_path):
    condensed = Herding(ipc=1).fit(*iris()).condensed_
    folder = cells(tmp_path / "results", [(record("iris", "Herding", 1), condensed)])
    page = Page(write_report(folder, tmp_path / "x.html"))
    assert "Condensed images" not in page.text()
    assert "#images" not in [link["href"] for link in page.all("a")]
