"""``compare``: a grid of methods, data sets, ipc and seeds, from flags or a TOML file."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3d_sklearn.benchmark.estimate import Estimate, estimate
from m3d_sklearn.benchmark.grid import Grid
from m3d_sklearn.benchmark.methods import REFERENCES, resolve_methods
from m3d_sklearn.benchmark.plan import plan
from m3d_sklearn.benchmark.store import FAILED, ResultsFolder, rows
from m3d_sklearn.benchmark.summary import markdown
from m3d_sklearn.cli._evaluate import add_training, positive
from m3d_sklearn.cli._words import add_common, names, numbers, set_parameters, settings

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
    "device": "auto",
    "jobs": None,
    "threads": None,
}
REQUIRED = ("datasets", "methods", "out")

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
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of these flags")
    parser.add_argument("--datasets", type=names, help="names or folders, by commas")
    parser.add_argument(
        "--methods", type=names, help="random, herding, kcenter, kmeans, m3d, m3d-start, whole"
    )
    parser.add_argument("--ipc", type=numbers, help="stored rows a class, by commas (1,10,50)")
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
    parser.add_argument("--curve", type=numbers, help="iterations at which M3D is also scored")
    parser.add_argument(
        "--set",
        type=settings,
        action="append",
        metavar="METHOD.NAME=VALUE",
        help="a parameter of a method, again for more",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where results go")
    parser.add_argument("--jobs", type=int, help="cells side by side, -1 for all cores (1)")
    parser.add_argument("--threads", type=positive, help="of each cell (cores / jobs)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run and how long, from a sample"
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    chosen = resolved(vars(options))
    cells, data = plan(
        chosen_methods(chosen["methods"], chosen["set"]),
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
        device=chosen["device"],
    )
    grid, folder = Grid(cells, data), ResultsFolder(chosen["out"])
    if getattr(options, "dry_run", False):
        return _say_what_would_run(grid, folder, chosen)
    quiet = getattr(options, "quiet", False)
    grid.run(folder, n_jobs=chosen["jobs"], threads=chosen["threads"], verbose=not quiet)
    return _say_what_ran(grid, folder)


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults, then the configuration, then the flags."""
    chosen = dict(DEFAULTS)
    if "config" in given:
        chosen |= read_configuration(given["config"])
    flags = {name: given[name] for name in (*DEFAULTS, *REQUIRED) if name in given}
    if "set" in flags:
        flags["set"] = _by_method(flags["set"])
    chosen |= flags
    missing = [f"--{name}" for name in REQUIRED if not chosen.get(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be given, as a flag or in the --config file.")
    return chosen


def read_configuration(path: Path) -> dict[str, Any]:
    """A TOML file of the flags' names."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}.") from error
    allowed = sorted({*DEFAULTS, *REQUIRED})
    unknown = [name for name in found if name not in allowed]
    if unknown:
        raise ValueError(f"{path} must hold {', '.join(allowed)}; got {unknown[0]!r}.")
    for name in ("datasets", "models", "protocols", "references"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    if not isinstance(found.get("set", {}), dict):
        raise ValueError(f"{path}: set must be a table of a method's parameters.")
    return found


def _by_method(pairs: list[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    chosen: dict[str, dict[str, Any]] = defaultdict(dict)
    for place, value in pairs:
        method, dot, name = place.partition(".")
        if not dot:
            raise ValueError(f"--set must be METHOD.NAME=VALUE; got {place}={value!r}.")
        chosen[method][name] = value
    return chosen


def chosen_methods(methods: Any, parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Labels and condensers, with the parameters that were asked for.

    Parameters
    ----------
    methods : list of str, or dict of label to {"method": name, parameter: value}
    parameters : dict of method to {parameter: value}
    """
    labelled: dict[str, Any] = {}
    if isinstance(methods, Mapping):
        for label, about in methods.items():
            if not isinstance(about, Mapping) or "method" not in about:
                raise ValueError(f"methods.{label} must be a table that names its method.")
            name, own = about["method"], {k: v for k, v in about.items() if k != "method"}
            ((_, condenser),) = resolve_methods([name]).items()
            _set(condenser, name, {**parameters.get(name, {}), **own})
            labelled[label] = condenser
    else:
        for name in [methods] if isinstance(methods, str) else methods:
            ((label, condenser),) = resolve_methods([name]).items()
            _set(condenser, name, parameters.get(name, {}))
            labelled[label] = condenser
    used = {name for name in parameters if name in _names_of(methods)}
    unused = [name for name in parameters if name not in used]
    if unused:
        raise ValueError(f"--set must name a method of this grid; got {unused[0]!r}.")
    return labelled


def _names_of(methods: Any) -> list[str]:
    if isinstance(methods, Mapping):
        return [about["method"] for about in methods.values()]
    return [methods] if isinstance(methods, str) else list(methods)


def _set(condenser: Any, name: str, chosen: Mapping[str, Any]) -> None:
    if condenser is not None:
        set_parameters(condenser, dict(chosen), name)
    elif chosen:
        raise ValueError(f"--set must name a condenser's parameters; {name!r} has none.")


def _say_what_would_run(grid: Grid, folder: ResultsFolder, chosen: dict[str, Any]) -> int:
    missing = grid.missing(folder)
    shares = grid.shares(missing, chosen["jobs"], chosen["threads"])
    print(f"{'data set':<14} {'method':<14} {'ipc':>4} {'to run':>7} {'done':>5} {'s a cell':>9}")
    total = 0.0
    for kind in estimate(grid, folder, shares.threads):
        total += kind.missing * kind.seconds
        print(_kind_line(kind), flush=True)
    print(
        f"{len(missing)} of {len(grid.cells)} cells to run, {shares.side_by_side} side by side "
        f"with {shares.threads} threads each: about {_duration(total / shares.side_by_side)}."
    )
    return 0


def _kind_line(kind: Estimate) -> str:
    ipc = "all" if kind.ipc is None else kind.ipc
    seconds = f"{kind.seconds:9.1f}" if kind.missing else f"{'-':>9}"
    return (
        f"{kind.dataset:<14} {kind.method:<14} {ipc:>4} {kind.missing:>7} {kind.done:>5} {seconds}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say_what_ran(grid: Grid, folder: ResultsFolder) -> int:
    records = [record for cell in grid.cells if (record := folder.find(cell)) is not None]
    print(markdown(rows(records)))
    failed = [record for record in records if record["status"] == FAILED]
    for record in failed:
        message = " ".join(record["error"]["message"].split())
        said = f"{record['name']}: {record['error']['type']}: {message}"
        print(f"m3d_sklearn: failed: {said}", file=sys.stderr)
    print(f"{len(records) - len(failed)} of {len(grid.cells)} cells in {folder.path}")
    return 1 if failed else 0
