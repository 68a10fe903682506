"""A fit that is stopped in its middle is gone on with, to the same set."""

import signal

import pytest
from grids import contents, quick, same_sets

from m3d_sklearn import M3DCondenser
from m3d_sklearn.benchmark import ResultsFolder
from m3d_sklearn.core.checkpoint import CheckpointError
from m3d_sklearn.core.keeper import Keeper

ITERATIONS = 12


@pytest.fixture
def iterations(monkeypatch):
    """Iterations that were made under a checkpoint, by their number."""
    seen, between = [], Keeper.between

    def told(self, n_iter):
        seen.append(n_iter)
        between(self, n_iter)

    monkeypatch.setattr(Keeper, "between", told)
    return seen


def run(out, max_iter=ITERATIONS, **settings):
    return quick(M3DCondenser(max_iter=max_iter), out=out, **settings)


def interrupted(out, monkeypatch, after=5, **settings):
    """Stop a grid as Ctrl-C does."""
    between = Keeper.between

    def stopped(self, n_iter):
        if n_iter == after:
            signal.raise_signal(signal.SIGINT)
        between(self, n_iter)

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "between", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(out, **settings)


def checkpoints(out):
    return list((out / "cells").glob("*.ckpt"))


def test_an_interrupted_fit_goes_on(iterations, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(whole)
    assert checkpoints(whole) == []
    interrupted(out, monkeypatch)
    assert contents(out) == {}
    assert len(checkpoints(out)) == 1
    iterations.clear()
    assert run(out)["status"].tolist() == ["done"]
    assert iterations == list(range(6, ITERATIONS + 1))
    assert same_sets(whole, out) == 1
    assert checkpoints(out) == []
    (one,), (other,) = contents(whole).values(), contents(out).values()
    assert one["key"] == other["key"]
    assert one["fit"]["params"] == other["fit"]["params"]
    assert one["fit"]["params"]["checkpoint"] is None


def test_the_seconds_are_those_of_all_of_the_fit(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    monkeypatch.setattr("m3d_sklearn.benchmark.interruptible._seconds_in", lambda path: 1000.0)
    assert run(tmp_path)["fit_seconds"][0] > 1000


def test_a_checkpoint_of_another_fit_is_removed(iterations, tmp_path, monkeypatch):
    out, other, whole = (tmp_path / name for name in ("out", "other", "whole"))
    interrupted(out, monkeypatch)
    interrupted(other, monkeypatch, seeds=[1])
    (path,), (others,) = checkpoints(out), checkpoints(other)
    path.write_bytes(others.read_bytes())
    iterations.clear()
    run(out)
    assert iterations == list(range(1, ITERATIONS + 1))
    run(whole)
    assert same_sets(whole, out) == 1
    assert checkpoints(out) == []


@pytest.mark.parametrize("held", [b"", b"M3DCKPT\n", b"nothing of the kind" * 10])
def test_a_damaged_checkpoint_is_removed(held, iterations, tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    (path,) = checkpoints(tmp_path)
    path.write_bytes(held)
    iterations.clear()
    assert run(tmp_path)["status"].tolist() == ["done"]
    assert iterations == list(range(1, ITERATIONS + 1))
    assert checkpoints(tmp_path) == []


def test_a_failed_fit_leaves_no_checkpoint(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)

    def broken(self, n_iter):
        raise RuntimeError("no way")

    monkeypatch.setattr(Keeper, "between", broken)
    with pytest.warns(UserWarning, match="failed"):
        run(tmp_path)
    assert checkpoints(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_an_error_of_the_fit_is_no_reason_to_fit_again(error, iterations, tmp_path, monkeypatch):
    between = Keeper.between

    def broken(self, n_iter):
        between(self, n_iter)
        if n_iter == 5:
            raise error("no way")

    monkeypatch.setattr(Keeper, "between", broken)
    with pytest.warns(UserWarning, match="failed"):
        run(tmp_path)
    assert iterations == list(range(1, 6))
    assert checkpoints(tmp_path) == []


def test_what_cannot_be_kept_is_fitted_without(tmp_path, monkeypatch):
    def without_state(self, parts):
        raise CheckpointError("checkpoint needs parts that have a state_dict")

    monkeypatch.setattr(Keeper, "restore", without_state)
    assert run(tmp_path)["status"].tolist() == ["done"]


def test_a_curve_has_all_its_points(iterations, tmp_path):
    run(tmp_path, curve=[1, 2])
    assert iterations == []
    (record,) = ResultsFolder(tmp_path).records()
    assert [point["iteration"] for point in record["curve"]] == [1, 2]


def test_a_checkpoint_of_the_users_own_is_refused(tmp_path):
    own = M3DCondenser(checkpoint=tmp_path / "mine.ckpt")
    with pytest.raises(ValueError, match=r"method 'mine': checkpoint must be None.*mine\.ckpt"):
        quick({"mine": own}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
