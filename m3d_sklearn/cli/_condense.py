"""``condense``: a data set in, a condensed set and a contact sheet out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from m3d_sklearn.benchmark.methods import METHODS
from m3d_sklearn.cli._words import add_common, place, set_parameters, settings
from m3d_sklearn.datasets import load

EXAMPLES = """examples:
  python -m m3d_sklearn condense digits --ipc 10 --out digits.npz
  python -m m3d_sklearn condense photos/ --image-size 64 --method herding --out photos.npz
  python -m m3d_sklearn condense mnist --set max_iter=100 --set kernel=laplace --out mnist.npz
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "condense",
        help="condense a data set or a folder of images",
        description="Condense the training rows of a data set, and draw the result.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", help="a name (digits, mnist, cifar10, ...), a folder or an .npz")
    parser.add_argument(
        "--method", choices=sorted(METHODS), default="m3d", help="how (default: m3d)"
    )
    parser.add_argument("--ipc", type=int, default=10, help="stored rows per class (10)")
    parser.add_argument(
        "--out", type=place, required=True, metavar="FILE", help="the .npz to write"
    )
    parser.add_argument(
        "--sheet", type=place, metavar="FILE", help="the picture to write (FILE.png beside --out)"
    )
    parser.add_argument("--image-size", type=int, help="side that images of a folder are cut to")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument(
        "--set",
        dest="settings",
        type=settings,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the method, again for more",
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    _, kind = METHODS[options.method]
    condenser = kind(options.ipc, random_state=options.seed, device=options.device)
    chosen = dict(options.settings)
    if not options.quiet and "verbose" in condenser.get_params(deep=False):
        chosen = {"verbose": 1} | chosen
    set_parameters(condenser, chosen, options.method)
    data = load(options.data, root=options.root, image_size=options.image_size)
    for path in (options.out, options.sheet or options.out):
        path.parent.mkdir(parents=True, exist_ok=True)  # where that fails, before the fit
    started = time.perf_counter()
    condensed = condenser.fit(data.X_train, data.y_train).condensed_
    seconds = time.perf_counter() - started
    path = condensed.save(options.out)
    sheet = options.sheet or path.with_suffix(".png")
    _draw(condensed, data.class_names, sheet)
    print(
        f"{len(data.X_train):,} rows of {data.name} condensed to {len(condensed)} in "
        f"{seconds:.1f} s: {path} ({path.stat().st_size / 1e3:.0f} kB), {sheet}"
    )
    return 0


def _draw(condensed: Any, class_names: tuple[str, ...], path: Path) -> None:
    """Save the contact sheet, without a window and without pyplot's state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = len(condensed.classes), max(condensed.ipc.values())
    figure = Figure(figsize=(min(14, 1.6 + 0.5 * columns), min(14, 0.6 + 0.5 * rows)))
    FigureCanvasAgg(figure)
    ax = condensed.plot(figure.subplots())
    if len(class_names) == rows:
        ax.set_yticks(ax.get_yticks(), class_names)
    figure.savefig(path, dpi=110, bbox_inches="tight")
