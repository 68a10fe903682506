"""What several commands ask for in the same words."""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3d_sklearn.base import BaseCondenser

__all__ = [
    "add_common",
    "add_training",
    "as_flags",
    "check_place",
    "names",
    "numbers",
    "place",
    "positive",
    "set_parameters",
    "settings",
    "tell",
]


def tell(kind: str, text: object) -> None:
    """A line on the error stream; `text` may be of several."""
    print(f"m3d_sklearn: {kind}: {' '.join(str(text).split())}", file=sys.stderr)


def as_flags(text: str) -> str:
    """An error of the library with its parameter as a flag: image_size is --image-size."""
    return re.sub(r"(?<![\w/])image_size(?![\w/])", "--image-size", text)


def names(text: str) -> list[str]:
    """Comma-separated names; "none" is an empty list."""
    listed = [name.strip() for name in text.split(",") if name.strip()]
    if not listed:
        raise argparse.ArgumentTypeError(f"names separated by commas are wanted; got {text!r}")
    return [] if listed == ["none"] else listed


def numbers(text: str) -> list[int]:
    """Comma-separated whole numbers."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"whole numbers separated by commas are wanted; got {text!r}"
        ) from error


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more is wanted; got {text!r}")
    return int(text)


def place(text: str | Path) -> Path:
    """A path; shells leave "~" to us in ``--out=~/results``, and so does a TOML file."""
    return Path(text).expanduser()


def check_place(flag: str, path: Path, *, given: Path | None = None) -> None:
    """Refuse a file that cannot be written; the folder that it lies in is made.

    Parameters
    ----------
    flag : str
        That asked for it, for the error.
    path : Path
    given : Path, optional
        As it was asked for, before an ending was added.
    """
    folder = next((place for place in (path, given) if place and place.is_dir()), None)
    if folder is not None:
        raise ValueError(f"{flag} must be the name of a file to write; got the folder {folder}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"{flag} must be in a folder that can be written; got {path} ({error.strerror})."
        ) from error


def settings(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a Python literal or a bare word."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"NAME=VALUE is wanted; got {text!r}")
    words = {"null": None, "true": True, "false": False}
    try:
        return name, words[value] if value in words else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return name, value


def set_parameters(
    condenser: BaseCondenser,
    chosen: Mapping[str, Any],
    owner: str,
    *,
    source: str = "--set",
    fixed: tuple[str, ...] = (),
) -> None:
    """Set a condenser's parameters, naming those that it does not have.

    Parameters
    ----------
    condenser : BaseCondenser
    chosen : dict of parameter to value
    owner : str
        The method, for the error.
    source : str, default="--set"
        Where they were written, for the error.
    fixed : tuple of str
        Parameters that something else decides.
    """
    allowed = sorted(condenser.get_params(deep=False).keys() - set(fixed))
    for name in chosen:
        if name in fixed:
            raise ValueError(
                f"{source} must leave {', '.join(fixed)} of {owner}, which the command sets; got "
                f"{name!r}."
            )
        if name not in allowed:
            raise ValueError(
                f"{source} must name parameters of {owner}, {', '.join(allowed)}; got {name!r}."
            )
    condenser.set_params(**chosen)


def add_common(parser: argparse.ArgumentParser, *, quiet: bool = True) -> None:
    """Where the data are, the device, and whether bars are shown."""
    parser.add_argument(
        "--root", metavar="FOLDER", help="of the data (M3D_DATA, or ~/m3d_sklearn_data)"
    )
    parser.add_argument(
        "--device", default=_default(parser, "auto"), help="auto, cpu, cuda, cuda:N or mps (auto)"
    )
    if quiet:
        parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def add_training(parser: argparse.ArgumentParser, *, n_networks: int, steps: int | None) -> None:
    """How many networks, and how long each is trained."""
    parser.add_argument(
        "--networks",
        type=positive,
        default=_default(parser, n_networks),
        help=f"trained a set ({n_networks})",
    )
    parser.add_argument(
        "--steps",
        type=lambda text: None if text == "epochs" else positive(text),
        default=_default(parser, steps),
        help=f"batches of each training, or 'epochs' for the protocol's ({steps or 'epochs'})",
    )


def _default(parser: argparse.ArgumentParser, value: Any) -> Any:
    """A flag's default, unless the parser has its own: compare's file stands behind its flags."""
    return value if parser.argument_default is None else parser.argument_default
