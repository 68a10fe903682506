import warnings
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from common import digits, iris
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import get_tags

from m3d_sklearn import (
    CondensedClassifier,
    Herding,
    M3DCondenser,
    NetworkClassifier,
    Random,
    __about__,
)
from m3d_sklearn import condensed_classifier as module
from m3d_sklearn.core.networks import ConvNet

QUICK = {"max_iter": 3, "random_state": 0}
NARROW = partial(ConvNet, width=8)


def quick(ipc=5, **settings):
    return M3DCondenser(ipc=ipc, **(QUICK | settings))


def small_network():
    return NetworkClassifier(NARROW, max_iter=2, random_state=0)


@pytest.fixture
def fits(monkeypatch):
    """The ipc of every M3D fit, in the order of fits."""
    seen = []
    fit = M3DCondenser.fit

    def counted(self, X, y):
        seen.append(self.ipc)
        return fit(self, X, y)

    monkeypatch.setattr(M3DCondenser, "fit", counted)
    return seen


# What it does


def test_the_estimator_is_trained_on_the_condensed_rows_alone():
    X, y = iris()
    classifier = CondensedClassifier(quick(), LogisticRegression()).fit(X, y)
    X_c, y_c = quick().fit(X, y).condensed_
    np.testing.assert_array_equal(classifier.condenser_.condensed_.X, X_c)
    by_hand = LogisticRegression().fit(X_c, y_c)
    np.testing.assert_array_equal(classifier.predict_proba(X), by_hand.predict_proba(X))
    np.testing.assert_array_equal(classifier.predict(X), by_hand.predict(X))
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 2])


def test_mosaics_are_decoded_before_training():
    X, y = digits(3, 12)
    condenser = quick(2, factor=2, network=NARROW)
    classifier = CondensedClassifier(condenser, KNeighborsClassifier(1)).fit(X, y)
    assert len(classifier.condenser_.condensed_) == 6
    assert classifier.estimator_.n_samples_fit_ == 24


def test_an_estimator_that_takes_soft_labels_gets_them():
    X, y = iris()
    taught = quick(pool=1, iterations_per_network=1, max_iter=20, soft_labels=True)
    network = NetworkClassifier(max_iter=3, random_state=0)
    classifier = CondensedClassifier(taught, network).fit(X, y)
    soft = classifier.condenser_.condensed_.soft_labels
    by_hand = clone(network).fit(*classifier.condenser_.transform(), soft_labels=soft)
    np.testing.assert_array_equal(classifier.predict_proba(X), by_hand.predict_proba(X))
    plain = CondensedClassifier(taught, GaussianNB()).fit(X, y)
    by_hand = GaussianNB().fit(*plain.condenser_.transform())
    np.testing.assert_array_equal(plain.predict_proba(X), by_hand.predict_proba(X))


def test_the_parts_given_are_left_unfitted():
    X, y = iris()
    condenser, estimator = quick(), LogisticRegression()
    CondensedClassifier(condenser, estimator).fit(X, y)
    for part in (condenser, estimator):
        assert not [name for name in vars(part) if name.endswith("_")]


def test_without_parts_it_is_m3d_and_a_network(monkeypatch):
    # The same with few iterations: what the defaults cost is told elsewhere.
    monkeypatch.setattr(module, "M3DCondenser", partial(M3DCondenser, max_iter=2))
    monkeypatch.setattr(module, "NetworkClassifier", partial(NetworkClassifier, max_iter=2))
    X, y = iris()
    classifier = CondensedClassifier().fit(X, y)
    assert isinstance(classifier.condenser_, M3DCondenser)
    assert isinstance(classifier.estimator_, NetworkClassifier)
    assert classifier.predict(X).shape == (75,)


def test_a_step_without_a_condensed_set_is_refused():
    X, y = iris()
    with pytest.raises(TypeError, match=r"condenser must be a condenser or selector.*Standard"):
        CondensedClassifier(StandardScaler(), LogisticRegression()).fit(X, y)


# In scikit-learn's tools


@pytest.mark.parametrize(
    "estimator", [Ridge(), KMeans(3), make_pipeline(StandardScaler(), Ridge())], ids=str
)
def test_an_estimator_that_is_no_classifier_is_refused(estimator, fits):
    classifier = CondensedClassifier(quick(), estimator)
    name = type(estimator).__name__
    with pytest.raises(TypeError, match=f"estimator must be a classifier; got {name}"):
        classifier.fit(*iris())
    assert fits == []


def test_an_ensemble_of_an_ensemble_is_stacked():
    forest = CondensedClassifier(Herding(5), RandomForestClassifier(3, random_state=0))
    stack = StackingClassifier([("forest", forest)], LogisticRegression(), cv=2)
    assert stack.fit(*iris()).score(*iris()) > 0.8


def test_works_in_a_pipeline():
    X, y = iris()
    classifier = CondensedClassifier(Herding(ipc=10), LogisticRegression())
    pipeline = make_pipeline(StandardScaler(), classifier).fit(X, y)
    Z = StandardScaler().fit_transform(X)
    X_c, y_c = Herding(ipc=10).fit(Z, y).condensed_
    expected = LogisticRegression().fit(X_c, y_c).predict_proba(Z)
    np.testing.assert_allclose(pipeline.predict_proba(X), expected, rtol=1e-12)
    assert pipeline.score(X, y) > 0.85


def test_a_grid_reaches_both_parts():
    X, y = iris()
    grid = GridSearchCV(
        CondensedClassifier(Herding(), KNeighborsClassifier()),
        {"condenser__ipc": [1, 8], "estimator__n_neighbors": [1, 3]},
        cv=3,
        error_score="raise",
    ).fit(X, y)
    assert len(grid.cv_results_["params"]) == 4
    best = grid.best_estimator_
    assert best.condenser_.ipc == grid.best_params_["condenser__ipc"] == 8
    assert best.estimator_.n_neighbors == grid.best_params_["estimator__n_neighbors"]
    assert grid.best_score_ > 0.9


def test_cross_validation_condenses_each_fold_from_its_own_rows(fits):
    X, y = iris()
    classifier = CondensedClassifier(quick(), LogisticRegression())
    scores = cross_val_score(classifier, X, y, cv=3, error_score="raise")
    assert len(fits) == 3
    assert scores.min() > 0.8


@pytest.mark.parametrize(
    "wrap",
    [
        lambda classifier: VotingClassifier([("one", classifier), ("two", GaussianNB())]),
        lambda classifier: StackingClassifier([("one", classifier)], cv=2),
        lambda classifier: CalibratedClassifierCV(classifier, cv=2),
    ],
    ids=["voting", "stacking", "calibrated"],
)
def test_works_inside_other_estimators(wrap):
    X, y = iris()
    inner = CondensedClassifier(Herding(ipc=8), LogisticRegression())
    assert wrap(inner).fit(X, y).score(X, y) > 0.8


def test_parameters_go_through_a_pipeline_and_a_clone():
    classifier = CondensedClassifier(quick(), LogisticRegression())
    pipeline = Pipeline([("scale", StandardScaler()), ("model", classifier)])
    pipeline.set_params(model__condenser__ipc=3, model__estimator__C=7.0)
    copy = clone(pipeline)
    assert copy.named_steps["model"].condenser.ipc == 3
    assert copy.named_steps["model"].estimator.C == 7.0


# Memory


def grid_of(classifier):
    grid = {"estimator__C": [0.1, 1.0, 10.0]}
    return GridSearchCV(classifier, grid, cv=2, refit=False, error_score="raise")


def test_memory_condenses_each_fold_once(tmp_path, fits):
    X, y = iris()
    plain = CondensedClassifier(quick(), LogisticRegression())
    expected = grid_of(plain).fit(X, y).cv_results_["mean_test_score"]
    assert len(fits) == 6  # 3 values of C by 2 folds
    fits.clear()
    for memory in (joblib.Memory(str(tmp_path), verbose=0), str(tmp_path)):
        cached = CondensedClassifier(quick(), LogisticRegression(), memory=memory)
        scores = grid_of(cached).fit(X, y).cv_results_["mean_test_score"]
        np.testing.assert_array_equal(scores, expected)
        assert len(fits) == 2  # and none for the second grid on the same folder


def test_memory_notices_other_condensers_and_data(tmp_path, fits):
    X, y = iris()
    classifier = CondensedClassifier(quick(), LogisticRegression(), memory=str(tmp_path))
    classifier.fit(X, y)
    classifier.fit(X, y)
    assert fits == [5]
    clone(classifier).set_params(condenser__ipc=4).fit(X, y)
    clone(classifier).set_params(condenser__random_state=1).fit(X, y)
    clone(classifier).set_params(condenser__kernel="linear").fit(X, y)
    classifier.fit(X + 1, y)
    classifier.fit(X, 2 - y)
    assert len(fits) == 6


def test_memory_notices_another_version(tmp_path, fits, monkeypatch):
    classifier = CondensedClassifier(quick(), LogisticRegression(), memory=str(tmp_path))
    classifier.fit(*iris())
    monkeypatch.setattr(__about__, "__version__", "999")
    classifier.fit(*iris())
    classifier.fit(*iris())
    assert len(fits) == 2


def test_memory_works_with_one_seed_for_both_parts(tmp_path, fits):
    X, y = iris()
    classifier = CondensedClassifier(
        M3DCondenser(ipc=5, max_iter=3),
        LogisticRegression(max_iter=1000),
        memory=str(tmp_path),
        random_state=0,
    )
    grid_of(classifier).fit(X, y)
    assert len(fits) == 2


def test_what_comes_from_memory_is_what_was_fitted(tmp_path):
    X, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = CondensedClassifier(quick(), LogisticRegression(), memory=str(tmp_path))
    fresh = classifier.fit(frame, y).predict_proba(frame)
    cached = classifier.fit(frame, y)
    np.testing.assert_array_equal(cached.predict_proba(frame), fresh)
    assert cached.feature_names_in_.tolist() == list("abcd")
    pd.testing.assert_frame_equal(
        cached.condenser_.condensed_.X, quick().fit(frame, y).condensed_.X
    )


# Images and containers


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), KNeighborsClassifier(1), SVC()], ids=lambda e: str(e)
)
def test_images_are_flattened_for_classifiers_of_tables(estimator):
    X, y = digits(3, 12)
    classifier = CondensedClassifier(Random(ipc=6, random_state=0), estimator).fit(X, y)
    assert classifier.estimator_.n_features_in_ == classifier.n_features_in_ == 64
    assert classifier.sample_shape_in_ == (8, 8)
    chosen = classifier.condenser_.sample_indices_
    by_hand = clone(estimator).fit(X[chosen].reshape(18, 64), y[chosen])
    expected = by_hand.predict(X.reshape(len(X), 64))
    np.testing.assert_array_equal(classifier.predict(X), expected)


@pytest.mark.parametrize(
    ("estimator", "takes"),
    [(None, True), (NetworkClassifier(), True), (LogisticRegression(), False)],
    ids=str,
)
def test_it_takes_images_where_its_estimator_does(estimator, takes):
    tags = get_tags(CondensedClassifier(estimator=estimator))
    assert tags.input_tags.three_d_array is takes


def test_a_network_gets_images_as_they_are():
    X, y = digits(3, 6)
    condenser = Random(ipc=2, random_state=0)
    classifier = CondensedClassifier(condenser, small_network()).fit(X, y)
    assert classifier.estimator_.sample_shape_in_ == (8, 8)
    by_hand = small_network().fit(*condenser.fit(X, y).condensed_)
    np.testing.assert_array_equal(classifier.predict_proba(X), by_hand.predict_proba(X))


def test_tensors_are_taken_and_numpy_comes_back():
    X, y = digits(3, 6)
    classifier = CondensedClassifier(Herding(ipc=2), LogisticRegression())
    expected = classifier.fit(X, y).predict(X)
    tensors = torch.from_numpy(X).requires_grad_(), torch.from_numpy(y)
    predicted = classifier.fit(*tensors).predict(tensors[0])
    assert type(predicted) is np.ndarray
    np.testing.assert_array_equal(predicted, expected)


def test_a_data_frame_stays_one_and_warns_of_nothing():
    X, y = iris()
    frame, labels = pd.DataFrame(X, columns=list("abcd")), pd.Series(y, name="species")
    classifier = CondensedClassifier(quick(), LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.fit(frame, labels)
        predicted = classifier.predict(frame)
        classifier.predict_proba(frame)
    assert classifier.feature_names_in_.tolist() == list("abcd")
    assert classifier.estimator_.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[list("dcba")])
    np.testing.assert_array_equal(predicted, classifier.fit(X, y).predict(X))
    assert not hasattr(classifier, "feature_names_in_")  # the second fit had no names


@pytest.mark.parametrize("kind", ["strings", "objects", "categories"])
def test_labels_come_back_as_they_were_given(kind):
    X, y = iris()
    names = np.array(["a", "b", "c"])[y]
    labels = {
        "strings": names,
        "objects": names.astype(object),
        "categories": pd.Series(names, dtype="category"),
    }[kind]
    classifier = CondensedClassifier(Herding(ipc=5), LogisticRegression()).fit(X, labels)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert (classifier.predict(X) == names).mean() > 0.9


# Methods


@pytest.mark.parametrize(
    ("estimator", "proba", "decision"),
    [
        (LogisticRegression(), True, True),
        (KNeighborsClassifier(), True, False),
        (LinearSVC(), False, True),
        (SGDClassifier(loss="hinge"), False, True),
        (RandomForestClassifier(3), True, False),
        (None, True, True),
    ],
    ids=lambda value: str(value),
)
def test_has_the_methods_of_its_estimator_and_no_other(estimator, proba, decision):
    X, y = iris()
    classifier = CondensedClassifier(Herding(ipc=5), estimator)
    assert hasattr(classifier, "predict")
    assert hasattr(classifier, "predict_proba") == proba
    assert hasattr(classifier, "decision_function") == decision
    if estimator is None:
        return
    classifier.fit(X, y)
    assert hasattr(classifier, "predict_proba") == proba
    assert hasattr(classifier, "decision_function") == decision
    for method in ("predict_proba", "decision_function"):
        if hasattr(classifier, method):
            expected = getattr(classifier.estimator_, method)(X)
            np.testing.assert_array_equal(getattr(classifier, method)(X), expected)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        KNeighborsClassifier(5),
        LinearSVC(),
        NetworkClassifier(max_iter=2),
        None,
    ],
    ids=str,
)
def test_logarithms_of_probabilities_are_there_where_probabilities_are(estimator):
    X, y = iris()
    classifier = CondensedClassifier(Herding(ipc=5), estimator)
    assert hasattr(classifier, "predict_log_proba") == hasattr(classifier, "predict_proba")
    if estimator is None or not hasattr(classifier, "predict_proba"):
        return
    classifier.fit(X, y)
    with np.errstate(divide="ignore"):
        expected = np.log(classifier.predict_proba(X))
        np.testing.assert_allclose(classifier.predict_log_proba(X), expected, rtol=1e-9)


def test_a_missing_method_is_named():
    X, y = iris()
    classifier = CondensedClassifier(Herding(), LinearSVC()).fit(X, y)
    with pytest.raises(AttributeError, match="predict_proba"):
        classifier.predict_proba(X)


def test_nothing_is_predicted_before_fit():
    with pytest.raises(NotFittedError):
        CondensedClassifier(Herding(), LogisticRegression()).predict(iris()[0])


@pytest.mark.parametrize("shape", [(2, 8, 9), (2, 64), (2, 1, 8, 8)])
def test_rows_of_another_shape_are_refused(shape):
    X, y = digits(3, 6)
    classifier = CondensedClassifier(Herding(ipc=2), LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match=r"\(8, 8\)|features"):
        classifier.predict(np.zeros(shape))


# Seeds


def test_one_seed_decides_condenser_and_estimator():
    X, y = iris()

    def probabilities(seed):
        classifier = CondensedClassifier(
            Random(ipc=5), NetworkClassifier(max_iter=3), random_state=seed
        ).fit(X, y)
        return classifier, classifier.predict_proba(X)

    one, first = probabilities(0)
    two, second = probabilities(0)
    other, third = probabilities(1)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(one.condenser_.sample_indices_, two.condenser_.sample_indices_)
    assert one.condenser_.sample_indices_.tolist() != other.condenser_.sample_indices_.tolist()
    assert np.abs(first - third).max() > 1e-6
    assert one.condenser_.random_state != one.estimator_.random_state


def test_seeds_that_the_parts_have_are_kept():
    X, y = iris()
    classifier = CondensedClassifier(
        Random(ipc=2, random_state=7),
        make_pipeline(StandardScaler(), LogisticRegression(random_state=8)),
        random_state=0,
    ).fit(X, y)
    assert classifier.condenser_.random_state == 7
    assert classifier.estimator_[-1].random_state == 8
    expected = Random(ipc=2, random_state=7).fit(X, y).sample_indices_
    np.testing.assert_array_equal(classifier.condenser_.sample_indices_, expected)


def test_a_seed_inside_a_pipeline_is_set():
    X, y = iris()
    classifier = CondensedClassifier(
        Herding(ipc=5), make_pipeline(StandardScaler(), SGDClassifier()), random_state=0
    )
    one, two = (classifier.fit(X, y).decision_function(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert isinstance(classifier.estimator_[-1].random_state, int)


def test_a_start_from_a_fitted_selector_survives_the_clone():
    X, y = iris()
    start = Random(ipc=3, random_state=0).fit(X, y)
    condenser = M3DCondenser(ipc=3, init=start.condensed_, max_iter=0)
    classifier = CondensedClassifier(condenser, LogisticRegression()).fit(X, y)
    np.testing.assert_allclose(
        classifier.condenser_.condensed_.X, X[start.sample_indices_], rtol=1e-6
    )
