"""A fit that was stopped goes on, and ends as if it had not been."""

from __future__ import annotations

import random
import signal
import threading
import time
from unittest import mock

import numpy as np
import pytest
import torch
from common import Dropping, colour, digits, iris, quietly
from killed_fits import ITERATIONS, Fit, saved_iterations

from m3d_sklearn import (
    CAFECondenser,
    CondensedClassifier,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    IDMCondenser,
    M3DCondenser,
    Random,
)
from m3d_sklearn.core import checkpoint
from m3d_sklearn.core.keeper import Keeper
from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.sources import FreshNetworks

ENDED = 23  # iterations of a whole run here


class Stopped(Exception):
    """Stands for what ends a process between two iterations."""


def quick(cls=M3DCondenser, **settings):
    return cls(**({"ipc": 2, "max_iter": ENDED, "random_state": 0} | settings))


def stopped_at(n_iter, estimator, X, y):
    """Fit until an iteration is done and its checkpoint written, and no further."""
    between = Keeper.between

    def stop(self, now):
        between(self, now)
        if now == n_iter:
            raise Stopped

    with mock.patch.object(Keeper, "between", stop), pytest.raises(Stopped):
        estimator.fit(X, y)


def assert_same_fit(one, other):
    np.testing.assert_array_equal(np.asarray(one.condensed_.X), np.asarray(other.condensed_.X))
    np.testing.assert_array_equal(one.condensed_.soft_labels, other.condensed_.soft_labels)
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)
    assert one.n_iter_ == other.n_iter_


TAUGHT = {"pool": 1, "iterations_per_network": 1, "max_iter": 24, "soft_labels": True}
RUNS = {
    "a table": (M3DCondenser, iris, {}),
    "images": (M3DCondenser, digits, {"batch_real": 5}),
    "all real rows every time": (M3DCondenser, digits, {"batch_real": 50}),
    "pool": (M3DCondenser, digits, {"pool": 2, "iterations_per_network": 2, "batch_real": 5}),
    "pool, soft labels": (M3DCondenser, digits, TAUGHT),
    "pool of MLPs": (
        M3DCondenser,
        digits,
        {"pool": 2, "network": "mlp", "iterations_per_network": 2},
    ),
    "mosaics, augmentation": (
        M3DCondenser,
        digits,
        {"factor": 2, "augmentation": ["color", ("crop", "cutout"), "rotate"]},
    ),
    "a draw for some iterations": (
        M3DCondenser,
        digits,
        {
            "iterations_per_draw": 4,
            "batch_real": 5,
            "factor": 2,
            "augmentation": ["color", ("crop", "cutout"), "rotate"],
        },
    ),
    "published": (M3DCondenser, digits, {"preset": "paper"}),
    "dropout": (M3DCondenser, iris, {"network": Dropping}),
    "dropout, a draw for some iterations": (
        M3DCondenser,
        iris,
        {"network": Dropping, "batch_real": 5, "iterations_per_draw": 4},
    ),
    "momentum 0": (M3DCondenser, digits, {"optimizer": "sgd", "momentum": 0.0}),
    "tol": (M3DCondenser, iris, {"tol": 1e-9, "n_iter_no_change": 10, "max_iter": 60}),
    "DM": (DMCondenser, digits, {"batch_real": 5}),
    "DM, published": (DMCondenser, digits, {"preset": "paper"}),
    "DC": (DCCondenser, digits, {"iterations_per_network": 3, "inner_epochs": 2, "batch_real": 5}),
    "DC, random networks": (DCCondenser, iris, {"iterations_per_network": 4, "inner_epochs": 0}),
    "DSA, published": (DSACondenser, colour, {"preset": "paper", "iterations_per_network": 3}),
    "CAFE": (CAFECondenser, digits, {"batch_real": 5}),
    "CAFE+DSA": (
        CAFECondenser,
        colour,
        {"augmentation": [("color", "crop", "flip")], "preset": "paper"},
    ),
    "IDM": (
        IDMCondenser,
        digits,
        {"push_every": 4, "queue_size": 5, "batch_real": 5, "soft_labels": True},
    ),
    "IDM, a full queue": (IDMCondenser, iris, {"push_every": 2, "queue_size": 3}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_ends_with_the_bits_of_the_unbroken_one(name, tmp_path):
    cls, data, settings = RUNS[name]
    X, y = data()
    whole = quick(cls, **settings).fit(X, y)
    path = tmp_path / "run.ckpt"
    kept = quick(cls, **settings, checkpoint=path, checkpoint_every=1)
    for n_iter in (1, 7, 10, 18):  # stopped again and again
        stopped_at(n_iter, kept, X, y)
        assert checkpoint.read(path)["run"]["progress"]["n_iter"] == n_iter
    assert_same_fit(kept.fit(X, y), whole)
    assert checkpoint.read(path)["finished"]


def test_keeping_a_run_changes_no_bit(tmp_path):
    X, y = digits()
    kept = quick(checkpoint=str(tmp_path / "run.ckpt"), checkpoint_every=3)
    assert_same_fit(kept.fit(X, y), quick().fit(X, y))


def test_a_finished_run_gives_its_result_at_once(tmp_path):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt").fit(X, y)
    before = (tmp_path / "run.ckpt").read_bytes()
    with mock.patch("m3d_sklearn.core.draws.draw_step", side_effect=Stopped):
        again = quick(checkpoint=tmp_path / "run.ckpt").fit(X, y)
    assert_same_fit(again, kept)
    assert (tmp_path / "run.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("cls", "settings"), [(M3DCondenser, TAUGHT), (IDMCondenser, {"soft_labels": True})]
)
def test_a_finished_run_gives_its_soft_labels(cls, settings, tmp_path):
    X, y = digits()
    kept, again = (
        quick(cls, **settings, checkpoint=tmp_path / "run.ckpt").fit(X, y) for _ in range(2)
    )
    assert kept.condensed_.soft_labels is not None
    assert_same_fit(again, kept)


def test_a_run_that_tol_ended_is_finished(tmp_path):
    X, y = iris()
    settings = {"tol": 0.999, "n_iter_no_change": 10, "max_iter": 60}
    kept = quick(**settings, checkpoint=tmp_path / "run.ckpt").fit(X, y)
    assert kept.n_iter_ == 20
    assert_same_fit(quick(**settings, checkpoint=tmp_path / "run.ckpt").fit(X, y), kept)


def test_without_a_seed_the_run_goes_on_with_the_seed_it_began_with(tmp_path):
    X, y = digits()
    path = tmp_path / "run.ckpt"
    np.random.seed(5)  # noqa: NPY002 - scikit-learn's None
    state = np.random.get_state()  # noqa: NPY002
    settings = {"random_state": None, "pool": 2, "iterations_per_network": 2}
    whole = quick(**settings).fit(X, y)
    np.random.set_state(state)  # noqa: NPY002
    kept = quick(**settings, checkpoint=path, checkpoint_every=1)
    stopped_at(9, kept, X, y)
    assert_same_fit(kept.fit(X, y), whole)


def test_time_spent_before_counts(tmp_path):
    X, y = iris()
    kept = quick(max_time=30.0, checkpoint=tmp_path / "run.ckpt", checkpoint_every=1)
    stopped_at(5, kept, X, y)
    tree = checkpoint.read(tmp_path / "run.ckpt")
    assert 0 < tree["run"]["progress"]["seconds"] < 30
    tree["run"]["progress"]["seconds"] = 29.999999
    checkpoint.write(tmp_path / "run.ckpt", tree)
    assert kept.fit(X, y).n_iter_ == 5


# Callbacks and bars


def test_callbacks_see_the_iterations_that_are_left_by_their_numbers(tmp_path):
    pytest.importorskip("sklearn.callback")
    from m3d_sklearn.callbacks import AccuracyCurve

    X, y = iris()
    curve = AccuracyCurve(X, y, [2, 12], network="mlp", max_steps=2)
    whole = quick().set_callbacks(curve).fit(X, y)
    later = curve.curve_[1]
    kept = quick(checkpoint=tmp_path / "run.ckpt", checkpoint_every=1).set_callbacks(curve)
    stopped_at(7, kept, X, y)
    assert [point["iteration"] for point in curve.curve_] == [2]
    assert_same_fit(kept.fit(X, y), whole)
    (point,) = curve.curve_
    assert (point["iteration"], point["scores"]) == (12, later["scores"])
    assert_same_fit(kept.fit(X, y), whole)  # of a finished run they see none
    assert curve.curve_ == []


def test_the_bar_goes_on_where_it_stopped(tmp_path, capfd):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt", checkpoint_every=1, verbose=1)
    stopped_at(7, kept, X, y)
    capfd.readouterr()
    kept.fit(X, y)
    err = capfd.readouterr().err
    assert f" 7/{ENDED}" in err
    assert f"{ENDED}/{ENDED}" in err


# Other parameters, other data


def changed(X, y):
    X = X.copy()
    X[3, 2] += 0.25
    return X, y


def relabelled(X, y):
    y = y.copy()
    y[[0, -1]] = y[[-1, 0]]
    return X, y


OTHERS = {
    "kernel": ({"kernel": "linear"}, "kernel ('rbf' there, 'linear' here)"),
    "ipc": ({"ipc": 3}, "ipc ("),
    "max_iter": ({"max_iter": 24}, "max_iter (23 there, 24 here)"),
    "batch_real": ({"batch_real": 7}, "batch_real (128 there, 7 here)"),
    "learning_rate": ({"learning_rate": 0.1}, "learning_rate (0.03 there, 0.1 here)"),
    "tol": ({"tol": 0.1}, "tol (None there, 0.1 here)"),
    "random_state": ({"random_state": 1}, "random_state (0 there, 1 here)"),
    "no random_state": ({"random_state": None}, "random_state (0 there, None here)"),
    "network": ({"network": MLP}, "network ('mlp' there, 'MLP' here)"),
    "init": ({"init": "noise"}, "init ('real' there, 'noise' here)"),
    "pool": ({"pool": 2}, "pool (0 there, 2 here)"),
}


@pytest.fixture(scope="module")
def of_iris(tmp_path_factory):
    """A checkpoint in the middle of a run."""
    path = tmp_path_factory.mktemp("kept") / "run.ckpt"
    stopped_at(4, quick(checkpoint=path, checkpoint_every=1), *iris())
    return path


@pytest.mark.parametrize("name", OTHERS)
def test_other_parameters_are_refused_by_name(name, of_iris):
    settings, said = OTHERS[name]
    before = of_iris.read_bytes()
    with pytest.raises(ValueError, match="checkpoint of another fit") as caught:
        quick(**settings, checkpoint=of_iris).fit(*iris())
    assert said in str(caught.value)
    assert "X (" not in str(caught.value)
    assert of_iris.read_bytes() == before


def test_a_random_state_is_told_as_it_was_given(of_iris, tmp_path):
    path = tmp_path / "run.ckpt"
    path.write_bytes(of_iris.read_bytes())
    told = r"random_state \({} there, {} here\)".format
    drew = r"a RandomState that drew {}".format
    with pytest.raises(ValueError, match=told("0", drew(1791095845))):
        quick(random_state=np.random.RandomState(1), checkpoint=path).fit(*iris())
    path.unlink()
    state = np.random.RandomState(1)
    stopped_at(2, quick(random_state=state, checkpoint=path, checkpoint_every=1), *iris())
    with pytest.raises(ValueError, match=told(drew(1791095845), drew(r"\d+"))):
        quick(random_state=state, checkpoint=path).fit(*iris())
    path.unlink()
    stopped_at(2, quick(random_state=None, checkpoint=path, checkpoint_every=1), *iris())
    with pytest.raises(ValueError, match=told("None", "3")):
        quick(random_state=3, checkpoint=path).fit(*iris())


def test_a_checkpoint_of_before_random_states_were_told_still_serves(of_iris, tmp_path):
    tree = checkpoint.read(of_iris)
    del tree["words"]
    checkpoint.write(tmp_path / "run.ckpt", tree)
    with pytest.raises(ValueError, match=r"random_state \(another there, 1 here\)"):
        quick(random_state=1, checkpoint=tmp_path / "run.ckpt").fit(*iris())
    assert_same_fit(quick(checkpoint=tmp_path / "run.ckpt").fit(*iris()), quick().fit(*iris()))


@pytest.mark.parametrize(("data", "name"), [(changed, "X ("), (relabelled, "y (")])
def test_other_data_are_refused_by_name(data, name, of_iris):
    with pytest.raises(ValueError, match="checkpoint of another fit") as caught:
        quick(checkpoint=of_iris).fit(*data(*iris()))
    assert f": {name}" in str(caught.value)


def test_another_method_is_refused(of_iris):
    with pytest.raises(ValueError, match=r"method \('M3DCondenser' there, 'DMCondenser' here\)"):
        quick(DMCondenser, checkpoint=of_iris).fit(*iris())


def test_other_rows_to_start_from_are_refused(tmp_path):
    X, y = iris()
    starts = [Random(2, random_state=seed).fit(X, y).condensed_ for seed in (0, 1)]
    kept = quick(init=starts[0], checkpoint=tmp_path / "run.ckpt", checkpoint_every=1)
    stopped_at(4, kept, X, y)
    with pytest.raises(ValueError, match=r"another fit: init \("):
        quick(init=starts[1], checkpoint=tmp_path / "run.ckpt").fit(X, y)
    assert_same_fit(kept.fit(X, y), quick(init=starts[0]).fit(X, y))


def test_a_factory_of_another_shape_is_refused(tmp_path):
    X, y = iris()
    kept = quick(network=lambda s, n: MLP(s, n, width=8), checkpoint=tmp_path / "run.ckpt")
    stopped_at(4, kept.set_params(checkpoint_every=1), X, y)
    with pytest.raises(ValueError, match=r"another fit: weights \("):
        kept.set_params(network=lambda s, n: MLP(s, n, width=9)).fit(X, y)


def test_what_changes_no_bit_may_change(of_iris, tmp_path, capfd):
    path = tmp_path / "moved.ckpt"
    path.write_bytes(of_iris.read_bytes())
    settings = {"checkpoint_every": "5min", "checkpoint_errors": "raise", "verbose": 1}
    kept = quick(checkpoint=path, **settings).fit(*iris())
    assert_same_fit(kept, quick().fit(*iris()))


def test_other_threads_are_told(of_iris, tmp_path):
    path = tmp_path / "moved.ckpt"
    path.write_bytes(of_iris.read_bytes())
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=r"threads \(1 there, 2 here\).*last bits"):
            quick(checkpoint=path).fit(*iris())
    finally:
        torch.set_num_threads(threads)


def test_a_fit_that_is_refused_leaves_the_earlier_one(of_iris):
    X, y = iris()
    condenser = quick(kernel="linear").fit(X, y)
    before = dict(vars(condenser))
    with pytest.raises(ValueError, match="another fit"):
        condenser.set_params(checkpoint=of_iris).fit(X, y)
    assert all(vars(condenser)[name] is before[name] for name in before if name != "checkpoint")


# Files and sources that cannot be gone on from


@pytest.mark.parametrize("content", [b"", b"hello", b"M3DCKPT\n"])
def test_a_file_that_is_no_checkpoint_is_left_alone(tmp_path, content):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint"):
        quick(checkpoint=path).fit(*iris())
    assert path.read_bytes() == content


def put(tree, place, value):
    *way, last = place
    for name in way:
        tree = tree[name]
    tree[last] = value


HOSTILE = {
    "rows": (("run", "progress", "rows"), torch.zeros(1)),
    "no rows": (("run", "progress", "rows"), None),
    "iterations": (("run", "progress", "n_iter"), -1),
    "more iterations than losses": (("run", "progress", "n_iter"), 10**8),
    "iterations by name": (("run", "progress", "n_iter"), "many"),
    "order": (("run", "pools", "order"), torch.full((75,), 10**6)),
    "order of other classes": (("run", "pools", "order"), torch.arange(74, -1, -1)),
    "used": (("run", "pools", "used"), [0, 0, 26]),
    "too few used": (("run", "pools", "used"), [0]),
    "a generator": (("run", "stream", "host"), torch.zeros(5056, dtype=torch.uint8)),
    "half a generator": (("run", "stream", "host"), torch.zeros(3, dtype=torch.uint8)),
    "no generator": (("run", "stream", "generator"), 3),
    "weights": (("run", "networks", "network"), {}),
    "the optimiser": (("run", "optimizer", "parameters"), [{"step": torch.zeros(())}]),
    "no optimiser": (("run", "optimizer", "parameters"), []),
    "the plateau": (("run", "plateau"), []),
    "the draw": (("run", "draws"), {}),
    "a draw of nothing": (("run", "draws", "drawn"), {}),
    "a part": (("run",), {}),
    "the run": (("run",), None),
    "the identity": (("identity",), [1]),
    "the words": (("words",), [1]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_whole_file_of_a_state_that_does_not_fit_is_refused(name, of_iris, tmp_path):
    tree = checkpoint.read(of_iris)
    put(tree, *HOSTILE[name])
    checkpoint.write(tmp_path / "hostile.ckpt", tree)
    with pytest.raises(ValueError, match=r"hostile\.ckpt is a checkpoint that does not fit"):
        quick(checkpoint=tmp_path / "hostile.ckpt").fit(*iris())


class Bare:
    """A source of networks without a state."""

    def __init__(self, fresh):
        self.fresh = fresh

    def __call__(self, progress):
        return self.fresh(progress)


def test_a_source_without_a_state_is_told_that_checkpoints_need_one(tmp_path):
    class Condenser(M3DCondenser):
        def _source(self, fresh, *_):
            assert isinstance(fresh, FreshNetworks)
            return Bare(fresh)

    X, y = iris()
    assert_same_fit(quick(Condenser).fit(X, y), quick().fit(X, y))
    with pytest.raises(ValueError, match=r"networks that have state_dict .*Bare has not"):
        quick(Condenser, checkpoint=tmp_path / "run.ckpt").fit(X, y)


# Failing writes


def full_disk(path, tree):
    raise OSError(28, "No space left on device")


def test_a_failed_write_warns_and_the_fit_goes_on(tmp_path, monkeypatch):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt", checkpoint_every=1)
    stopped_at(4, kept, X, y)
    before = (tmp_path / "run.ckpt").read_bytes()
    monkeypatch.setattr(checkpoint, "write", full_disk)
    with pytest.warns(UserWarning, match=r"could not be written.*No space.*the fit goes on"):
        kept.fit(X, y)
    assert_same_fit(kept, quick().fit(X, y))
    assert (tmp_path / "run.ckpt").read_bytes() == before


def test_a_failed_write_stops_the_fit_where_that_is_asked_for(tmp_path, monkeypatch):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt", checkpoint_every=1, checkpoint_errors="raise")
    stopped_at(4, kept, X, y)
    before = (tmp_path / "run.ckpt").read_bytes()
    monkeypatch.setattr(checkpoint, "write", full_disk)
    with pytest.raises(OSError, match=r"run.ckpt could not be written .*No space.*untouched"):
        kept.fit(X, y)
    assert (tmp_path / "run.ckpt").read_bytes() == before


def test_a_folder_that_goes_away_costs_no_work(tmp_path):
    X, y = iris()
    folder = tmp_path / "gone"
    folder.mkdir()
    start = Keeper.__enter__

    def enter(self):
        folder.rmdir()
        start(self)

    with (
        mock.patch.object(Keeper, "__enter__", enter),
        pytest.warns(UserWarning, match="could not be written"),
    ):
        kept = quick(checkpoint=folder / "run.ckpt").fit(X, y)
    assert_same_fit(kept, quick().fit(X, y))


def test_a_read_only_folder_is_refused_before_any_work(tmp_path):
    with (
        mock.patch("m3d_sklearn.core.keeper.os.access", return_value=False),  # root may all
        pytest.raises(ValueError, match="folder that can be written to"),
    ):
        quick(checkpoint=tmp_path / "run.ckpt").fit(*iris())


# How often


def writes(**settings):
    """Iterations at which a run is written."""
    seen = []
    with mock.patch.object(
        checkpoint, "write", lambda _, tree: seen.append(tree["run"]["progress"]["n_iter"])
    ):
        quick(**settings).fit(*iris())
    return seen


def test_a_run_is_written_every_so_many_iterations_and_at_its_end(tmp_path):
    kept = {"checkpoint": tmp_path / "run.ckpt"}
    assert writes(**kept, checkpoint_every=10) == [10, 20, ENDED]
    assert writes(**kept) == [ENDED]
    assert writes(**kept, checkpoint_every="0.000001s") == [*range(1, ENDED + 1), ENDED]


def test_nothing_is_copied_or_waited_for_between_two_writes(tmp_path):
    with (
        mock.patch.object(Keeper, "write") as write,
        mock.patch.object(torch.Tensor, "cpu", side_effect=AssertionError),
    ):
        keeper = Keeper(tmp_path / "run.ckpt", 1000, "warn")
        for n_iter in range(1000):
            keeper.between(n_iter)
    write.assert_not_called()


# Signals


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_no_handler_stays_behind(tmp_path, monkeypatch):
    before = handlers()
    X, y = iris()
    quick(checkpoint=tmp_path / "run.ckpt").fit(X, y)
    assert handlers() == before
    stopped_at(4, quick(checkpoint=tmp_path / "other.ckpt", checkpoint_every=1), X, y)
    assert handlers() == before
    monkeypatch.setattr(checkpoint, "write", full_disk)
    with pytest.raises(OSError, match="could not"):
        quick(checkpoint=tmp_path / "third.ckpt", checkpoint_errors="raise").fit(X, y)
    assert handlers() == before


def signalled_at(n_iter, *numbers):
    """Patches the loop so that signals come within an iteration."""
    from m3d_sklearn.core import draws

    draw, calls = draws.draw_step, []

    def draw_step(*arguments):
        calls.append(1)
        if len(calls) == n_iter:
            for number in numbers:
                signal.raise_signal(number)
        return draw(*arguments)

    return mock.patch.object(draws, "draw_step", draw_step)


def test_ctrl_c_writes_a_last_checkpoint_and_is_raised(tmp_path):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt")
    before = handlers()
    with signalled_at(9, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        kept.fit(X, y)
    assert handlers() == before
    assert saved_iterations(kept.checkpoint) == 9  # the iteration is finished first
    assert_same_fit(kept.fit(X, y), quick().fit(X, y))


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    kept = quick(checkpoint=tmp_path / "run.ckpt")
    before = handlers()
    with signalled_at(9, signal.SIGINT, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        kept.fit(*iris())
    assert handlers() == before
    assert not kept.checkpoint.exists()


def test_a_keyboard_interrupt_of_a_callback_writes_a_last_checkpoint(tmp_path):
    X, y = iris()
    kept = quick(checkpoint=tmp_path / "run.ckpt", verbose=1)

    def see(self, progress):
        if progress.n_iter == 9:
            raise KeyboardInterrupt
        return False

    with mock.patch("m3d_sklearn.progress.Bar.__call__", see), pytest.raises(KeyboardInterrupt):
        kept.fit(X, y)
    assert saved_iterations(kept.checkpoint) == 9
    assert_same_fit(kept.set_params(verbose=0).fit(X, y), quick().fit(X, y))


def test_a_handler_that_was_there_is_called_and_the_fit_goes_on(tmp_path):
    X, y = iris()
    seen = []

    def own(number, frame):
        seen.append((number, saved_iterations(tmp_path / "run.ckpt")))

    before = signal.signal(signal.SIGTERM, own)
    try:
        with signalled_at(9, signal.SIGTERM):
            kept = quick(checkpoint=tmp_path / "run.ckpt").fit(X, y)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [(signal.SIGTERM, 9)]
    assert_same_fit(kept, quick().fit(X, y))


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signalled_at(9, signal.SIGTERM):
            kept = quick(checkpoint=tmp_path / "run.ckpt").fit(*iris())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert kept.n_iter_ == ENDED


def test_a_signal_is_let_through_where_the_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "write", full_disk)
    for errors in ("warn", "raise"):
        kept = quick(checkpoint=tmp_path / "run.ckpt", checkpoint_errors=errors)
        with signalled_at(9, signal.SIGINT), pytest.raises(KeyboardInterrupt):
            quietly(kept.fit, *iris())


def test_other_threads_take_no_signals(tmp_path):
    X, y = iris()
    found = []

    def fit():
        with mock.patch("signal.signal", side_effect=AssertionError):
            found.append(quick(checkpoint=tmp_path / "run.ckpt").fit(X, y))

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert_same_fit(found[0], quick().fit(X, y))


def test_inside_a_classifier(tmp_path):
    X, y = iris()
    condenser = quick(checkpoint=tmp_path / "run.ckpt")
    first = CondensedClassifier(condenser).fit(X, y)
    assert_same_fit(CondensedClassifier(condenser).fit(X, y).condenser_, first.condenser_)
    with pytest.raises(ValueError, match="another fit: X"):
        CondensedClassifier(condenser).fit(*changed(X, y))


# Processes that end


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What the run comes to that nobody stops, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("unbroken")
    fit = Fit(folder)
    start = time.monotonic()
    assert fit.end() == 0
    return fit.result(), time.monotonic() - start


def test_sigterm_writes_a_last_checkpoint_and_ends_the_process(tmp_path, unbroken):
    fit = Fit(tmp_path)
    fit.wait_for(fit.path)
    fit.process.terminate()
    assert fit.end() == -signal.SIGTERM
    assert not fit.out.exists()
    assert 0 < saved_iterations(fit.path) < ITERATIONS
    again = Fit(tmp_path)
    assert again.end() == 0
    assert again.result() == unbroken[0]


def kill_at_random(folder, kills, unbroken, seed):
    """Kill runs at random moments, each gone on with until its end; iterations of each kill."""
    rng, (expected, seconds) = random.Random(seed), unbroken
    reached, runs = [], 0
    while len(reached) < kills:
        fit = Fit(folder, f"run{runs}")
        fit.process.join(rng.uniform(0, seconds))
        fit.process.kill()
        if fit.end() == 0:
            assert fit.result() == expected
            runs += 1
            continue
        assert fit.end() == -signal.SIGKILL
        reached.append(saved_iterations(fit.path) if fit.path.exists() else 0)
    last = Fit(folder, f"run{runs}")
    assert last.end() == 0
    assert last.result() == expected
    return reached


def test_a_few_kills_at_random_moments_change_no_bit(tmp_path, unbroken):
    assert max(kill_at_random(tmp_path, 4, unbroken, seed=0)) > 0


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_no_bit(tmp_path, unbroken):
    reached = kill_at_random(tmp_path, 50, unbroken, seed=1)
    print(f"killed after iterations {reached} of {ITERATIONS}")
    assert len(set(reached)) > 10


# Data in a file


def test_a_run_on_a_file_goes_on_in_memory_and_back(tmp_path):
    X, y = digits()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    path = tmp_path / "run.ckpt"
    kept = quick(batch_real=5, checkpoint=path, checkpoint_every=1, cache=0)
    stopped_at(7, kept, mapped, y)
    stopped_at(13, kept, X, y)
    assert_same_fit(kept.fit(mapped, y), quick(batch_real=5).fit(X, y))


# Queues


QUEUES = {
    "empty": ([], []),
    "too long": ([[]] * 4, [torch.zeros(())] * 4),
    "of other networks": ([[torch.zeros(1)]], [torch.zeros(())]),
    "without an accuracy": ([[]], []),
}


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_that_does_not_fit_is_refused(name, tmp_path):
    X, y = iris()
    path = tmp_path / "run.ckpt"
    kept = quick(IDMCondenser, queue_size=3, checkpoint=path, checkpoint_every=1)
    stopped_at(3, kept, X, y)
    tree = checkpoint.read(path)
    queue, accuracy = QUEUES[name]
    put(tree, ("run", "networks"), {"queue": queue, "accuracy": accuracy})
    checkpoint.write(path, tree)
    with pytest.raises(ValueError, match=r"run\.ckpt is a checkpoint that does not fit"):
        kept.fit(X, y)
