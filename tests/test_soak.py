"""Many fits in one process: no memory, file handle or thread is left behind."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ESTIMATORS, answers, colour, digits, iris, small
from memory import anonymous
from sources import Items, mapped

from m3d_sklearn import CondensedSet, Herding, M3DCondenser, NetworkClassifier, Random, evaluate
from m3d_sklearn.benchmark.measure import give_back_memory

FITS, MORE = 200, 1000
GROWTH = 4e6  # bytes of anonymous memory, between two looks of which neither is exact

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def taken() -> tuple[int, int, int]:
    """Bytes of anonymous memory, open files and threads of this process."""
    gc.collect()
    give_back_memory()
    own = Path("/proc/self")
    return anonymous(), len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))


def in_memory(cls: type) -> Callable[[Path], None]:
    """A fit and all that it can say."""

    def fit(folder: Path) -> None:
        X, y = digits(per_class=6)
        estimator = small(cls)
        if hasattr(estimator, "preset"):
            estimator.set_params(max_iter=2)
        answers(estimator.fit(X, y), X)

    return fit


def from_a_map(folder: Path) -> None:
    """Rows that are read as they are drawn."""
    X, y = colour()
    rows = mapped(X, folder)
    M3DCondenser(1, max_iter=2, batch_real=2, cache=0, random_state=0).fit(rows, y)
    Herding(1).fit(rows, y).transform(rows)


def from_a_data_set(folder: Path) -> None:
    """Items, which threads read."""
    X, y = digits(per_class=6)
    items = Items(X, y)
    M3DCondenser(1, max_iter=2, batch_real=2, cache=0, random_state=0).fit(items)
    Random(1, random_state=0).fit(items)


def gone_on_with(folder: Path) -> None:
    """A run with checkpoints, and one that goes on where it ended."""
    X, y = digits(per_class=6)
    path = folder / "run.ckpt"
    path.unlink(missing_ok=True)
    for _ in range(2):
        M3DCondenser(1, max_iter=2, random_state=0, checkpoint=path, checkpoint_every=1).fit(X, y)


def stopped(folder: Path) -> None:
    """Fits that fail: on the way, and before it."""
    X, y = digits(per_class=6)
    calls = itertools.count()

    def kernel(a: Any, b: Any) -> Any:
        if next(calls) > 5:
            raise ArithmeticError("on the way")
        return a @ b.transpose(-1, -2)

    with pytest.raises(ArithmeticError, match="on the way"):
        M3DCondenser(1, kernel=kernel, max_iter=5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="device"):
        NetworkClassifier(device="cuda:99").fit(X, y)


def saved_and_evaluated(folder: Path) -> None:
    X, y = iris()
    condensed = Herding(2).fit(X, y).condensed_
    loaded = CondensedSet.load(condensed.save(folder / "set.npz"))
    evaluate(loaded, X, y, n_networks=2, max_iter=2, random_state=0)


JOBS = [
    *map(in_memory, ESTIMATORS),
    from_a_map,
    from_a_data_set,
    gone_on_with,
    stopped,
    saved_and_evaluated,
]


@pytest.mark.parametrize("fits", [FITS, pytest.param(MORE, marks=pytest.mark.slow)])
def test_nothing_is_left_behind(fits, tmp_path):
    jobs = itertools.cycle(JOBS)
    for _ in range(3 * len(JOBS)):  # the first of each import, and allocate what stays
        next(jobs)(tmp_path)
    memory, files, threads = taken()
    for _ in range(fits):
        next(jobs)(tmp_path)
    after, *others = taken()
    print(f"{fits} jobs: {(after - memory) / 1e6:+.1f} MB, {others} files and threads")
    assert others == [files, threads]
    assert after - memory < GROWTH


def test_the_look_sees_what_is_left_behind(tmp_path):
    before = taken()
    kept = np.ones(int(2 * GROWTH) // 8)
    with (tmp_path / "open").open("w"):
        after = taken()
    assert after[0] - before[0] > GROWTH
    assert after[1] == before[1] + 1
    del kept
    assert taken()[0] - before[0] < GROWTH
