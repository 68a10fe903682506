"""The command line: condense, evaluate, compare, report.

Exit codes: 0 when all went well, 1 when cells of a grid failed, 2 when something asked for
cannot be done, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from m3d_sklearn.__about__ import __version__
from m3d_sklearn.cli import _compare, _condense, _evaluate, _report
from m3d_sklearn.cli._words import as_flags, tell

__all__ = ["main"]

COMMANDS = (_condense, _evaluate, _compare, _report)
# What the library raises for wrong input, what files and memory do, and what torch raises for
# a device that fails and joblib for a worker that was killed (RuntimeError). Others, such as
# KeyError or AssertionError, are mistakes of ours: their traceback is wanted.
EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage; so do the commands' own parsers."""

    def error(self, message: str) -> NoReturn:
        tell("error", message)
        self.exit(2)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="python -m m3d_sklearn",
        description="Condense labelled data into a few rows per class, and compare methods.",
        epilog="python -m m3d_sklearn COMMAND --help says more of one.",
    )
    parser.add_argument("--version", action="version", version=f"m3d_sklearn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors of use are one line on the error stream.

    Parameters
    ----------
    arguments : list of str, optional
        By default the process's own.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version`` (code 0), and for words that make no command (2).
    """
    try:
        options = make_parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            return options.run(options)
    except EXPECTED as error:
        tell("error", as_flags(str(error).strip()) or type(error).__name__)
        return 2
    except KeyboardInterrupt:
        print("m3d_sklearn: interrupted", file=sys.stderr)
        return 130


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    tell("warning", message)
