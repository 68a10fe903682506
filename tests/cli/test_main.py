import argparse
import re
import shlex
import subprocess
import sys
import warnings

import pytest
from grids import saved, table

from m3d_sklearn import __version__
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.cli import _condense, main, make_parser

(ACTIONS,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
COMMANDS = ACTIONS.choices


def run(*arguments):
    """The exit code, wherever it comes from."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code or 0


def test_the_commands():
    assert list(COMMANDS) == ["condense", "evaluate", "compare", "report"]


def test_the_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == f"m3d_sklearn {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_flag(command, capsys):
    assert run(command, "--help") == 0
    said = capsys.readouterr().out
    for action in COMMANDS[command]._actions:
        for flag in action.option_strings or [action.metavar or action.dest]:
            assert re.search(rf"(^|\s){re.escape(flag)}\b", said), flag
        assert action.help, action.dest


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^\s+{command}\s+\w", said, re.M) for command in COMMANDS)


def examples(command):
    """Commands in the epilog, lines that go on put together."""
    text = COMMANDS[command].epilog.replace("\\\n", " ")
    return re.findall(r"^\s+python -m m3d_sklearn (.*)$", text, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_parse(command):
    found = examples(command)
    assert found
    for words in map(shlex.split, found):
        assert make_parser().parse_args(words).run is not None
    assert any(words.startswith(command) for words in found)


@pytest.mark.parametrize("arguments", [[], ["best"], ["--best"], ["report"]])
def test_a_command_is_needed(arguments, capsys):
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("a\n  b"), 2, "m3d_sklearn: error: a b\n"),
        (TypeError("x"), 2, "m3d_sklearn: error: x\n"),
        (FileNotFoundError(2, "No such file", "f"), 2, None),
        (ImportError("needs pillow"), 2, "m3d_sklearn: error: needs pillow\n"),
        (MemoryError(), 2, "m3d_sklearn: error: MemoryError\n"),
        (KeyboardInterrupt(), 130, "m3d_sklearn: interrupted\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_one_line_and_a_code(error, code, said, monkeypatch, capsys, globals_untouched):
    def raises(options):
        raise error

    monkeypatch.setattr(_condense, "run", raises)
    assert run("condense", "digits", "--out", "x.npz") == code
    found = capsys.readouterr().err
    assert found.count("\n") == 1
    assert said in (found, None)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def raises(options):
        raise AssertionError("ours")

    monkeypatch.setattr(_condense, "run", raises)
    with pytest.raises(AssertionError, match="ours"):
        run("condense", "digits", "--out", "x.npz")


def test_a_warning_is_one_line(monkeypatch, capsys, globals_untouched):
    def warns(options):
        warnings.warn("look\n here", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(_condense, "run", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("condense", "digits", "--out", "x.npz") == 0
    assert capsys.readouterr().err == "m3d_sklearn: warning: look here\n"


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """A process that is refused, one that runs two cells, and its folder."""
    folder = tmp_path_factory.mktemp("processes")
    words = ["--methods", "random", "--references", "none", "--ipc", "1", "--seeds", "2", "--quiet"]
    words += ["--networks", "1", "--steps", "3", "--threads", "1", "--out", folder / "out"]
    command = [sys.executable, "-m", "m3d_sklearn", "compare", *words, "--datasets"]

    def process(data):
        line = [str(word) for word in (*command, data)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    return process(folder / "none.npz"), process(saved(table(), folder)), folder / "out"


def test_a_process_that_is_refused(processes):
    refused, *_ = processes
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"m3d_sklearn: error: .*none\.npz.*\n", refused.stderr)


def test_a_process_that_goes_well(processes):
    _, well, _ = processes
    assert (well.returncode, well.stderr) == (0, "")
    assert "2 of 2 cells" in well.stdout


def test_what_is_done_once_in_a_process_is_no_cost_of_a_method(processes):
    """torch imports a good deal when the first optimiser is made."""
    first, second = (r["scores"][0]["seconds"] for r in ResultsFolder(processes[2]).records())
    assert first < 10 * second + 0.2
