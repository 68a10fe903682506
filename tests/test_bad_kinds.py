"""How many kinds of bad input are tried, each checked as tests/refusals.py says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_data import DATA, OTHERS
from bad_parameters import EVALUATE, PARAMETERS
from bad_sources import BAD, HELD_OUT
from common import digits, iris, quietly, small
from refusals import assert_refused, assert_told
from sklearn.linear_model import LogisticRegression

from m3d_sklearn import (
    CondensedClassifier,
    CondensedSet,
    Herding,
    M3DCondenser,
    NetworkClassifier,
    Random,
    distributed,
    evaluate,
)
from m3d_sklearn.benchmark import compare
from m3d_sklearn.callbacks import AccuracyCurve
from m3d_sklearn.core.networks import MLP
from m3d_sklearn.datasets import load

IMAGES, DIGITS = digits()
TABLE, LABELS = iris()


class Constant(torch.nn.Module):
    """Gives the same thing for any rows."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> Any:
        return self.value


def gives(value: Any) -> Any:
    return lambda shape, n_outputs: Constant(value)


def fitted() -> Any:
    return small(M3DCondenser).fit(IMAGES, DIGITS)


def condensed() -> CondensedSet:
    return Random(2, random_state=0).fit(IMAGES, DIGITS).condensed_


def changed(**fields: Any) -> Any:
    return lambda: dataclasses.replace(condensed(), **fields)


def fit(cls: type, X: Any = IMAGES, y: Any = DIGITS, /, **params: Any) -> Any:
    return lambda: quietly(small(cls, **params).fit, X, y)


def score(**settings: Any) -> Any:
    return lambda: evaluate(condensed(), IMAGES, DIGITS, n_networks=1, max_steps=1, **settings)


def grid(**settings: Any) -> Any:
    asked = {"methods": "random", "datasets": {"digits": (IMAGES, DIGITS)}, "ipc": [1]} | settings
    return lambda: compare(**asked)


HALF = np.full((6, 3), 0.5)
MISUSE: dict[str, tuple[Any, str, str]] = {
    # networks of one's own
    "a network of nothing": (fit(M3DCondenser, network=gives(None)), "network", "failed|must"),
    "a network of text": (fit(M3DCondenser, network=gives("features")), "network", "failed|must"),
    "a network of one row": (fit(M3DCondenser, network=gives(torch.ones(1, 4))), "network", "row"),
    "a network of no features": (
        fit(M3DCondenser, network=gives(torch.ones(2, 0))),
        "network",
        r"got \(2, 0\)",
    ),
    "a factory of nothing": (fit(M3DCondenser, network=lambda: None), "network", "NoneType"),
    "a factory of three arguments": (
        fit(M3DCondenser, network=lambda a, b, c: None),
        "network",
        "argument",
    ),
    "a module that is none yet": (fit(M3DCondenser, network=int), "network", "gave|got|failed"),
    "a network instance": (fit(M3DCondenser, network=MLP((4,), 3)), "network", "."),
    "a bandwidth of text": (fit(M3DCondenser, bandwidth="wide"), "bandwidth", "got 'wide'"),
    "pool for a table's factory": (
        fit(M3DCondenser, TABLE, LABELS, pool=2, network=gives(torch.ones(2, 4))),
        "pool",
        "outputs",
    ),
    "a checkpoint in a folder's place": (
        fit(M3DCondenser, checkpoint=Path(__file__).parent),
        "",
        "checkpoint|directory|refusals|tests",
    ),
    "a checkpoint that is a program": (
        fit(M3DCondenser, checkpoint=__file__),
        "checkpoint",
        "test_bad_kinds.py",
    ),
    "an interval of no time": (
        fit(M3DCondenser, checkpoint="run.ckpt", checkpoint_every="0s"),
        "checkpoint_every",
        "above 0.*got '0s'",
    ),
    "an interval of days": (
        fit(M3DCondenser, checkpoint="run.ckpt", checkpoint_every="1d"),
        "checkpoint_every",
        "got '1d'",
    ),
    "an interval below nothing": (
        fit(M3DCondenser, checkpoint="run.ckpt", checkpoint_every="-5s"),
        "checkpoint_every",
        "got '-5s'",
    ),
    # sets made by hand
    "soft labels of another shape": (changed(soft_labels=HALF[:5]), "soft_labels", r"\(5, 3\)"),
    "soft labels of one axis": (changed(soft_labels=HALF[0]), "soft_labels", r"\(3,\)"),
    "soft labels that sum to more": (changed(soft_labels=HALF), "soft_labels", "sum 1.5"),
    "soft labels below nothing": (
        changed(soft_labels=HALF * [[-1.0, 1, 2]]),
        "soft_labels",
        "least value -0.5",
    ),
    "soft labels of NaN": (changed(soft_labels=HALF * np.nan), "soft_labels", "nan"),
    "soft labels of whole numbers": (
        changed(soft_labels=np.eye(3, dtype=int)[[0, 0, 1, 1, 2, 2]]),
        "soft_labels",
        "int64",
    ),
    "a set that is text": (lambda: CondensedSet.load(__file__), "", "test_bad_kinds.py"),
    # doors
    "a class for a condenser": (
        lambda: quietly(CondensedClassifier(Herding, LogisticRegression()).fit, IMAGES, DIGITS),
        "",
        "instance of scikit-learn estimator instead of a class",
    ),
    "a class for a classifier": (
        lambda: quietly(CondensedClassifier(Herding(1), LogisticRegression).fit, TABLE, LABELS),
        "",
        "instance of scikit-learn estimator instead of a class",
    ),
    "soft labels for other rows": (
        lambda: NetworkClassifier(max_iter=1).fit(TABLE, LABELS, soft_labels=HALF),
        "soft_labels",
        r"\(75, 3\)",
    ),
    # scores
    "a protocol of another paper": (score(protocol="idc"), "protocol", "got 'idc'"),
    "networks by a fraction": (score(network=0.5), "network", "got 0.5"),
    "an image shape of text": (
        lambda: evaluate((IMAGES, DIGITS), IMAGES, DIGITS, image_shape="8x8", max_steps=1),
        "image_shape",
        "8x8",
    ),
    # grids
    "a method that is none": (grid(methods="best"), "method", "best"),
    "a class for a method": (grid(methods=[Herding]), "methods", "Herding"),
    "no methods": (grid(methods=[]), "methods", "none"),
    "a reference that is none": (grid(references=["best"]), "references", "best"),
    "no ipc": (grid(ipc=[]), "ipc", "."),
    "an ipc of nothing": (grid(ipc=[0]), "ipc", "0"),
    "an ipc of text": (grid(ipc="ten"), "ipc", "ten"),
    "seeds by a fraction": (grid(seeds=1.5), "seeds", "1.5"),
    "no seeds": (grid(seeds=0), "seeds", "0"),
    "a model that is none": (grid(models=["tree-house"]), "model", "tree-house"),
    "a protocol that is none": (grid(protocols=["idc"]), "protocol", "idc"),
    "no networks": (grid(n_networks=0), "n_networks", "0"),
    "steps of text": (grid(max_steps="many"), "max_steps", "many"),
    "a data set that is none": (grid(datasets=["imagenot"]), "", "imagenot"),
    "a data set by number": (lambda: load(3), "", "3|int"),
    "iterations that fall": (
        lambda: (
            small(M3DCondenser)
            .set_callbacks(AccuracyCurve(IMAGES, DIGITS, [3, 2]))
            .fit(IMAGES, DIGITS)
        ),
        "iterations",
        r"\[3, 2\]",
    ),
    # processes
    "no torchrun": (lambda: distributed().__enter__(), "", "torchrun"),
}


@pytest.mark.parametrize("kind", MISUSE)
def test_misuse(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    call, parameter, words = MISUSE[kind]
    assert_told(assert_refused(call), parameter, words)
    assert list(tmp_path.iterdir()) == []


def kinds() -> set[tuple[str, ...]]:
    """Of bad input: the same value of the same parameter counts once, whatever the estimator."""
    parameters = {
        ("parameter", bad[0], repr(bad[1]).split(" at 0x")[0], str(len(bad)))
        for table in PARAMETERS.values()
        for bad in table
    }
    tables = {"data": DATA, "source": BAD, "held out": HELD_OUT, "new": OTHERS, "misuse": MISUSE}
    named = {(name, kind) for name, table in tables.items() for kind in table}
    scored = {("evaluate", bad[0], repr(bad[1])[:200]) for bad in EVALUATE[-16:]}
    return parameters | named | scored


def test_three_hundred_kinds_are_tried():
    assert len(kinds()) >= 300, len(kinds())
