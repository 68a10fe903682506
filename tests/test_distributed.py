"""What several processes make together is what one makes."""

from __future__ import annotations

import os
import signal
import time
from unittest import mock

import numpy as np
import pytest
from common import Dropping, colour, digits, iris
from ranks import begin, in_ranks, outcomes

from m3d_sklearn import (
    CAFECondenser,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    Herding,
    IDMCondenser,
    M3DCondenser,
    Random,
    distributed,
    evaluate,
)
from m3d_sklearn.core import checkpoint
from m3d_sklearn.core.distributed import ranks

RUNS = {
    "M3D, a table": (M3DCondenser, iris, {}),
    "M3D, images": (M3DCondenser, digits, {"batch_real": 5}),
    "M3D, a pool": (M3DCondenser, digits, {"pool": 2, "iterations_per_network": 2}),
    "M3D, mosaics": (M3DCondenser, digits, {"factor": 2, "augmentation": ["color", "crop"]}),
    "M3D, a draw for a network": (
        M3DCondenser,
        digits,
        {"iterations_per_draw": 5, "batch_real": 5},
    ),
    "M3D, published": (M3DCondenser, colour, {"preset": "paper"}),
    "M3D, unequal classes": (M3DCondenser, digits, {"ipc": {0: 5, 1: 1, 2: 2}}),
    "M3D, tol": (M3DCondenser, iris, {"tol": 1e-9, "n_iter_no_change": 10, "max_iter": 60}),
    "M3D, from a file": (M3DCondenser, digits, {"cache": 0, "batch_real": 5}),
    "M3D, dropout": (M3DCondenser, iris, {"network": Dropping}),
    "DM": (DMCondenser, digits, {}),
    "DC": (DCCondenser, digits, {"iterations_per_network": 3, "inner_epochs": 1}),
    "DC, dropout": (DCCondenser, iris, {"network": Dropping, "iterations_per_network": 3}),
    "DSA": (DSACondenser, colour, {"iterations_per_network": 3, "inner_epochs": 1}),
    "CAFE": (CAFECondenser, digits, {}),
    "IDM": (IDMCondenser, iris, {"push_every": 2, "queue_size": 3}),
}


def quick(cls, **settings):
    return cls(**({"ipc": 2, "max_iter": 12, "random_state": 0} | settings))


def fit_all(_, names):
    found = {}
    for name in names:
        cls, data, settings = RUNS[name]
        fitted = quick(cls, **settings).fit(*data())
        found[name] = fitted.condensed_.X, fitted.loss_curve_, fitted.n_iter_
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_make_the_set_that_one_makes(size):
    together = in_ranks(size, fit_all, list(RUNS))
    for name in RUNS:
        (rows, losses, n_iter) = fit_all(None, [name])[name]
        for found in together:
            np.testing.assert_allclose(found[name][0], rows, atol=1e-6 * np.ptp(rows), rtol=0)
            np.testing.assert_allclose(found[name][1], losses, rtol=1e-5)
            assert found[name][2] == n_iter
        assert all(np.array_equal(found[name][0], together[0][name][0]) for found in together)


def more_than_classes(_):
    X, y = digits(2)
    fitted = quick(M3DCondenser).fit(X, y)
    return fitted.condensed_.X, evaluate(fitted.condensed_, X, y, n_networks=1, max_steps=3)


def test_more_ranks_than_classes_and_networks():
    found = in_ranks(3, more_than_classes)
    X, y = digits(2)
    alone = quick(M3DCondenser).fit(X, y).condensed_.X
    for rows, scored in found:
        np.testing.assert_allclose(rows, alone, atol=1e-6 * 16)
        assert scored.scores.shape == (1,)


def score(_):
    X, y = digits()
    condensed = Herding(ipc=2).fit(X, y).condensed_
    return evaluate(condensed, X, y, n_networks=3, max_steps=5, random_state=0).scores


def test_networks_of_an_evaluation_are_shared_out():
    for found in in_ranks(2, score):
        np.testing.assert_allclose(found, score(None), atol=1e-6)


def unseeded(_):
    X, y = digits()
    condenser = quick(M3DCondenser, random_state=None).fit(X, y)
    picked = Random(2).fit(X, y)
    scored = evaluate(picked.condensed_, X, y, n_networks=2, max_steps=1)
    return condenser.condensed_.X, picked.condensed_.X, scored.scores


def test_without_a_seed_all_take_the_first_ranks():
    first, second = in_ranks(2, unseeded)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def differing(others):
    X, y = digits()
    X[0, 0, 0] += others.rank
    quick(M3DCondenser).fit(X, y)


def test_other_data_in_one_process_are_refused_in_all():
    for well, said in outcomes(begin(3, differing)):
        assert not well
        assert said.startswith("ValueError: X and y must be the same in all processes")
        assert "[1, 2] have others" in said


def other_parameters(others):
    quick(M3DCondenser, max_iter=12 + others.rank, verbose=0).fit(*digits())


def test_other_parameters_in_one_process_are_refused_in_all():
    for well, said in outcomes(begin(2, other_parameters)):
        assert not well
        assert said.startswith("ValueError: max_iter must be the same in all processes")


def missing(others):
    X, y = digits()
    if others.rank == 1:
        X[0, 0, 0] = np.nan
    quick(M3DCondenser).fit(X, y)


def test_bad_data_in_one_process_end_all():
    first, second = outcomes(begin(2, missing))
    assert second[1].startswith("ValueError: Input X contains NaN")
    assert first[1].startswith("RuntimeError: rank 1 of 2 failed with ValueError: Input X")


def timed(_):
    fitted = quick(M3DCondenser, max_iter="auto", max_time=0.5).fit(*digits())
    return fitted.n_iter_, fitted.condensed_.X


def test_time_ends_all_at_the_same_iteration():
    (n_iter, rows), (other, same) = in_ranks(2, timed)
    assert n_iter == other > 0
    np.testing.assert_array_equal(rows, same)


# Checkpoints and ends


LONG = {"batch_real": 5, "max_iter": 60, "pool": 2, "checkpoint_every": 10}


def until(others, path, last):
    """Fit until a checkpoint of iteration `last` is there; one rank is then killed."""
    from m3d_sklearn.core.keeper import Keeper

    between = Keeper.between

    def stop(self, now):
        between(self, now)
        if now == last and others.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(Keeper, "between", stop):
        quick(M3DCondenser, **LONG, checkpoint=path).fit(*digits())


def go_on(_, path):
    fitted = quick(M3DCondenser, **LONG, checkpoint=path).fit(*digits())
    return fitted.condensed_.X, fitted.loss_curve_


def test_a_rank_that_is_killed_ends_the_others_and_the_run_goes_on_in_any_number(tmp_path):
    path = tmp_path / "run.ckpt"
    begun = time.monotonic()
    first, second = outcomes(begin(2, until, path, 30, timeout=20))
    assert second is None
    assert first[1].startswith("RuntimeError: rank 0 of 2 has no answer from the others")
    assert time.monotonic() - begun < 60
    assert checkpoint.read(path)["run"]["progress"]["n_iter"] == 30
    before = path.read_bytes()
    whole = quick(M3DCondenser, **LONG).fit(*digits())
    for size in (2, 3):
        path.write_bytes(before)
        for rows, losses in in_ranks(size, go_on, path):
            np.testing.assert_allclose(rows, whole.condensed_.X, atol=1e-6 * 16)
            np.testing.assert_allclose(losses, whole.loss_curve_, rtol=1e-5)
    path.write_bytes(before)
    with pytest.warns(UserWarning, match=r"ranks \(2 there, 1 here\)"):
        alone = quick(M3DCondenser, **LONG, checkpoint=path).fit(*digits())
    np.testing.assert_allclose(alone.condensed_.X, whole.condensed_.X, atol=1e-6 * 16)


def terminated(_, path):
    """The second rank is told to stop after iteration 13."""
    from m3d_sklearn.core.keeper import Keeper

    between = Keeper.between

    def stop(self, now):
        if now == 13 and ranks().rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        between(self, now)

    settings = LONG | {"checkpoint_every": "1h", "checkpoint": path}
    with mock.patch.object(Keeper, "between", stop):
        quick(M3DCondenser, **settings).fit(*digits())


def test_what_stops_one_rank_is_written_by_all_first(tmp_path):
    path = tmp_path / "run.ckpt"
    begun = begin(2, terminated, path, timeout=20)
    first, second = outcomes(begun)
    assert second is None
    assert begun[1][0].exitcode == -signal.SIGTERM
    assert first[1].startswith("RuntimeError: rank 0 of 2 has no answer")
    assert checkpoint.read(path)["run"]["progress"]["n_iter"] == 20  # the next that all agree on


def in_a_folder_of_its_own(others, folder):
    quick(M3DCondenser, checkpoint=folder / str(others.rank) / "run.ckpt").fit(*digits())


def test_ranks_have_to_see_one_checkpoint(tmp_path):
    for rank in "01":
        (tmp_path / rank).mkdir()
    quick(M3DCondenser, checkpoint=tmp_path / "0" / "run.ckpt").fit(*digits())
    for well, said in outcomes(begin(2, in_a_folder_of_its_own, tmp_path)):
        assert not well
        assert said.startswith("ValueError: checkpoint must be in a folder that all ranks see")


def in_no_folder(others, folder):
    path = folder / ("" if others.rank else "nowhere") / "run.ckpt"
    quick(M3DCondenser, checkpoint=path).fit(*digits())


def test_a_folder_that_one_rank_lacks_ends_all(tmp_path):
    first, second = outcomes(begin(2, in_no_folder, tmp_path))
    assert "folder that can be written to" in first[1]
    assert second[1].startswith("RuntimeError: rank 0 of 2 failed with ValueError: checkpoint")


def watched(_):
    from m3d_sklearn.callbacks import AccuracyCurve

    X, y = digits()
    curve = AccuracyCurve(X, y, [4, 9], network="mlp", max_steps=5, random_state=0)
    quick(M3DCondenser).set_callbacks(curve).fit(X, y)
    return [point["scores"] for point in curve.curve_]


def test_callbacks_see_all_rows():
    pytest.importorskip("sklearn.callback")
    alone = watched(None)
    for found in in_ranks(2, watched):
        np.testing.assert_allclose(found, alone, atol=1e-6)


def full_disk(_, path):
    with mock.patch.object(checkpoint, "write", side_effect=OSError(28, "No space left")):
        quick(M3DCondenser, **LONG, checkpoint=path, checkpoint_errors="raise").fit(*digits())


def test_a_full_disk_of_the_first_rank_stops_all(tmp_path):
    for well, said in outcomes(begin(2, full_disk, tmp_path / "run.ckpt")):
        assert not well
        assert "could not be written" in said
        assert "No space left" in said


def test_without_torchrun_it_says_what_is_missing():
    given = dict.fromkeys(("RANK", "WORLD_SIZE", "MASTER_ADDR"), "1")
    with (
        mock.patch.dict(os.environ, given),
        pytest.raises(ValueError, match=r"torchrun --nproc.* got no MASTER_PORT in the env"),
        distributed(),
    ):
        pass
    assert ranks().size == 1
