"""``compare``: a grid of methods, data sets, ipc and seeds, from flags or a TOML file."""

from __future__ import annotations

import argparse
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.benchmark.estimate import Estimate, estimate
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.benchmark.methods import METHODS, REFERENCES, name_of, resolve_methods
from m3d_sklearn.benchmark.plan import plan
from m3d_sklearn.benchmark.store import FAILED, ResultsFolder, rows
from m3d_sklearn.benchmark.summary import markdown
from m3d_sklearn.cli._words import (
    add_common,
    add_training,
    names,
    numbers,
    place,
    positive,
    set_parameters,
    settings,
    tell,
)

DEFAULTS: dict[str, Any] = {
    "ipc": [1, 10, 50],
    "seeds": 3,
    "references": list(REFERENCES),
    "models": ["auto"],
    "protocols": ["m3d"],
    "networks": 2,
    "steps": 1000,
    "robust": False,
    "curve": [],
    "set": {},
    "root": None,
    "image_size": None,
    "device": "auto",
    "jobs": None,
    "threads": None,
}
REQUIRED = ("datasets", "methods", "out")
GRIDS = ("ipc", "random_state")  # parameters that the grid sets
Asked = Mapping[str, Mapping[str, Any]]  # parameters, by method or label

EXAMPLES = """examples:
  python -m m3d_sklearn compare --datasets digits --methods random,herding,kcenter,m3d \\
      --ipc 1,5 --seeds 2 --out results
  python -m m3d_sklearn compare --config grid.toml --dry-run
  python -m m3d_sklearn report results --out report.html

a configuration holds the flags by their names, and methods of your own:
  datasets = ["digits"]
  ipc = [1, 10]
  out = "results"
  [methods.rbf]
  method = "m3d"
  [methods.linear]
  method = "m3d"
  kernel = "linear"

A call that was stopped goes on where it stopped: cells in the folder are not run again.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="run a grid of methods on data sets, resumable",
        description="Fit every method on every data set at every ipc and seed, and score it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", type=place, metavar="FILE", help="a TOML file of these flags")
    parser.add_argument("--datasets", type=names, help="names or folders, by commas")
    parser.add_argument(
        "--methods",
        type=names,
        help=f"{', '.join(METHODS)}, NAME-start of those that iterate, whole",
    )
    parser.add_argument("--ipc", type=numbers, help="stored rows per class, by commas (1,10,50)")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=positive, help="how many, from 0 on (3)")
    seeds.add_argument("--seed-list", dest="seeds", type=numbers, help="which, by commas")
    parser.add_argument(
        "--references", type=names, help="start,kmeans,whole,random or none (start,kmeans,whole)"
    )
    parser.add_argument(
        "--models", type=names, help="auto, networks, knn, svm, logistic, or transfer (auto)"
    )
    parser.add_argument("--protocols", type=names, help="m3d, dc or both (m3d)")
    add_training(parser, n_networks=DEFAULTS["networks"], steps=DEFAULTS["steps"])
    parser.add_argument("--robust", action="store_true", help="also train without augmentation")
    parser.add_argument(
        "--curve", type=numbers, help="iterations at which synthetic methods are also scored"
    )
    parser.add_argument(
        "--set",
        type=settings,
        action="append",
        metavar="METHOD.NAME=VALUE",
        help="a parameter of a method or of a label, again for more",
    )
    parser.add_argument("--image-size", type=int, help="side that images of folders are cut to")
    parser.add_argument("--out", type=place, metavar="FOLDER", help="where results go")
    parser.add_argument("--jobs", type=int, help="cells side by side, -1 for all cores (1)")
    parser.add_argument("--threads", type=positive, help="of each cell (cores / jobs)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run and how long, from a sample"
    )
    parser.add_argument(
        "--fit-only",
        action="store_true",
        help="make the condensed sets; a later call, on a GPU say, trains networks on them",
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    chosen = resolved(vars(options))
    folder = ResultsFolder(place(chosen["out"]))
    folder.check()
    cells, data = plan(
        chosen_methods(chosen["methods"], chosen["set"], _by_method(getattr(options, "set", []))),
        chosen["datasets"],
        chosen["ipc"],
        seeds=chosen["seeds"],
        references=chosen["references"],
        models=chosen["models"],
        protocols=chosen["protocols"],
        n_networks=chosen["networks"],
        max_steps=None if chosen["steps"] == "epochs" else chosen["steps"],
        robust=chosen["robust"],
        curve=chosen["curve"],
        root=chosen["root"],
        image_size=chosen["image_size"],
        device=chosen["device"],
    )
    grid = Grid(cells, data)
    if getattr(options, "dry_run", False):
        return _say_what_would_run(grid, folder, chosen)
    quiet, fit_only = getattr(options, "quiet", False), getattr(options, "fit_only", False)
    share = {"n_jobs": chosen["jobs"], "threads": chosen["threads"]}
    grid.run(folder, **share, verbose=not quiet, fit_only=fit_only)
    return _say_what_was_fitted(grid, folder) if fit_only else _say_what_ran(grid, folder)


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults, then the configuration, then the flags; --set goes parameter by parameter."""
    chosen = dict(DEFAULTS)
    if "config" in given:
        chosen |= read_configuration(given["config"])
    settled = [name for name in (*DEFAULTS, *REQUIRED) if name != "set"]
    chosen |= {name: given[name] for name in settled if name in given}
    missing = [f"--{name}" for name in REQUIRED if not chosen.get(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be given, as a flag or in the --config file.")
    return chosen


def read_configuration(path: Path) -> dict[str, Any]:
    """A TOML file of the flags' names."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # of numbers too long and of nesting too deep
        raise ValueError(f"{path} is no TOML: {error}.") from error
    allowed = sorted({*DEFAULTS, *REQUIRED})
    unknown = [name for name in found if name not in allowed]
    if unknown:
        raise ValueError(f"{path} must hold {', '.join(allowed)}; got {unknown[0]!r}.")
    for name in ("datasets", "models", "protocols", "references"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    for name in ("out", "root"):
        if not isinstance(found.get(name, ""), str):
            raise ValueError(f"{path}: {name} must be a folder's name; got {found[name]!r}.")
    steps = found.get("steps", "epochs")
    if steps != "epochs" and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ValueError(
            f"{path}: steps must be a whole number of 1 or more, or 'epochs'; got {steps!r}."
        )
    tables = found.get("set", {})
    if not (isinstance(tables, dict) and all(isinstance(t, dict) for t in tables.values())):
        raise ValueError(
            f"{path}: set must hold tables of parameters, as [set.m3d] is one; got {tables!r}."
        )
    return found


def _by_method(pairs: list[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    chosen: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in pairs:
        method, dot, name = key.rpartition(".")  # a label may hold dots
        if not dot:
            raise ValueError(f"--set must be METHOD.NAME=VALUE; got {key}={value!r}.")
        chosen[method][name] = value
    return chosen


def chosen_methods(
    methods: Any, tables: Asked, flags: Asked | None = None
) -> dict[str, BaseCondenser | str]:
    """Labels and condensers, with the parameters that were asked for; or "whole".

    Parameters
    ----------
    methods : str, list of str, or dict of label to {"method": name, parameter: value}
    tables, flags : dict of method or label to {parameter: value}
        Tables of set in the configuration go behind a method's own, flags before it.

    Raises
    ------
    ValueError, TypeError
        For an unknown method or parameter, and for one that the grid sets.
    """
    if isinstance(methods, Mapping):
        found = {label: _of_table(label, about) for label, about in methods.items()}
    else:
        shown = resolve_methods(methods).items()
        found = {label: (name_of(label, condenser), condenser, {}) for label, condenser in shown}
    names = {label: name for label, (name, _, _) in found.items()}
    behind, before = _by_label(names, tables, "set"), _by_label(names, flags or {}, "--set")
    for label, (method, condenser, own) in found.items():
        _set(condenser, method, behind[label], "set")
        _set(condenser, method, own, f"methods.{label}")
        _set(condenser, method, before[label], "--set")
    return {label: condenser or "whole" for label, (_, condenser, _) in found.items()}


def _by_label(names: Mapping[str, str | None], asked: Asked, source: str) -> Asked:
    """What was asked of each label: by the name of its method, then by its own."""
    spellings = {spelled: _one_spelling(spelled) for spelled in asked}
    for spelled, method in spellings.items():
        if spelled not in names and method not in names.values():
            raise ValueError(
                f"{source} must name a method of this grid or its label, {', '.join(names)}; got "
                f"{spelled!r}."
            )
    found: dict[str, dict[str, Any]] = {label: {} for label in names}
    for label, name in names.items():
        of_method = [asked[spelled] for spelled, method in spellings.items() if method == name]
        for values in (*of_method, asked.get(label, {})):
            found[label] |= values
    return found


def _of_table(label: str, about: Any) -> tuple[str | None, BaseCondenser | None, dict[str, Any]]:
    """A method's name, its condenser, and the parameters in its table."""
    if not isinstance(about, Mapping) or "method" not in about:
        raise ValueError(f"methods.{label} must be a table that names its method; got {about!r}.")
    ((shown, condenser),) = resolve_methods([about["method"]]).items()
    own = {name: value for name, value in about.items() if name != "method"}
    return name_of(shown, condenser), condenser, own


def _one_spelling(method: str) -> str:
    """A method's name as the table of methods has it; what is no method stays."""
    try:
        ((shown, condenser),) = resolve_methods([method]).items()
    except ValueError:
        return method
    return name_of(shown, condenser) or method


def _set(
    condenser: BaseCondenser | None, name: str | None, values: Mapping[str, Any], source: str
) -> None:
    if condenser is not None:
        fixed = (*GRIDS, "max_iter") if str(name).endswith("-start") else GRIDS
        set_parameters(condenser, values, str(name), source=source, fixed=fixed)
    elif values:
        raise ValueError(f"{source} must name a condenser's parameters; {name!r} has none.")


def _say_what_would_run(grid: Grid, folder: ResultsFolder, chosen: dict[str, Any]) -> int:
    missing = grid.missing(folder)
    shares = grid.shares(missing, chosen["jobs"], chosen["threads"])
    print(f"{'data set':<14} {'method':<14} {'ipc':>4} {'to run':>7} {'done':>5} {'s a cell':>9}")
    total = 0.0
    for kind in estimate(grid, folder, shares.threads):
        total += kind.missing * kind.seconds
        print(_kind_line(kind))
        if kind.error is not None:
            tell("would fail", f"{kind.method} on {kind.dataset}: {kind.error}")
    print(
        f"{len(missing)} of {len(grid.cells)} cells to run, {shares.side_by_side} side by side "
        f"with {shares.threads} threads each: about {_duration(total / shares.side_by_side)}."
    )
    return 0


def _kind_line(kind: Estimate) -> str:
    ipc = "all" if kind.ipc is None else kind.ipc
    timed = kind.missing and kind.error is None
    seconds = f"{kind.seconds:9.1f}" if timed else f"{'-' if kind.error is None else 'fails':>9}"
    return (
        f"{kind.dataset:<14} {kind.method:<14} {ipc:>4} {kind.missing:>7} {kind.done:>5} {seconds}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say_what_was_fitted(grid: Grid, folder: ResultsFolder) -> int:
    fits = [cell for cell in grid.cells if cell.condenser is not None]
    left = grid.unfitted(folder)
    _tell_failed(record for cell in left if (record := folder.find(cell)) is not None)
    print(f"{len(fits) - len(left)} of {len(fits)} cells fitted in {folder.path}")
    return 1 if left else 0


def _say_what_ran(grid: Grid, folder: ResultsFolder) -> int:
    records = [record for cell in grid.cells if (record := folder.find(cell)) is not None]
    print(markdown(rows(records)))
    failed = _tell_failed(records)
    print(f"{len(records) - failed} of {len(grid.cells)} cells in {folder.path}")
    return 1 if failed else 0


def _tell_failed(records: Iterable[dict[str, Any]]) -> int:
    """Say which cells failed, and give their number."""
    failed = [record for record in records if record["status"] == FAILED]
    for record in failed:
        error = record["error"]
        tell("failed", f"{record['name']}: {error['type']}: {error['message']}")
    return len(failed)
