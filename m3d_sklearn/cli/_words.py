"""What several commands ask for in the same words."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from m3d_sklearn.base import BaseCondenser

__all__ = ["add_common", "names", "numbers", "set_parameters", "settings"]


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


def settings(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a Python literal or a bare word."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"NAME=VALUE is wanted; got {text!r}")
    words = {"null": None, "true": True, "false": False}
    try:
        return name, words[value] if value in words else ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def set_parameters(condenser: BaseCondenser, chosen: dict[str, Any], owner: str) -> None:
    """Set a condenser's parameters, naming those that it does not have."""
    allowed = sorted(condenser.get_params(deep=False))
    unknown = [name for name in chosen if name not in allowed]
    if unknown:
        raise ValueError(
            f"--set must name parameters of {owner}, {', '.join(allowed)}; got {unknown[0]!r}."
        )
    condenser.set_params(**chosen)


def add_common(parser: argparse.ArgumentParser, *, quiet: bool = True) -> None:
    """Where the data are, the device, and whether bars are shown."""
    parser.add_argument(
        "--root", metavar="FOLDER", help="of the data (M3D_DATA, or ~/m3d_sklearn_data)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    if quiet:
        parser.add_argument("--quiet", action="store_true", help="show no progress bar")
