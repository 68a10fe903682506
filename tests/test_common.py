"""What holds for every public estimator."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import io
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from common import (
    CONDENSERS,
    ESTIMATORS,
    SMALL,
    answers,
    colour,
    digits,
    fresh_process,
    global_states,
    iris,
    name_of,
    quietly,
    result,
    small,
    unpassed,
)
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import get_tags

import m3d_sklearn
from m3d_sklearn import (
    CAFECondenser,
    CondensedClassifier,
    CondensedSampler,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    Herding,
    IDMCondenser,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    NetworkClassifier,
    Random,
    evaluate,
)
from m3d_sklearn.core import checkpoint
from m3d_sklearn.core.host_rows import HostRows

every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)


def test_small_settings_cover_every_public_estimator():
    assert set(SMALL) == set(ESTIMATORS)


# scikit-learn's own checks


@every_estimator
def test_check_estimator(cls):
    left = unpassed(small(cls))
    if os.environ.get("SCIPY_ARRAY_API") != "1":  # then scikit-learn skips this one itself
        assert left.pop("check_array_api_input", "skipped").startswith("skipped")
    assert left == {}


@every_estimator
def test_check_estimator_with_array_api(cls):
    assert fresh_process()["unpassed"][cls.__name__] == {}


@pytest.mark.slow
@pytest.mark.parametrize("random_state", [None, 0])
@every_estimator
def test_check_estimator_at_defaults(cls, random_state):
    left = unpassed(cls(random_state=random_state))
    left.pop("check_array_api_input", None)
    assert left == {}


@every_estimator
def test_tags_skip_no_check(cls):
    tags = get_tags(small(cls))
    assert not tags._skip_test
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert tags.classifier_tags is None or not tags.classifier_tags.poor_score
    assert tags.input_tags.two_d_array
    assert tags.target_tags.required


# Construction and documentation


@every_estimator
def test_made_without_arguments(cls):
    estimator = cls()
    assert vars(estimator) == estimator.get_params(deep=False)


@every_estimator
def test_init_stores_what_it_is_given(cls):
    given = {name: object() for name in cls().get_params(deep=False)}
    assert vars(cls(**given)) == given


@every_estimator
def test_clone_keeps_parameters(cls):
    estimator = small(cls)
    copied = clone(estimator)
    assert copied is not estimator
    assert repr(copied) == repr(estimator)
    plain = {k: v for k, v in estimator.get_params().items() if not hasattr(v, "fit")}
    assert {k: copied.get_params()[k] for k in plain} == plain


@pytest.mark.parametrize("cls", CONDENSERS, ids=name_of)
def test_only_ipc_may_be_positional(cls):
    first, *others = inspect.signature(cls).parameters.values()
    assert (first.name, first.kind) == ("ipc", first.POSITIONAL_OR_KEYWORD)
    assert {p.kind for p in others} == {first.KEYWORD_ONLY}
    assert {"random_state", "device"} <= {p.name for p in others}


def documented(thing: Any, section: str) -> list[str]:
    """Names that a numpydoc section describes, in order."""
    lines = inspect.getdoc(thing).splitlines()
    headers = [i for i in range(len(lines) - 1) if lines[i] and set(lines[i + 1]) == {"-"}]
    ends = dict(zip(headers, [*headers[1:], len(lines)], strict=True))
    (start,) = (i for i in headers if lines[i] == section)
    entries = [line for line in lines[start + 2 : ends[start]] if line and line[0] != " "]
    return [name.strip() for entry in entries for name in entry.split(" : ")[0].split(",")]


@pytest.mark.parametrize("thing", [*ESTIMATORS, evaluate], ids=name_of)
def test_documented_parameters_are_the_signature(thing):
    assert documented(thing, "Parameters") == list(inspect.signature(thing).parameters)


def public_fitted(estimator: Any) -> set[str]:
    return {
        name
        for name in dir(estimator)
        if name.endswith("_") and not name.startswith("_") and hasattr(estimator, name)
    }


@every_estimator
def test_documented_attributes_are_the_fitted_ones(cls):
    X, y = iris()
    promised = set(documented(cls, "Attributes"))
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert public_fitted(small(cls).fit(frame, y)) == promised
    assert public_fitted(small(cls).fit(X, y)) == promised - {"feature_names_in_"}


@pytest.mark.parametrize("thing", [m3d_sklearn.CondensedSet, m3d_sklearn.Evaluation], ids=name_of)
def test_documented_attributes_of_results_exist(thing):
    promised = set(documented(thing, "Attributes"))
    fields = {field.name for field in dataclasses.fields(thing)}
    assert fields <= promised
    assert promised <= fields | set(vars(thing))


def modules() -> list[str]:
    walk = pkgutil.walk_packages(m3d_sklearn.__path__, "m3d_sklearn.")
    return ["m3d_sklearn", *(module.name for module in walk)]


@pytest.mark.parametrize("module", modules())
def test_doctests(module):
    told = io.StringIO()
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(importlib.import_module(module)):
        runner.run(test, out=told.write)
    assert runner.failures == 0, told.getvalue()


@pytest.mark.parametrize("thing", [*ESTIMATORS, evaluate, m3d_sklearn.CondensedSet], ids=name_of)
def test_every_public_object_has_an_example(thing):
    assert doctest.DocTestFinder(recurse=False).find(thing)[0].examples


# Randomness


@pytest.mark.parametrize("make_data", [iris, digits, colour], ids=name_of)
@every_estimator
def test_same_random_state_same_bits(cls, make_data):
    X, y = make_data()
    estimator = small(cls, random_state=7)
    first = result(estimator.fit(X, y), X)
    assert np.array_equal(result(clone(estimator).fit(X, y), X), first)
    assert np.array_equal(result(estimator.fit(X, y), X), first)


@pytest.mark.parametrize("cls", [Random, M3DCondenser, NetworkClassifier], ids=name_of)
def test_other_random_state_other_result(cls):
    X, y = digits()
    first, second = (result(small(cls, random_state=seed).fit(X, y), X) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_random_state_reaches_what_is_inside():
    X, y = digits()
    open_inside = CondensedClassifier(Random(2), GaussianNB())
    first, again, other = (
        result(clone(open_inside).set_params(random_state=seed).fit(X, y).condenser_, X)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@every_estimator
def test_global_generators_untouched(cls, make_data):
    X, y = make_data()
    before = global_states()
    answers(small(cls, random_state=0).fit(X, y), X)
    assert global_states() == before


@every_estimator
def test_without_a_seed_only_numpys_generator_is_asked(cls):
    """As everywhere in scikit-learn, None draws a seed from numpy's global generator."""
    before = global_states()
    small(cls, random_state=None).fit(*digits())
    after = global_states()
    assert (after["torch"], after["Python"]) == (before["torch"], before["Python"])


def test_evaluate_and_network_features_leave_global_generators_alone():
    X, y = digits()
    before = global_states()
    condensed = (
        Herding(2, features="convnet", feature_epochs=1, random_state=0).fit(X, y).condensed_
    )
    evaluate(condensed, X, y, n_networks=1, max_iter=2, random_state=0)
    assert global_states() == before


# Every parameter counts


def seen_result(estimator: Any, X: Any, y: Any) -> Any:
    return result(estimator.fit(X, y), X)


def seen_similarities(estimator: Any, X: Any, y: Any) -> Any:
    return estimator.fit(X, y).transform(X)


def seen_shape(estimator: Any, X: Any, y: Any) -> Any:
    """Shape (n, channels, height, width) of what networks get to see."""
    return tuple(estimator.fit(X, y).condensed_.to_torch()[0].shape)


def seen_iterations(estimator: Any, X: Any, y: Any) -> Any:
    return estimator.fit(X, y).n_iter_


def seen_printed(estimator: Any, X: Any, y: Any) -> Any:
    """Whether anything is printed."""
    with redirect_stderr(io.StringIO()) as printed:
        estimator.fit(X, y)
    return bool(printed.getvalue())


def seen_refused(estimator: Any, X: Any, y: Any) -> Any:
    """Whether `fit` refuses."""
    try:
        estimator.fit(X, y)
    except ValueError as error:
        return "device='cuda:99'" in str(error)
    return False


@contextmanager
def counted(cls: type, method: str) -> Iterator[mock.Mock]:
    original = getattr(cls, method)
    with mock.patch.object(cls, method, autospec=True, side_effect=original) as counter:
        yield counter


def seen_trainings(estimator: Any, X: Any, y: Any) -> Any:
    """Trainings of the feature network in two fits of different ipc."""
    with counted(NetworkClassifier, "fit") as counter:
        estimator.fit(X, y)
        clone(estimator).set_params(ipc=1).fit(X, y)
    return counter.call_count


def seen_reads(estimator: Any, X: Any, y: Any) -> Any:
    """Times that rows are drawn from the host, and not from the device."""
    with counted(HostRows, "__getitem__") as counter:
        estimator.fit(X, y)
    return counter.call_count


def seen_condensations(estimator: Any, X: Any, y: Any) -> Any:
    """Condensations in two fits with different classifiers."""
    with counted(M3DCondenser, "_condense") as counter:
        estimator.fit(X, y)
        clone(estimator).set_params(estimator=GaussianNB()).fit(X, y)
    return counter.call_count


def seen_soft_labels(estimator: Any, X: Any, y: Any) -> Any:
    """Whether the set has soft labels."""
    return estimator.fit(X, y).condensed_.soft_labels is not None


def seen_writes(estimator: Any, X: Any, y: Any) -> Any:
    """Checkpoints written by one fit."""
    with mock.patch.object(checkpoint, "write") as writer:
        estimator.fit(X, y)
    return writer.call_count


def seen_on_a_full_disk(estimator: Any, X: Any, y: Any) -> Any:
    """What becomes of a fit that cannot write."""
    with mock.patch.object(checkpoint, "write", side_effect=OSError("no space")):
        try:
            quietly(estimator.fit, X, y)
        except OSError:
            return "stopped"
    return "fitted"


def flat_digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = digits()
    return X.reshape(len(X), -1), y


def boxes() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 2, 8, 4), of 2 channels first or 4 last."""
    X, y = digits()
    return X.reshape(-1, 2, 8, 4), y


def cubes() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 4, 4, 4), which have their channels first or last."""
    X, y = digits()
    return X.reshape(-1, 4, 4, 4), y


@dataclasses.dataclass
class Change:
    """One parameter changed, and where that shows."""

    to: Any
    base: dict[str, Any] = dataclasses.field(default_factory=dict)
    see: Callable[[Any, Any, Any], Any] = seen_result
    data: Callable[[], tuple[np.ndarray, np.ndarray]] = digits
    expected: tuple[Any, Any] | None = None


LAYOUT = {
    "image_shape": Change((8, 8), see=seen_similarities, data=flat_digits),
    "channel_axis": Change(
        1,
        {"channel_axis": -1},
        see=seen_shape,
        data=boxes,
        expected=((6, 4, 2, 8), (6, 2, 8, 4)),
    ),
}
DEVICE = {"device": Change("cuda:99", see=seen_refused, expected=(False, True))}
VERBOSE = {"verbose": Change(1, see=seen_printed, expected=(False, True))}
BY_NETWORK = {"features": "mlp", "feature_epochs": 2, "ipc": 5, "random_state": 0}
FEATURES = {
    "ipc": Change(3),
    "features": Change("mlp", {"feature_epochs": 2, "ipc": 5, "random_state": 0}),
    "feature_epochs": Change(20, BY_NETWORK),
    "memory": Change("a folder", BY_NETWORK, see=seen_trainings, expected=(2, 1)),
    "random_state": Change(1, BY_NETWORK),
    "verbose": Change(1, BY_NETWORK, see=seen_printed, expected=(False, True)),
}
MATCHING = {
    "ipc": Change(3),
    "image_shape": Change((8, 8), data=flat_digits),
    "channel_axis": Change(1, {"channel_axis": -1}, data=cubes),
    "preset": Change("paper"),
    "network": Change("mlp"),
    "factor": Change(2),
    "augmentation": Change(["flip"]),
    "init": Change("noise"),
    "max_iter": Change(6, see=seen_iterations, expected=(5, 6)),
    "max_time": Change(1e-9, see=seen_iterations, expected=(5, 0)),
    "iterations_per_network": Change(2),
    "batch_real": Change(5),
    "optimizer": Change("sgd"),
    "learning_rate": Change(0.1),
    "momentum": Change(0.5),
    "schedule": Change("constant"),
    "tol": Change(
        0.999,
        {"max_iter": 40, "n_iter_no_change": 10},
        see=seen_iterations,
        data=iris,
        expected=(40, 20),
    ),
    "n_iter_no_change": Change(
        15,
        {"max_iter": 40, "tol": 0.999, "n_iter_no_change": 10},
        see=seen_iterations,
        data=iris,
        expected=(20, 30),
    ),
    "precision": Change("bfloat16"),
    "cache": Change(0, see=seen_reads),
    "checkpoint": Change("a file", see=seen_writes, expected=(0, 1)),
    "checkpoint_every": Change(2, {"checkpoint": "a file"}, see=seen_writes, expected=(1, 3)),
    "checkpoint_errors": Change(
        "raise", {"checkpoint": "a file"}, see=seen_on_a_full_disk, expected=("fitted", "stopped")
    ),
    "random_state": Change(1),
}
GRADIENTS = MATCHING | {"inner_epochs": Change(0)}
QUEUED = {name: change for name, change in MATCHING.items() if name != "iterations_per_network"}
MLP = {"network": "mlp"}
CHANGES: dict[type, dict[str, Change]] = {
    Random: {"ipc": Change(3), "random_state": Change(1)} | LAYOUT | DEVICE,
    Herding: FEATURES | LAYOUT | DEVICE,
    KCenter: FEATURES | LAYOUT | DEVICE,
    KMeansCenters: {
        "ipc": Change(3),
        "n_init": Change(10, {"ipc": 8}),
        "max_iter": Change(1, see=seen_iterations),
        "random_state": Change(1, {"n_init": 1}),
    }
    | LAYOUT
    | DEVICE,
    CAFECondenser: QUEUED | DEVICE | VERBOSE,
    DCCondenser: GRADIENTS | DEVICE | VERBOSE,
    DSACondenser: GRADIENTS | DEVICE | VERBOSE,
    DMCondenser: MATCHING | DEVICE | VERBOSE,
    IDMCondenser: QUEUED
    | {
        "queue_size": Change(1),
        "push_every": Change(2),
        "training_steps": Change(0),
        "calibration": Change(1.0),
        "soft_labels": Change(True, see=seen_soft_labels, expected=(False, True)),
    }
    | DEVICE
    | VERBOSE,
    M3DCondenser: MATCHING
    | {
        "width": Change(8),
        "kernel": Change("linear"),
        "bandwidth": Change(1.0),
        "pool": Change(2, {"iterations_per_network": 1, "max_iter": 40}),
        "calibration": Change(1.0, {"pool": 1, "iterations_per_network": 1}),
        "iterations_per_draw": Change(2, {"batch_real": 5}),
        "soft_labels": Change(
            True,
            {"pool": 1, "iterations_per_network": 1, "max_iter": 10, "batch_real": 30},
            see=seen_soft_labels,
            expected=(False, True),
        ),
    }
    | DEVICE
    | VERBOSE,
    NetworkClassifier: {
        "network": Change("mlp"),
        "max_iter": Change(6, MLP),
        "protocol": Change("dc", MLP),
        "batch_size": Change(16, MLP),
        "learning_rate": Change(0.02, MLP),
        "momentum": Change(0.5, MLP),
        "weight_decay": Change(0.01, MLP),
        "augmentation": Change(None, MLP),
        "cutmix": Change(0.0, MLP),
        "image_shape": Change((8, 8), data=flat_digits),
        "channel_axis": Change(1, {"channel_axis": -1}, data=cubes),
        "precision": Change("bfloat16", MLP),
        "random_state": Change(1, MLP),
    }
    | DEVICE
    | VERBOSE,
    CondensedClassifier: {
        "condenser": Change(Random(5, random_state=0)),
        "estimator": Change(GaussianNB()),
        "memory": Change("a folder", see=seen_condensations, expected=(2, 1)),
        "random_state": Change(1, {"condenser": Random(5), "random_state": 0}),
    },
    CondensedSampler: {
        "condenser": Change(KCenter(3)),
        "random_state": Change(1, {"condenser": Random(3), "random_state": 0}),
    },
}


@every_estimator
def test_table_of_changes_is_complete(cls):
    assert set(CHANGES[cls]) == set(cls().get_params(deep=False))


@pytest.mark.parametrize(
    ("cls", "parameter"),
    [(cls, parameter) for cls in CHANGES for parameter in CHANGES[cls]],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_parameter_changed_alone_shows(cls, parameter, tmp_path):
    change = CHANGES[cls][parameter]
    X, y = change.data()
    places = {"a folder": str(tmp_path), "a file": str(tmp_path / "a file")}

    def placed(value: Any) -> Any:
        return places.get(value, value) if isinstance(value, str) else value

    base = small(cls, **{name: placed(value) for name, value in change.base.items()})
    value = placed(change.to)
    before = change.see(clone(base), X, y)
    after = change.see(clone(base).set_params(**{parameter: value}), X, y)
    assert not np.array_equal(before, after)
    if change.expected is not None:
        assert (before, after) == change.expected


# Files and processes


def torch_objects(value: Any, path: str, seen: set[int]) -> Iterator[str]:
    """Places of torch objects in whatever can be reached from a value."""
    if id(value) in seen or isinstance(value, (type, str, bytes, int, float, complex)):
        return
    seen.add(id(value))
    if type(value).__module__.partition(".")[0] == "torch":
        yield f"{path}: {type(value)}"
        return
    inside: dict[str, Any] = dict(getattr(value, "__dict__", {}))
    if isinstance(value, dict):
        inside |= {f"[{key!r}]": item for key, item in value.items()}
    elif isinstance(value, (list, tuple, set)) or (
        isinstance(value, np.ndarray) and value.dtype.hasobject
    ):
        inside |= {f"[{i}]": item for i, item in enumerate(value)}
    for name, item in inside.items():
        yield from torch_objects(item, f"{path}.{name}", seen)


def test_torch_objects_are_found_where_they_are():
    hidden = Herding()
    hidden.here_ = {"deep": [({"x": torch.zeros(1)},)]}
    assert len(list(torch_objects(hidden, "", set()))) == 1


@pytest.mark.parametrize("make_data", [iris, digits], ids=name_of)
@every_estimator
def test_fitted_attributes_hold_no_torch_object(cls, make_data):
    estimator = small(cls).fit(*make_data())
    assert list(torch_objects(estimator, name_of(cls), set())) == []


@every_estimator
def test_fitted_estimators_load_in_a_fresh_process(cls):
    here, there = (fresh_process()[where][cls.__name__] for where in ("expected", "answers"))
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("cls", [*CONDENSERS, CondensedClassifier, CondensedSampler], ids=name_of)
def test_training_data_are_not_in_the_file(cls, tmp_path):
    X, y = np.random.default_rng(0).random((2000, 256)), np.arange(2000) % 2
    assert X.nbytes > 4e6
    joblib.dump(small(cls).fit(X, y), tmp_path / "fitted.joblib")
    assert (tmp_path / "fitted.joblib").stat().st_size < 200_000


# A failed fit


def bad_inputs() -> dict[str, tuple[Any, Any]]:
    X, y = iris()
    hole = X.copy()
    hole[3, 1] = np.nan
    frame = pd.DataFrame(hole, columns=list("wxyz"))
    return {
        "NaN": (hole, y),
        "NaN in other columns": (frame, y),
        "one class": (X[:, :2], np.zeros(len(X))),
        "lengths": (X[:, :3], y[:-1]),
        "continuous y": (X, X[:, 0]),
        "no y": (X[:, :1], None),
        "images": (np.full((len(X), 2, 2), np.inf), y),
        "too many axes": (X[:, :, None, None, None], y),
    }


@pytest.mark.parametrize("bad", bad_inputs())
@every_estimator
def test_refused_input_leaves_the_earlier_fit_whole(cls, bad):
    X, y = iris()
    estimator = small(cls).fit(pd.DataFrame(X, columns=list("abcd")), y)
    before, content = dict(vars(estimator)), joblib.hash(vars(estimator))
    with pytest.raises((ValueError, TypeError)):
        quietly(estimator.fit, *bad_inputs()[bad])
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is value for name, value in before.items())
    assert joblib.hash(vars(estimator)) == content


def test_failing_inner_classifier_leaves_the_earlier_fit_whole():
    X, y = iris()
    classifier = CondensedClassifier(Herding(2), KNeighborsClassifier(1)).fit(X, y)
    before = dict(vars(classifier))
    classifier.estimator.n_neighbors = -1
    with pytest.raises(ValueError, match="n_neighbors"):
        classifier.fit(X[:, :2], y)
    assert vars(classifier) == before


# scikit-learn's callbacks


class Watching:
    """Counts tasks, and stops or fails where it is told to."""

    max_propagation_depth = None

    def __init__(self, stop_at: int | None = None, raises: BaseException | None = None) -> None:
        self.stop_at, self.raises = stop_at, raises
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.life: list[str] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.life.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.life.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        self.ended.append((context.estimator_name, context.task_name))
        if self.iterations == self.stop_at:
            if self.raises is not None:
                raise self.raises
            return True
        return False

    @property
    def iterations(self) -> int:
        return self.ended.count(("M3DCondenser", "iteration"))


class Reconstructing(Watching):
    """Keeps the estimator as it stands after each iteration."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any) -> bool:
        if fitted_estimator is not None:
            self.kept = [*getattr(self, "kept", []), fitted_estimator]
        return super().on_fit_task_end(estimator, context)


@pytest.fixture
def callbacks():
    return pytest.importorskip("sklearn.callback")


def test_callback_sees_every_iteration(callbacks):
    X, y = digits()
    watching = Watching()
    watched = small(M3DCondenser).set_callbacks(watching).fit(X, y)
    assert watching.iterations == 5
    assert sorted(watching.begun) == sorted(watching.ended)
    assert watching.begun[0] == watching.ended[-1] == ("M3DCondenser", "fit")
    assert watching.life == ["setup", "teardown"]
    assert np.array_equal(watched.condensed_.X, small(M3DCondenser).fit(X, y).condensed_.X)


def test_callback_stops_the_run(callbacks):
    watching = Watching(stop_at=3)
    condenser = small(M3DCondenser).set_callbacks(watching).fit(*digits())
    assert (condenser.n_iter_, watching.iterations) == (3, 3)


def test_callback_that_raises_ends_the_fit_and_leaves_the_earlier_one(callbacks):
    X, y = digits()
    condenser = small(M3DCondenser).fit(X, y)
    watching = Watching(stop_at=2, raises=KeyboardInterrupt())
    condenser.set_callbacks(watching)
    before = dict(vars(condenser))
    with pytest.raises(KeyboardInterrupt):
        condenser.fit(X[:, :6], y)
    assert vars(condenser) == before
    assert watching.life == ["setup", "teardown"]


def test_callback_gets_the_estimator_as_it_stands(callbacks):
    X, y = digits()
    watching = Reconstructing()
    condenser = small(M3DCondenser).set_callbacks(watching).fit(X, y)
    assert [kept.n_iter_ for kept in watching.kept] == [1, 2, 3, 4, 5]
    assert np.array_equal(watching.kept[-1].condensed_.X, condenser.condensed_.X)
    assert np.array_equal(watching.kept[-1].transform(X), condenser.transform(X))
    shorter = watching.kept[0].condensed_.X
    assert not np.array_equal(shorter, condenser.condensed_.X)


def test_estimator_as_it_stands_forgets_an_earlier_fit(callbacks, recwarn):
    X, y = iris()
    condenser = small(M3DCondenser).fit(pd.DataFrame(X, columns=list("abcd")), y)
    watching = Reconstructing()
    condenser.set_callbacks(watching).fit(X, y)
    watching.kept[-1].transform(X)
    assert [str(warning.message) for warning in recwarn] == []


def test_scoring_monitor(callbacks):
    X, y = digits()
    monitor = callbacks.ScoringMonitor(
        scoring=lambda estimator, X, y: {"bandwidth": estimator.bandwidth_}
    )
    condenser = small(M3DCondenser).set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data
    assert [row["task_name"] for row in log] == ["iteration"] * 5
    assert log[-1]["bandwidth"] == condenser.bandwidth_
    assert log[0]["bandwidth"] != condenser.bandwidth_


def test_progress_bar(callbacks, capsys):
    pytest.importorskip("rich")
    small(M3DCondenser).set_callbacks(callbacks.ProgressBar()).fit(*digits())
    assert "M3DCondenser" in capsys.readouterr().out


@pytest.mark.parametrize("cached", [False, True])
def test_condensed_classifier_passes_callbacks_on(callbacks, cached, tmp_path):
    X, y = digits()
    watching = Watching()
    memory = str(tmp_path) if cached else None
    classifier = small(CondensedClassifier, memory=memory).set_callbacks(watching)
    with counted(M3DCondenser, "_condense") as counter:
        classifier.fit(X, y)
        assert watching.iterations == 5
        classifier.fit(X, y)
    assert counter.call_count == (1 if cached else 2)
    assert watching.life.count("setup") == watching.life.count("teardown") >= counter.call_count
    assert "_skl_callbacks" not in vars(classifier.condenser_)
    assert "_parent_callback_ctx" not in vars(classifier.condenser_)


@pytest.mark.parametrize("cls", [M3DCondenser, CondensedClassifier], ids=name_of)
def test_no_callback_no_cost(callbacks, cls, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a callback context was made")

    monkeypatch.setattr(cls, "_init_callback_context", refuse)
    assert len(result(small(cls).fit(*digits()), digits()[0])) > 0
    with pytest.raises(AssertionError, match="context"):
        small(cls).set_callbacks(Watching()).fit(*digits())
