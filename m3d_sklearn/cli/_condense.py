"""``condense``: a data set in, a condensed set and a contact sheet out."""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from m3d_sklearn.benchmark.methods import METHODS
from m3d_sklearn.cli._words import add_common, check_place, place, set_parameters, settings
from m3d_sklearn.datasets import load
from m3d_sklearn.plotting._style import check_matplotlib
from m3d_sklearn.storage import with_suffix

EXAMPLES = """examples:
  python -m m3d_sklearn condense digits --ipc 10 --out digits.npz
  python -m m3d_sklearn condense photos/ --image-size 64 --method herding --out photos.npz
  python -m m3d_sklearn condense mnist --set max_iter=100 --set kernel=laplace --out mnist.npz
  python -m m3d_sklearn condense mnist --set checkpoint=run.ckpt --out mnist.npz
      (after an interruption the same line goes on where run.ckpt ends)
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
    out, sheet = _places(options)  # refused now, and not after the fit
    started = time.perf_counter()
    condensed = condenser.fit(data.X_train, data.y_train).condensed_
    seconds = time.perf_counter() - started
    condensed.save(out)
    if sheet is not None:
        _draw(condensed, data.class_names, sheet)
    print(
        f"{len(data.X_train):,} rows of {data.name} condensed to {len(condensed)} in "
        f"{seconds:.1f} s: {out} ({out.stat().st_size / 1e3:.0f} kB), "
        f"{sheet or 'no picture, as matplotlib is not installed'}"
    )
    return 0


def _places(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where the set and the sheet go: both can be written there. No sheet without matplotlib."""
    out, sheet = with_suffix(options.out), None
    if options.sheet is not None:
        check_matplotlib("--sheet")
        sheet = _with_format(options.sheet)
    elif find_spec("matplotlib") is not None:
        sheet = out.with_suffix(".png")
    check_place("--out", out, given=options.out)
    if sheet is not None:
        check_place("--sheet", sheet, given=options.sheet)
    return out, sheet


def _with_format(path: Path) -> Path:
    """The sheet's name, whose end is its format; PNG where it has none."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = sorted(f".{name}" for name in FigureCanvasAgg.get_supported_filetypes())
    if not path.suffix:
        return path.with_name(f"{path.name}.png")
    if path.suffix.lower() not in known:
        raise ValueError(f"--sheet must end in one of {', '.join(known)}; got {path}.")
    return path


def _draw(condensed: Any, class_names: tuple[str, ...], path: Path) -> None:
    """Save the contact sheet, without a window and without pyplot's state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(condensed.classes)
    figure = Figure(figsize=_size(condensed))
    FigureCanvasAgg(figure)
    ax = condensed.plot(figure.subplots())
    if len(class_names) == rows:
        ax.set_yticks(ax.get_yticks(), class_names)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _size(condensed: Any) -> tuple[float, float]:
    """Inches: by the images of a sheet, by the cells of a table's heat map."""
    if condensed.layout.is_image:
        rows, columns = len(condensed.classes), max(condensed.ipc.values())
        return min(14, 1.6 + 0.5 * columns), min(14, 0.6 + 0.5 * rows)
    rows, columns = condensed.rows().shape
    return min(14, 3 + 0.25 * columns), min(14, 1.5 + 0.2 * rows)
