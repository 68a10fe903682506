import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from common import digits, iris
from problems import recipe_of

from m3d_sklearn import CondensedClassifier, Herding, M3DCondenser, NetworkClassifier, evaluate
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.progress import Bar, watching


def quick(**settings):
    return M3DCondenser(ipc=1, **({"max_iter": 12, "random_state": 0} | settings))


def last_line(err):
    """What a terminal shows in the end: a bar draws over itself."""
    return err.replace("\n", "\r").strip("\r").split("\r")[-1]


def test_the_bar_tells_iteration_loss_and_rate_on_stderr(capfd):
    X, y = iris()
    condenser = quick(verbose=1).fit(X, y)
    out, err = capfd.readouterr()
    assert out == ""
    line = last_line(err)
    assert "M3DCondenser" in line
    assert "12/12" in line
    assert re.search(r"\d(it/s|s/it)", line)
    (loss,) = re.findall(r"loss=([\d.e+-]+)", line)
    assert float(loss) == pytest.approx(condenser.loss_curve_[-1], rel=1e-3)
    assert re.search(r"\d\d:\d\d<", line)  # time spent, time left


@pytest.mark.parametrize("data", [iris, digits])
def test_nothing_is_printed_unless_asked_for(capfd, data):
    X, y = data()
    quick(max_iter=2).fit(X, y)
    NetworkClassifier(max_iter=2).fit(X, y)
    condensed = Herding(ipc=2, features="mlp", feature_epochs=1).fit(X, y).condensed_
    evaluate(condensed, X, y, n_networks=1, max_iter=1)
    CondensedClassifier(Herding(), NetworkClassifier(max_iter=1)).fit(X, y).predict(X)
    assert capfd.readouterr() == ("", "")


def test_a_bar_changes_nothing():
    X, y = iris()
    silent, shown = (quick(verbose=v).fit(X, y) for v in (0, 1))
    np.testing.assert_array_equal(silent.condensed_.X, shown.condensed_.X)
    np.testing.assert_array_equal(silent.loss_curve_, shown.loss_curve_)


def test_a_run_that_ends_early_leaves_the_bar_where_it_ended(capfd):
    X, y = iris()
    quick(verbose=1, max_iter=100, tol=1e9, n_iter_no_change=10).fit(X, y)
    assert "20/100" in last_line(capfd.readouterr().err)


def test_a_run_that_time_ends_shows_seconds(capfd):
    condenser = quick(verbose=1, max_iter="auto", max_time=1.0).fit(*iris())
    line = last_line(capfd.readouterr().err)
    assert "100%" in line
    assert "1/1 s" in line
    iterations = int(re.search(r"iterations=(\d+)", line)[1])
    assert 0 < iterations <= condenser.n_iter_
    assert "loss=" in line


def test_a_run_without_iterations_shows_a_full_bar(capfd):
    quick(verbose=1, max_iter=0).fit(*iris())
    assert "0it" in capfd.readouterr().err


def test_other_work_shows_bars_of_its_own(capfd):
    X, y = iris()
    condensed = Herding(ipc=2, features="mlp", feature_epochs=2, verbose=1).fit(X, y).condensed_
    err = capfd.readouterr().err
    assert "NetworkClassifier" in err
    assert "2/2" in err
    evaluate(condensed, X, y, n_networks=2, max_iter=3, verbose=1)
    err = capfd.readouterr().err
    assert "evaluate" in err
    assert "3/3" in err


def test_an_interrupted_run_raises_and_closes_its_bar(capfd):
    X, y = iris()
    calls = []

    def interrupted(x, z):
        calls.append(1)
        if len(calls) > 10:
            raise KeyboardInterrupt
        return x @ z.transpose(1, 2)

    with pytest.raises(KeyboardInterrupt):
        quick(verbose=1, kernel=interrupted).fit(X, y)
    assert capfd.readouterr().err.endswith("\n")


class Tasks:
    """A callback of scikit-learn that counts tasks."""

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        return False


@pytest.mark.parametrize(
    "settings",
    [{}, {"tol": 1e9, "n_iter_no_change": 10}, {"max_time": 0.05}],
    ids=["to the end", "no change", "out of time"],
)
def test_callbacks_see_every_iteration_end_however_the_run_ends(settings):
    pytest.importorskip("sklearn.callback")
    tasks = Tasks()
    condenser = quick(**({"max_iter": 40 if not settings.get("max_time") else "auto"} | settings))
    condenser.set_callbacks(tasks).fit(*iris())
    assert tasks.ended.count("iteration") >= condenser.n_iter_
    assert sorted(tasks.begun) == sorted(tasks.ended)


# The pieces


def test_nobody_watching_costs_no_hook():
    with watching() as watch:
        assert watch is None
    with watching(None, None) as watch:
        assert watch is None


def test_every_watcher_is_told_and_any_can_stop():
    told = []

    def watcher(name, answer):
        def tell(progress):
            told.append(name)
            return answer

        tell.close = lambda: told.append(f"{name} closed")
        return tell

    with watching(watcher("one", True), None, watcher("two", False)) as watch:
        assert watch(SimpleNamespace()) is True
        assert told == ["one", "two"]  # the second is asked although the first stops
    assert told[2:] == ["one closed", "two closed"]
    with watching(watcher("three", False)) as watch:
        assert watch(SimpleNamespace()) is False


def test_the_loss_is_read_no_more_than_twice_a_second(capfd):
    # On a GPU each look waits for the device.
    looks = []

    class Counted(Progress):
        def loss(self, last=1):
            looks.append(self.n_iter)
            return 0.5

    bar = Bar("run", recipe_of([1], max_iter=1000))
    progress = Counted(torch.zeros(1))
    for progress.n_iter in range(1, 1001):
        bar(progress)
        if progress.n_iter == 500:
            bar.looked -= 1.0  # as if a second had gone by
    bar.close()
    # The first look belongs to iteration 501, the last to the end; a slow machine may add some.
    assert {501, 1000} <= set(looks)
    assert len(looks) < 20
