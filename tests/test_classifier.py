import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from torch import nn

from m3d_sklearn import NetworkClassifier
from m3d_sklearn.classifier import make_recipe
from m3d_sklearn.core.networks import MLP, ConvNet

NARROW = partial(ConvNet, width=8)


def images(n=12, shape=(8, 8, 3), classes=2, seed=0):
    X = np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)
    return X, np.arange(n) % classes


def quick(network=NARROW, **settings):
    return NetworkClassifier(network, **({"max_iter": 3, "random_state": 0} | settings))


# Learning


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_learns_tables(load):
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    classifier = NetworkClassifier(max_iter=100, random_state=0).fit(X_train, y_train)
    assert classifier.score(X_test, y_test) > 0.92


@pytest.mark.parametrize(
    ("image_shape", "network", "epochs"),
    [(None, "auto", 15), ((8, 8), partial(ConvNet, width=24), 8)],
)
def test_learns_digits_as_a_table_and_as_images(image_shape, network, epochs):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    settings = {"learning_rate": 0.05, "batch_size": 32, "image_shape": image_shape}
    if image_shape:
        settings |= {"augmentation": None, "cutmix": 0.0}  # they help over many epochs
    classifier = NetworkClassifier(network, max_iter=epochs, random_state=0, **settings)
    assert classifier.fit(X_train, y_train).score(X_test, y_test) > 0.93


def test_the_loss_falls_and_is_told_epoch_by_epoch():
    X, y = load_iris(return_X_y=True)
    classifier = NetworkClassifier(max_iter=30, random_state=0).fit(X, y)
    assert classifier.loss_curve_.shape == (30,)
    assert classifier.loss_curve_[-1] < 0.5 * classifier.loss_curve_[0]


def test_the_scale_of_X_does_not_matter():
    X, y = load_iris(return_X_y=True)
    X = np.rint(10 * X)
    expected = quick("auto").fit(X, y).predict_proba(X)
    for scaled in (X.astype(int), 1e20 * X, 1e-20 * X, X * [1, 1e6, 1e-6, 7] + 5):
        given = quick("auto").fit(scaled, y).predict_proba(scaled)
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_range_of_pixels_does_not_matter():
    X, y = images()
    expected = quick().fit(X, y).predict_proba(X)
    for scaled in (X / 255, X.astype(np.uint16) * 257, (X / 255).astype(np.float32) * 2 - 1):
        given = quick().fit(scaled, y).predict_proba(scaled)
        np.testing.assert_allclose(given, expected, atol=1e-4)


# Prediction


def fitted_on(kind):
    if kind == "table":
        X, y = load_iris(return_X_y=True)
        return quick("auto").fit(X, y), X[::5]
    shape = (16, 16, 3) if kind == "resnet10" else (8, 8, 3)
    X, y = images(3, shape)
    return quick(kind if kind == "resnet10" else NARROW, max_iter=1).fit(X, y), X


@pytest.mark.parametrize("kind", ["table", "images", "resnet10"])
def test_a_row_gets_the_same_answer_alone_and_in_a_batch(kind):
    classifier, X = fitted_on(kind)
    together = classifier.predict_proba(X)
    alone = np.concatenate([classifier.predict_proba(row[None]) for row in X])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)
    np.testing.assert_allclose(classifier.predict_proba(X[::-1]), together[::-1], atol=1e-12)
    alone = np.concatenate([classifier.predict(row[None]) for row in X])
    np.testing.assert_array_equal(alone, classifier.predict(X))


def test_long_inputs_are_cut_into_batches_that_do_not_show():
    classifier, _ = fitted_on("images")
    X, _ = images(600)
    together = classifier.predict_proba(X)
    np.testing.assert_allclose(classifier.predict_proba(X[250:262]), together[250:262], atol=1e-12)


def test_probabilities_decisions_and_labels_agree():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    classifier = quick("auto", max_iter=20).fit(X, names[y])
    assert classifier.classes_.tolist() == names.tolist()
    logits, chances = classifier.decision_function(X), classifier.predict_proba(X)
    assert logits.shape == chances.shape == (150, 3)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(chances, expected, rtol=1e-12)
    np.testing.assert_array_equal(classifier.predict(X), names[logits.argmax(1)])


def test_logarithms_of_probabilities_stay_finite():
    X, y = load_iris(return_X_y=True)
    classifier = quick("auto", max_iter=20).fit(X, y)
    expected = np.log(classifier.predict_proba(X))
    np.testing.assert_allclose(classifier.predict_log_proba(X), expected, rtol=1e-9)
    far = classifier.predict_log_proba(X * 1e4)
    assert np.isfinite(far).all()
    assert far.min() < -1000


def test_two_classes_have_one_decision_value():
    X, y = load_breast_cancer(return_X_y=True)
    classifier = quick("auto").fit(X, y)
    decision, chances = classifier.decision_function(X), classifier.predict_proba(X)
    assert decision.shape == (len(X),)
    np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-10)
    np.testing.assert_array_equal(classifier.predict(X), (decision > 0).astype(int))


@pytest.mark.parametrize("labels", [[False, True], ["b", "a"], [3, -7], [0.0, 1.0]], ids=str)
def test_labels_of_any_kind_come_back(labels):
    X, y = images()
    y = np.array(labels)[y]
    predicted = quick().fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(labels)


# Weights


def test_weights_are_numpy_and_named_as_in_the_network():
    X, y = images()
    classifier = quick("convnet", max_iter=1).fit(X, y)
    assert all(type(value) is np.ndarray for value in classifier.weights_.values())
    expected = ConvNet((3, 8, 8), 2).state_dict()
    assert {k: v.shape for k, v in classifier.weights_.items()} == {
        k: tuple(v.shape) for k, v in expected.items()
    }


def test_weights_are_what_predicts():
    X, y = load_iris(return_X_y=True)
    classifier = quick("mlp").fit(X, y)
    module = MLP((4,), 3).double()
    weights = {k: torch.from_numpy(v) for k, v in classifier.weights_.items()}
    module.load_state_dict(weights)
    rows = torch.from_numpy((X - X.mean(0)) / X.std(0))
    expected = module(rows).detach().numpy()
    np.testing.assert_allclose(classifier.decision_function(X), expected, rtol=1e-5, atol=1e-5)


def test_the_seed_decides_the_weights():
    X, y = images()
    one, same, other = (quick(random_state=s).fit(X, y).weights_ for s in (0, 0, 1))
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_fitting_again_starts_anew():
    X, y = images()
    classifier = quick().fit(X, y)
    once = classifier.weights_
    twice = classifier.fit(X, y).weights_
    assert all(np.array_equal(once[name], twice[name]) for name in once)


# Networks


class NoArguments(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    def forward(self, x):
        return self.layers(x)


class BatchNormed(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.norm = nn.BatchNorm2d(input_shape[0])
        self.head = nn.Linear(int(np.prod(input_shape)), n_outputs)

    def forward(self, x):
        return self.head(self.norm(x).flatten(1))


class WithDropout(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(int(np.prod(input_shape)), n_outputs)
        )

    def forward(self, x):
        return self.layers(x)


def plain_factory(input_shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), n_outputs))


@pytest.mark.parametrize(
    "network",
    ["auto", "convnet", "mlp", NARROW, NoArguments, plain_factory, BatchNormed, WithDropout]
    + [lambda: NoArguments()],
    ids=lambda network: network if isinstance(network, str) else "factory",
)
def test_networks_are_named_or_made_by_a_factory(network):
    X, y = images()
    classifier = quick(network, max_iter=2).fit(X, y)
    assert classifier.predict_proba(X).shape == (12, 2)
    np.testing.assert_allclose(
        classifier.predict_proba(X[:1]), classifier.predict_proba(X)[:1], atol=1e-12
    )


def test_a_factory_is_told_the_shape_with_channels_first_and_the_classes():
    told = []

    def factory(input_shape, n_outputs):
        told.append((tuple(input_shape), n_outputs))
        return plain_factory(input_shape, n_outputs)

    X, y = images(12, (8, 9, 3), classes=4)
    quick(factory).fit(X, y)
    assert set(told) == {((3, 8, 9), 4)}


def states():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numpy_state


@pytest.mark.parametrize("network", ["auto", "convnet", BatchNormed, WithDropout])
def test_training_and_prediction_leave_the_global_generators_alone(network):
    X, y = images()
    before = states()
    quick(network, max_iter=1).fit(X, y).predict(X)
    assert states() == before


@pytest.mark.parametrize("network", [BatchNormed, WithDropout])
def test_the_seed_decides_networks_of_the_users_own(network):
    X, y = images()
    one, two = (quick(network).fit(X, y).weights_ for _ in range(2))
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


def test_batch_statistics_are_those_of_the_training_batches_alone():
    X, y = images()
    classifier = quick(BatchNormed, max_iter=2, batch_size=12, augmentation=None, cutmix=0.0)
    weights = classifier.fit(X, y).weights_
    assert weights["norm.num_batches_tracked"] == classifier.n_steps_ == 2
    # Normalised rows have mean 0 and variance 1, so from 0 and 1 nothing moves.
    np.testing.assert_allclose(weights["norm.running_mean"], 0, atol=1e-6)
    np.testing.assert_allclose(weights["norm.running_var"], 1, atol=1e-2)


def test_a_network_with_another_number_of_outputs_is_refused():
    X, y = images(classes=3)
    with pytest.raises(ValueError, match=r"network must give 3 outputs per row.*got \(2, 2\)"):
        quick(NoArguments).fit(X, y)


@pytest.mark.parametrize("factory", [lambda input_shape, n_outputs: {}, lambda: {}, dict])
def test_a_factory_of_something_else_is_refused(factory):
    X, y = images()
    with pytest.raises(TypeError, match=r"factory of a torch\.nn\.Module; the factory gave dict"):
        quick(factory).fit(X, y)


def test_a_network_made_for_other_rows_is_refused():
    X, y = images(12, (8, 8))
    with pytest.raises(ValueError, match=r"network must take rows of shape \(1, 8, 8\)"):
        quick(NoArguments).fit(X, y)


# Layouts and containers


def test_images_in_every_layout_give_the_same_answers():
    X, y = images()
    first = np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    expected = quick().fit(X, y).predict_proba(X)
    for settings, given in (
        ({}, first),
        ({"channel_axis": 1}, first),
        ({"channel_axis": -1}, X),
        ({"image_shape": (8, 8, 3)}, X.reshape(12, -1)),
        ({"image_shape": (3, 8, 8)}, first.reshape(12, -1)),
        ({}, torch.from_numpy(X)),
    ):
        chances = quick(**settings).fit(given, y).predict_proba(given)
        np.testing.assert_allclose(chances, expected, rtol=1e-6)


def test_a_data_frame_keeps_its_names_and_rows_follow_them():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick("auto").fit(X, y)
    assert classifier.feature_names_in_.tolist() == list(X.columns)
    np.testing.assert_array_equal(
        classifier.predict_proba(X),
        quick("auto").fit(X.to_numpy(), y.to_numpy()).predict_proba(X.to_numpy()),
    )
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X[X.columns[::-1]])


def test_a_categorical_series_of_labels_is_fine():
    X, y = images()
    y = pd.Series(np.array(["x", "y"])[y], dtype="category")
    assert set(quick().fit(X, y).predict(X)) <= {"x", "y"}


def test_rows_of_another_shape_are_refused():
    X, y = images()
    classifier = quick().fit(X, y)
    with pytest.raises(ValueError, match=r"fitted on samples of shape \(8, 8, 3\)"):
        classifier.predict(X.transpose(0, 3, 1, 2))


# Epochs, steps and protocols


@pytest.mark.parametrize(("batch", "passes"), [(5, 3), (12, 1), (100, 1), ("auto", 1)])
def test_epochs_and_steps(batch, passes):
    X, y = images()
    classifier = quick(max_iter=4, batch_size=batch).fit(X, y)
    assert classifier.n_iter_ == 4
    assert classifier.n_steps_ == 4 * passes
    assert len(classifier.loss_curve_) == 4


COLOUR, GREY, TABLE = (3, 32, 32), (1, 28, 28), (4,)
MOVES = ("crop", "scale", "rotate")


@pytest.mark.parametrize(
    ("protocol", "shape", "epochs", "batch", "policy", "cutmix"),
    [
        ("m3d", COLOUR, 1000, 64, ("color", "flip", MOVES), 0.5),
        ("m3d", GREY, 1000, 64, ("color", MOVES), 0.5),
        ("m3d", TABLE, 1000, 64, (), 0.0),
        ("dc", COLOUR, 300, 256, (), 0.0),
        ("dc", GREY, 1000, 256, (MOVES,), 0.0),
        ("dc", TABLE, 300, 256, (), 0.0),
    ],
)
def test_the_protocol_says_what_auto_is(protocol, shape, epochs, batch, policy, cutmix):
    recipe, passes = make_recipe(shape, 100, protocol=protocol)
    assert passes == epochs
    assert recipe.steps == epochs * -(-100 // batch)
    assert recipe.batch_size == batch
    assert recipe.policy == policy
    assert recipe.cutmix == cutmix
    drops = {"m3d": ((2 / 3, 5 / 6), 0.2), "dc": ((0.5,), 0.1)}
    assert (recipe.milestones, recipe.decay) == drops[protocol]


def test_whole_data_sets_are_trained_for_about_20000_steps():
    recipe, epochs = make_recipe(GREY, 60_000, protocol="m3d")
    assert (epochs, recipe.steps) == (21, 21 * 938)


def test_what_is_given_overrides_the_protocol():
    recipe, epochs = make_recipe(
        COLOUR,
        100,
        protocol="m3d",
        epochs=7,
        batch_size=30,
        learning_rate=0.5,
        momentum=0.1,
        weight_decay=0.0,
        policy=["flip"],
        cutmix=0.25,
    )
    assert (epochs, recipe.steps, recipe.batch_size) == (7, 28, 30)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.5, 0.1, 0)
    assert (list(recipe.policy), recipe.cutmix) == (["flip"], 0.25)


def test_steps_take_the_place_of_epochs():
    recipe, epochs = make_recipe(COLOUR, 100, protocol="m3d", steps=5)
    assert (recipe.steps, epochs) == (5, 3)  # two batches an epoch, the third cut short


def test_a_bar_is_shown_on_request_and_changes_nothing(capfd):
    X, y = images()
    silent = quick().fit(X, y).predict_proba(X)
    assert capfd.readouterr() == ("", "")
    shown = quick(verbose=1).fit(X, y).predict_proba(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "NetworkClassifier" in err
    assert "3/3" in err
    np.testing.assert_array_equal(shown, silent)


# Soft labels


def test_certain_soft_labels_give_what_labels_give():
    X, y = images(30, classes=3)
    hard = quick().fit(X, y)
    soft = quick().fit(X, y, soft_labels=np.eye(3)[y])
    np.testing.assert_allclose(soft.predict_proba(X), hard.predict_proba(X), atol=1e-5)


def test_soft_labels_are_what_is_learnt_whatever_y_says():
    X = np.eye(4)[np.arange(40) % 4]
    soft = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.0, 1.0]])
    classifier = NetworkClassifier(max_iter=200, random_state=0, weight_decay=0)
    classifier.fit(X, np.arange(40) % 2, soft_labels=soft[np.arange(40) % 4])
    np.testing.assert_allclose(classifier.predict_proba(np.eye(4)), soft, atol=0.02)


def test_soft_labels_of_other_rows_are_refused():
    X, y = images(6)
    with pytest.raises(ValueError, match=r"soft_labels must be floats of shape \(6, 2\)"):
        quick().fit(X, y, soft_labels=np.eye(2))
