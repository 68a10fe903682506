import itertools
import pickle
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from common import digits, iris
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sources import Items

from m3d_sklearn import CondensedClassifier, M3DCondenser, callbacks, evaluate
from m3d_sklearn.callbacks import AccuracyCurve

pytest.importorskip("sklearn.callback")

QUICK = {"network": "mlp", "max_steps": 5, "device": "cpu"}


def condenser(**settings):
    known = {"ipc": 2, "max_iter": 12, "random_state": 0, "device": "cpu"}
    return M3DCondenser(**(known | settings))


def watched(iterations, data=iris, of=None, **settings):
    """A curve, and the condenser that it watched."""
    X, y = data()
    curve = AccuracyCurve(X, y, iterations, **(QUICK | settings))
    return curve, (of or condenser()).set_callbacks(curve).fit(X, y)


def taken(curve):
    return [point["iteration"] for point in curve.curve_]


@pytest.fixture
def evaluations():
    with mock.patch.object(callbacks, "evaluate", wraps=evaluate) as calls:
        yield calls


@pytest.fixture
def reconstructions():
    with mock.patch.object(
        M3DCondenser, "_fitted", autospec=True, side_effect=M3DCondenser._fitted
    ) as calls:
        yield calls


def test_points_are_at_the_iterations_chosen():
    curve, _ = watched([1, 2, 7, 12])
    assert taken(curve) == [1, 2, 7, 12]
    for point in curve.curve_:
        assert list(point) == ["iteration", "seconds", "accuracy", "std", "scores"]
        assert 0 <= point["accuracy"] <= 1


@pytest.mark.parametrize(
    "settings", [{"max_iter": 20}, {"max_iter": 100, "tol": 1e9, "n_iter_no_change": 10}]
)
def test_iterations_after_the_end_give_no_point(settings):
    curve, fitted = watched([5, 20, 21, 50], of=condenser(**settings))
    assert taken(curve) == [5, 20]
    assert fitted.n_iter_ == 20


@pytest.mark.parametrize("data", [iris, digits])
def test_the_rows_are_those_of_a_run_nobody_watches(data):
    X, y = data()
    _, fitted = watched(range(1, 13), data)
    alone = condenser().fit(X, y)
    np.testing.assert_array_equal(fitted.condensed_.X, alone.condensed_.X)
    np.testing.assert_array_equal(fitted.loss_curve_, alone.loss_curve_)


@pytest.mark.parametrize("n_networks", [1, 3])
def test_the_last_point_is_what_evaluate_says_of_the_set(n_networks):
    X, y = digits()
    curve, fitted = watched([1, 12], digits, n_networks=n_networks)
    settings = QUICK | {"n_networks": n_networks, "random_state": 0}
    result = evaluate(fitted.condensed_, X, y, **settings)
    last = curve.curve_[-1]
    assert last["scores"] == result.scores.tolist()
    assert (last["accuracy"], last["std"]) == (result.mean, result.std)
    assert len(last["scores"]) == n_networks


def test_every_point_is_what_a_run_that_stops_there_gives():
    X, y = digits()
    curve, _ = watched([3], digits, of=condenser(schedule="constant"))
    shorter = condenser(schedule="constant", max_iter=3).fit(X, y).condensed_
    result = evaluate(shorter, X, y, n_networks=1, random_state=0, **QUICK)
    assert curve.curve_[0]["scores"] == result.scores.tolist()


def test_all_parameters_reach_evaluate(evaluations):
    X, y = iris()
    settings = {
        "n_networks": 2,
        "network": "mlp",
        "protocol": "dc",
        "max_steps": 3,
        "random_state": 5,
        "device": "cpu",
        "precision": "float32",
    }
    condenser().set_callbacks(AccuracyCurve(X, y, [4], **settings)).fit(X, y)
    (call,) = evaluations.call_args_list
    assert call.kwargs == settings
    assert call.args[1:] == (X, y)


def test_only_chosen_iterations_cost_anything(evaluations, reconstructions):
    watched([3, 9])
    assert evaluations.call_count == 2
    assert reconstructions.call_count == 2 + 1  # and once for the fit itself


def test_unset_it_costs_nothing(evaluations, reconstructions):
    condenser().fit(*iris())
    assert evaluations.call_count == 0
    assert reconstructions.call_count == 1


def test_other_callbacks_beside_it_are_served(reconstructions):
    X, y = iris()
    counted = mock.Mock(return_value=False)

    class Counting:
        setup = teardown = on_fit_task_begin = staticmethod(lambda estimator, context: None)

        def on_fit_task_end(self, estimator, context):
            counted()

    curve = AccuracyCurve(X, y, [3, 9], **QUICK)
    condenser().set_callbacks(Counting(), curve, Counting()).fit(X, y)
    assert taken(curve) == [3, 9]
    assert counted.call_count == 2 * (12 + 1)
    assert reconstructions.call_count == 2 + 1


def test_a_new_fit_starts_a_new_curve():
    X, y = iris()
    curve, fitted = watched([1, 12])
    first = curve.curve_
    fitted.fit(X, y)
    assert curve.curve_ is not first
    assert [p["scores"] for p in curve.curve_] == [p["scores"] for p in first]
    fitted.set_params(max_iter=0).fit(X, y)
    assert curve.curve_ == []


def test_a_generator_of_iterations_serves_every_fit():
    X, y = iris()
    curve, fitted = watched(2**k for k in range(4))
    fitted.fit(X, y)
    assert taken(curve) == [1, 2, 4, 8]


def test_seconds_are_those_of_fitting_alone(monkeypatch):
    ticks = itertools.count()
    waits = iter([100.0, 1000.0])
    late = [0.0]
    clock = mock.Mock(perf_counter=lambda: next(ticks) + late[0])
    monkeypatch.setattr(callbacks, "time", clock)
    point = mock.Mock(mean=0.5, std=0.0, scores=np.array([0.5]))

    def slow(*args, **kwargs):
        late[0] += next(waits)
        return point

    monkeypatch.setattr(callbacks, "evaluate", slow)
    curve, _ = watched([2, 4])
    # A clock that steps at each look: one step from start to pause, one from there to the next.
    assert [p["seconds"] for p in curve.curve_] == [1.0, 2.0]


def test_making_the_fitted_estimator_is_no_fitting(monkeypatch):
    whole, late, looks = M3DCondenser._fitted, [0.0], itertools.count()
    clock = mock.Mock(perf_counter=lambda: next(looks) + late[0])
    monkeypatch.setattr(callbacks, "time", clock)

    def slow(self, task, result):
        late[0] += 1000.0
        return whole(self, task, result)

    monkeypatch.setattr(M3DCondenser, "_fitted", slow)
    curve, _ = watched([1, 2, 3])
    assert late[0] >= 3000.0
    assert [p["seconds"] for p in curve.curve_] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("device", "waits"), [("cpu", 0), ("cuda", 1)])
def test_the_clock_waits_for_an_accelerator_once_a_pause(device, waits, monkeypatch):
    synchronize = mock.Mock()
    monkeypatch.setattr(torch.accelerator, "synchronize", synchronize)
    clock = callbacks._Clock(torch.device(device))
    clock.pause()
    stood = clock.seconds
    clock.pause()
    assert clock.seconds == stood > 0
    assert synchronize.call_count == waits


@pytest.mark.parametrize("where", ["classifier", "condenser", "condenser, cached"])
def test_inside_a_condensed_classifier(where, tmp_path):
    X, y = digits()
    curve = AccuracyCurve(X, y, [1, 12], **QUICK)
    inner, memory = condenser(), str(tmp_path) if "cached" in where else None
    if where != "classifier":
        inner.set_callbacks(curve)
    classifier = CondensedClassifier(inner, LogisticRegression(), memory=memory)
    if where == "classifier":
        classifier.set_callbacks(curve)
    classifier.fit(X, y)
    alone, fitted = watched([1, 12], digits)
    assert [p["scores"] for p in curve.curve_] == [p["scores"] for p in alone.curve_]
    np.testing.assert_array_equal(classifier.condenser_.condensed_.X, fitted.condensed_.X)


def test_clones_share_the_callback():
    X, y = iris()
    curve = AccuracyCurve(X, y, [2], **QUICK)
    clone(condenser().set_callbacks(curve)).fit(X, y)
    assert taken(curve) == [2]


def test_it_can_be_pickled_before_and_after():
    curve, _ = watched([1, 12])
    back = pickle.loads(pickle.dumps(curve))
    assert back.curve_ == curve.curve_
    X, y = iris()
    fresh = pickle.loads(pickle.dumps(AccuracyCurve(X, y, [12], **QUICK)))
    condenser().set_callbacks(fresh).fit(X, y)
    assert fresh.curve_[0]["scores"] == curve.curve_[-1]["scores"]


def test_global_generators_stay_as_they_are():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    watched([1, 12])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


# What is refused

BAD_ITERATIONS = [[0, 1], [-1], [1, 1], [5, 2], [], [1.5], ["a"], 10, None, np.array([3.0])]


@pytest.mark.parametrize("iterations", BAD_ITERATIONS, ids=str)
def test_iterations_must_be_whole_numbers_that_rise(iterations, evaluations):
    X, y = iris()
    curve = AccuracyCurve(X, y, iterations)  # not yet
    with pytest.raises(ValueError, match=r"iterations must be whole numbers of 1 or more.*; got"):
        condenser().set_callbacks(curve).fit(X, y)
    assert evaluations.call_count == 0


@pytest.mark.parametrize("iterations", [np.array([1, 5]), (1, 5), range(1, 6, 4)])
def test_any_sequence_of_whole_numbers_will_do(iterations):
    curve, _ = watched(iterations)
    assert taken(curve) == [1, 5]


@pytest.mark.parametrize(
    "setting",
    [
        {"n_networks": 0},
        {"network": 3},
        {"protocol": "m4d"},
        {"max_steps": 0},
        {"random_state": "a"},
        {"device": "abacus"},
        {"precision": "float7"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_parameters_of_evaluate_are_checked_before_the_first_iteration(setting):
    X, y = iris()
    curve = AccuracyCurve(X, y, [12], **setting)
    fitted = condenser().set_callbacks(curve)
    with (
        mock.patch("m3d_sklearn.core.draws.draw_step", side_effect=AssertionError("too late")),
        pytest.raises(ValueError, match=f"{next(iter(setting))}.* must be"),
    ):
        fitted.fit(X, y)


TABLE, LABELS = iris()
BAD_ROWS = {
    "columns": (TABLE[:, :3], LABELS, r"X_test must have rows of shape \(4,\)"),
    "lengths": (TABLE, LABELS[:-1], "X_test and y_test must have the same number"),
    "NaN": (np.where(TABLE > 5, np.nan, TABLE), LABELS, "X_test .* got NaN or infinity"),
    "labels of two columns": (TABLE, TABLE[:, :2], "y_test must hold a label per row"),
    "other labels": (TABLE, LABELS.astype(str), "y_test must hold classes"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_held_out_rows_are_checked_before_the_first_iteration(bad, wrapped):
    X_test, y_test, words = BAD_ROWS[bad]
    fitted = condenser()
    if wrapped:
        fitted = CondensedClassifier(fitted, LogisticRegression())
    fitted.set_callbacks(AccuracyCurve(X_test, y_test, [12], **QUICK))
    with (
        mock.patch("m3d_sklearn.core.draws.draw_step", side_effect=AssertionError("too late")),
        pytest.raises(ValueError, match=words),
    ):
        fitted.fit(TABLE, LABELS)


@pytest.mark.parametrize("kind", ["list", "tensor", "frame", "data set"])
def test_data_of_every_kind_are_checked(kind):
    X, y = iris()
    given = {
        "list": (X.tolist(), y.tolist()),
        "tensor": (torch.from_numpy(X), torch.from_numpy(y)),
        "frame": (pd.DataFrame(X, columns=list("abcd")), pd.Series(y, dtype="category")),
        "data set": (Items(X, y), None),
    }[kind]
    curve = AccuracyCurve(*given, [2], **QUICK)
    condenser(max_iter=2).set_callbacks(curve).fit(*given)
    assert taken(curve) == [2]


def test_an_error_of_evaluate_ends_the_fit_and_the_next_one_is_whole():
    X, y = iris()
    curve = AccuracyCurve(X[:, :3], y, [2, 4], **QUICK)
    fitted = condenser().set_callbacks(curve)
    with pytest.raises(ValueError, match="X_test must have rows of shape"):
        fitted.fit(X, y)
    curve.X_test = X
    fitted.fit(X, y)
    assert taken(curve) == [2, 4]


def test_a_run_out_of_time_has_the_points_it_came_to():
    curve, fitted = watched(range(1, 10**4), of=condenser(max_iter=10**6, max_time=0.3))
    assert taken(curve) == list(range(1, fitted.n_iter_ + 1))
