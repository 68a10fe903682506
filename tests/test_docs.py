"""Code blocks of the documents run, and the interface's tables agree with the signatures."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import m3d_sklearn
from m3d_sklearn import M3DCondenser, classifier
from m3d_sklearn.benchmark import compare
from m3d_sklearn.callbacks import AccuracyCurve
from m3d_sklearn.datasets import load

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_DOCUMENT = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
INTERFACE = (ROOT / "docs" / "interface.md").read_text("utf-8")


def name_of(path: Path) -> str:
    return path.name


def blocks(path: Path) -> list[tuple[int, str]]:
    """Python blocks of a document, each with the number of its first line."""
    text = path.read_text("utf-8")
    return [
        (text.count("\n", 0, match.start(1)), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def test_blocks_are_found():
    assert len(blocks(ROOT / "README.md")) == 1
    assert len(blocks(ROOT / "docs" / "user_guide.md")) > 15


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p)], ids=name_of)
def test_code_runs(path, tmp_path, monkeypatch):
    """From top to bottom in one session; where iterations are left to a default, there are few."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setitem(M3DCondenser.__init__.__kwdefaults__, "max_iter", 3)
    monkeypatch.setattr(classifier, "default_epochs", lambda *given: 3)
    session = {"__name__": "__main__"}
    for line, block in blocks(path):
        exec(compile("\n" * line + block, path, "exec"), session)


def section(name: str) -> str:
    """What stands under the heading that holds `name`, up to the next heading."""
    found = re.search(rf"^## (?:.* and )?{name}\b.*?$(.*?)(?=^## |\Z)", INTERFACE, re.M | re.S)
    assert found, f"docs/interface.md has no section {name}"
    return found[1]


def rows(text: str, header: str) -> list[list[str]]:
    """Cells of every table whose first column has this header."""
    tables = re.findall(rf"^\| {header} \|.*\n\|[ \-|:]+\n((?:\|.*\n?)*)", text, re.M)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for table in tables
        for line in table.splitlines()
    ]


DOCUMENTED = ["Herding" if name == "KCenter" else name for name in m3d_sklearn.__all__]
CALLABLES = [n for n in DOCUMENTED if n not in ("__version__", "CondensedSet", "Evaluation")]


OTHERS = {"compare": compare, "load": load, "AccuracyCurve": AccuracyCurve}


@pytest.mark.parametrize("name", sorted({*CALLABLES, *OTHERS}))
def test_interface_has_every_parameter_and_its_default(name):
    signature = inspect.signature(OTHERS.get(name) or getattr(m3d_sklearn, name))
    expected = {
        parameter.name: "required"
        if parameter.default is parameter.empty
        else repr(parameter.default).replace("'", '"')
        for parameter in signature.parameters.values()
    }
    table = rows(section(name), "Parameter")
    assert {row[0].strip("`"): row[1].strip("`") for row in table} == expected
    assert all(row[3] for row in table)


def test_selectors_share_one_table():
    herding, k_center = map(inspect.signature, (m3d_sklearn.Herding, m3d_sklearn.KCenter))
    assert str(herding.parameters) == str(k_center.parameters)


@pytest.mark.parametrize(
    "name", sorted(set(DOCUMENTED) - {"__version__", "distributed", "evaluate"})
)
def test_interface_has_every_attribute(name):
    cls = getattr(m3d_sklearn, name)
    documented = re.search(
        r"Attributes\n-{10}\n(.*?)(?=\n\w[\w ]*\n-{3,}|\Z)", inspect.getdoc(cls), re.S
    )[1]
    heads = re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", documented, re.M)
    expected = {name for head in heads for name in head.split(", ")}
    common = section("What condensers and selectors share") if hasattr(cls, "transform") else ""
    table = rows(section(name) + common, "Attribute")
    assert {row[0].strip("`") for row in table} == expected


def test_interface_names_everything_public():
    for name in m3d_sklearn.__all__:
        assert f"`{name}`" in INTERFACE


@pytest.mark.parametrize("path", EVERY_DOCUMENT, ids=name_of)
def test_links_lead_somewhere(path):
    def anchors(document: Path) -> set[str]:
        headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}

    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        document = path.parent / file if file else path
        assert document.exists(), target
        assert not anchor or anchor in anchors(document), target
