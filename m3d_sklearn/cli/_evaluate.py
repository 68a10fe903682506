"""``evaluate``: train on a condensed set, score on the data set's test rows."""

from __future__ import annotations

import argparse
from typing import Any

from m3d_sklearn.benchmark.cells import Settings
from m3d_sklearn.benchmark.models import resolve_models
from m3d_sklearn.benchmark.scoring import score_models
from m3d_sklearn.cli._words import add_common, add_training, names, place
from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.training import PROTOCOLS
from m3d_sklearn.datasets import load

EXAMPLES = """example:
  python -m m3d_sklearn evaluate digits.npz --data digits --models auto,knn,svm
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="train fresh models on a condensed set and score them",
        description="Train fresh models on a condensed set; print their accuracy on test rows.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", type=place, help="an .npz that `condense` or save() wrote")
    parser.add_argument("--data", required=True, help="the data set whose test rows score")
    parser.add_argument("--models", type=names, default=["auto"], help="as for compare (auto)")
    parser.add_argument("--protocols", type=names, default=["m3d"], help="m3d, dc or both (m3d)")
    add_training(parser, n_networks=5, steps=None)
    parser.add_argument("--image-size", type=int, help="side that images of a folder are cut to")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    add_common(parser, quiet=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    unknown = [name for name in options.protocols if name not in PROTOCOLS]
    if unknown or not options.protocols:
        raise ValueError(f"--protocols must be of {sorted(PROTOCOLS)}; got {options.protocols}.")
    device = resolve_device(options.device)
    asked = Settings(
        models=resolve_models(options.models),
        protocols=tuple(options.protocols),
        augmentations=("auto",),
        n_networks=options.networks,
        max_steps=options.steps,
        curve=(),
        device=options.device,
    )
    condensed = CondensedSet.load(options.set)
    data = load(options.data, root=options.root, image_size=options.image_size)
    scores = score_models(condensed, data.X_test, data.y_test, asked, options.seed, device)
    print(f"{condensed}\nAccuracy on {len(data.X_test):,} test rows of {data.name}:")
    for score in scores:
        print(f"  {_line(score)}")
    return 0


def _line(score: dict[str, Any]) -> str:
    accuracy = f"{100 * score['accuracy']:5.1f}"
    if score["kind"] == "estimator":
        return f"{score['model']:<12} {accuracy} %"
    width = "" if score["width"] is None else f" of width {score['width']}"
    return (
        f"{score['model']:<12} {accuracy} ± {100 * score['std']:.1f} %   "
        f"{len(score['scores'])} networks{width}, protocol {score['protocol']}, "
        f"{score['epochs']} epochs, {score['steps']} steps"
    )
