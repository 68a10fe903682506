"""``report``: a results folder as one page."""

from __future__ import annotations

import argparse
from typing import Any

from m3d_sklearn.cli._words import place

EXAMPLES = """example:
  python -m m3d_sklearn report results/ --out report.html
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="turn a results folder into one HTML page",
        description="Turn what compare wrote into one HTML page that needs no network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=place, help="the folder that compare wrote to")
    parser.add_argument(
        "--out", type=place, required=True, metavar="FILE", help="the page to write"
    )
    parser.add_argument("--title", help="of the page")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from m3d_sklearn.report import write_report

    path = write_report(options.folder, options.out, title=options.title)
    print(f"{path} ({path.stat().st_size / 1e3:.0f} kB)")
    return 0
