"""Who may import whom, and other rules of the house that code can break unseen."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from common import fresh_process

import m3d_sklearn

PACKAGE = Path(m3d_sklearn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
# Packages that the rest never needs, and which of the others each may use.
LEAVES = {
    "m3d_sklearn.datasets": set(),
    "m3d_sklearn.plotting": set(),
    "m3d_sklearn.benchmark": {"m3d_sklearn.datasets"},
    "m3d_sklearn.report": {"m3d_sklearn.benchmark", "m3d_sklearn.plotting"},
    "m3d_sklearn.cli": {
        "m3d_sklearn.benchmark",
        "m3d_sklearn.datasets",
        "m3d_sklearn.plotting",
        "m3d_sklearn.report",
    },
}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


every_file = pytest.mark.parametrize("path", FILES, ids=place)


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """Full names of what is imported: ``from a.b import c`` is "a.b.c"."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports here are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_run_time(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that are executed: ``if TYPE_CHECKING:`` is not."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
        else:
            stack += ast.iter_child_nodes(node)


def when_imported(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that are executed when the module is imported: no function's body is."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    return (node for node in at_run_time(tree) if id(node) not in inside)


def top(name: str) -> str:
    return name.partition(".")[0]


def test_the_rules_see_what_they_look_for():
    tree = ast.parse(
        "if TYPE_CHECKING:\n    import pandas\nelse:\n    import a.b\n"
        "class C:\n    import c\n"
        "def f():\n    from d.e import g\n"
        "try:\n    import h\nexcept E:\n    pass"
    )
    assert imports(ast.walk(tree)) == {"pandas", "a.b", "c", "d.e.g", "h"}
    assert imports(at_run_time(tree)) == {"a.b", "c", "d.e.g", "h"}
    assert imports(when_imported(tree)) == {"a.b", "c", "h"}
    assert len(FILES) > 20
    assert module_of(PACKAGE / "core" / "__init__.py") == "m3d_sklearn.core"


CORE = [path for path in FILES if PACKAGE / "core" in path.parents]


@pytest.mark.parametrize("path", CORE, ids=place)
def test_core_is_numerics_alone(path):
    allowed = set(sys.stdlib_module_names) | {"torch", "torchvision", "numpy"}
    if place(path) == "core/gpu/norm_pool.py":  # which is imported late, on a GPU alone
        allowed |= {"triton"}
    names = imports(ast.walk(TREES[path]))
    others = {name for name in names if top(name) not in allowed}
    assert {name for name in others if not name.startswith("m3d_sklearn.core.")} == set()


@every_file
def test_private_helpers_of_scikit_learn_have_one_door(path):
    private = {
        name
        for name in imports(ast.walk(TREES[path]))
        if top(name) == "sklearn" and any(part.startswith("_") for part in name.split("."))
    }
    if place(path) == "_validation.py":
        assert "sklearn.base._fit_context" in private
    else:
        assert private == set()


def test_scikit_learns_callbacks_have_one_door():
    """The one file that knows versions of scikit-learn is the one that imports callbacks."""
    users = {
        place(path)
        for path, tree in TREES.items()
        if any(name.startswith("sklearn.callback") for name in imports(ast.walk(tree)))
    }
    assert users == {"_validation.py"}


def leaves_in(names: set[str]) -> set[str]:
    return {leaf for leaf in LEAVES for name in names if f"{name}.".startswith(f"{leaf}.")}


@every_file
def test_leaves_are_imported_by_the_command_line_and_one_another_alone(path):
    """Plotting is asked late, by what draws; nothing but the command line asks the rest."""
    used = leaves_in(imports(ast.walk(TREES[path])))
    at_top = leaves_in(imports(when_imported(TREES[path])))
    if place(path) == "__main__.py":
        assert used == {"m3d_sklearn.cli"}
    elif own := leaves_in({module_of(path)}):
        assert used - own <= set().union(*(LEAVES[leaf] for leaf in own))
    else:
        assert used <= {"m3d_sklearn.plotting"}
        assert at_top == set()


@every_file
def test_optional_packages_are_imported_late(path):
    optional = {"matplotlib", "pandas", "imblearn", "rich", "PIL"}
    if place(path) != "core/gpu/norm_pool.py":
        optional |= {"triton"}
    assert {top(n) for n in imports(when_imported(TREES[path]))} & optional == set()


def text_outside_docstrings(tree: ast.Module) -> set[str]:
    statements = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {n.value for n in constants if isinstance(n.value, str) and id(n) not in statements}


@every_file
def test_devices_have_names_in_one_file(path):
    texts = text_outside_docstrings(TREES[path])
    named = {text for text in texts if re.fullmatch(r"(cuda|mps)(:\d+)?", text)}
    attributes = {
        f"torch.{node.attr}"
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.cuda", "torch.mps")
    }
    if place(path) == "core/devices.py":
        assert named == {"cuda", "mps"}
    else:
        assert named | attributes == set()


def test_nothing_goes_backwards():
    """No cycle among the modules, whatever is imported where (but late imports of a leaf)."""
    modules = {module_of(path) for path in FILES}

    def owner(name: str) -> str | None:
        return name if name in modules else owner(name.rpartition(".")[0]) if name else None

    needs = {}
    for path, tree in TREES.items():
        names = imports(at_run_time(tree))
        needs[module_of(path)] = {owner(name) for name in names} - {None, module_of(path)}
    for path in FILES:
        if path.name == "__init__.py":
            needs.pop(module_of(path))  # only collects names
    while ready := [m for m, wanted in needs.items() if not wanted & needs.keys()]:
        for module in ready:
            del needs[module]
    assert needs == {}


@every_file
def test_files_stay_short(path):
    assert len(path.read_text("utf-8").splitlines()) < 400


def test_import_brings_no_more_than_its_dependencies_do():
    optional = {"matplotlib", "pandas", "imblearn", "PIL"}
    assert fresh_process()["brought"] & optional == set()
    assert "matplotlib" not in fresh_process()["loaded"]
    assert "m3d_sklearn.core.mmd" in fresh_process()["brought"]


def test_public_names():
    assert sorted(m3d_sklearn.__all__) == m3d_sklearn.__all__
    assert all(hasattr(m3d_sklearn, name) for name in m3d_sklearn.__all__)
    assert (PACKAGE / "py.typed").exists()
