"""A results folder as what docs/results.md shows: a table, pictures, and the records.

    python benchmarks/grid_results.py FOLDER --name NAME
    python benchmarks/grid_results.py --records FILE

The first form prints the table with the poster's figures beside, writes the records to
benchmarks/results/NAME-grid.jsonl, and docs/NAME-ipc.png and docs/NAME-images.png: accuracy
against ipc, and the sets of every method at ipc 10 (or the largest) and the first seed. The
second prints the table of such records.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from m3d_sklearn.benchmark import ResultsFolder, rows
from m3d_sklearn.plotting import plot_condensed, plot_ipc
from m3d_sklearn.report import lines

ROOT = Path(__file__).resolve().parent.parent
IPC = 10


def table(records: list[dict[str, Any]]) -> str:
    """A markdown row a method and ipc, the poster's figure beside."""
    found = [
        "| data | ipc | method | accuracy | poster | MMD² | fit, s | stored, kB | runs | epochs |",
        "| :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in lines(records):
        cells = [
            line.dataset,
            "all" if line.ipc is None else line.ipc,
            line.method,
            f"{100 * line.accuracy:.1f}" + ("" if line.std is None else f" ± {100 * line.std:.1f}"),
            _poster(line.poster),
            "–" if line.mmd is None else f"{line.mmd:.2g}",
            "–" if line.fit_seconds is None else f"{line.fit_seconds:.0f}",
            "–" if line.nbytes is None else f"{line.nbytes / 1e3:.0f}",
            line.runs,
            line.epochs,
        ]
        found.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(found)


def _poster(published: Any) -> str:
    if published is None:
        return "–"
    figure = f"{published.accuracy:.1f}"
    return figure if published.compares else f"({figure})"


def pictures(folder: ResultsFolder, name: str) -> list[Path]:
    """Draw accuracy against ipc, and condensed images side by side."""
    records = [record for record in folder.records() if record["status"] == "done"]
    order = {line.method: place for place, line in enumerate(lines(records))}
    records.sort(key=lambda record: order[record["spec"]["method"]])
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    plot_ipc(rows(records), ax)
    paths = [ROOT / "docs" / f"{name}-ipc.png", ROOT / "docs" / f"{name}-images.png"]
    figure.savefig(paths[0], dpi=110)
    # Records that were put there without their sets have no images.
    chosen = _shown([r for r in records if (folder.cells / f"{r['name']}.npz").exists()])
    if not chosen:
        return paths[:1]
    figure, axes = plt.subplots(2, -(-len(chosen) // 2), figsize=(10, 7.2), layout="constrained")
    for ax, record in zip(axes.flat, chosen, strict=False):
        plot_condensed(folder.condensed(record), ax=ax)
        ax.set_title(record["spec"]["method"])
    for ax in axes.flat[len(chosen) :]:
        ax.set_visible(False)
    figure.savefig(paths[1], dpi=110)
    return paths


def _shown(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sets of one ipc and the first seed, a method each."""
    if not records:
        return []
    ipcs = {record["spec"]["ipc"] for record in records}
    ipc = IPC if IPC in ipcs else max(ipcs)
    seed = min(record["spec"]["seed"] for record in records)
    return [r for r in records if (r["spec"]["ipc"], r["spec"]["seed"]) == (ipc, seed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="that compare wrote")
    parser.add_argument("--name", help="of the files")
    parser.add_argument("--records", type=Path, metavar="FILE")
    options = parser.parse_args()
    if (options.records is None) == (options.folder is None or options.name is None):
        parser.error("give FOLDER and --name, or --records")
    if options.records is not None:
        print(table([json.loads(line) for line in options.records.read_text("utf-8").splitlines()]))
        return
    plt.switch_backend("agg")
    folder = ResultsFolder(options.folder)
    records = folder.records()
    file = ROOT / "benchmarks" / "results" / f"{options.name}-grid.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    print(table(records))
    for path in [file, *pictures(folder, options.name)]:
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
