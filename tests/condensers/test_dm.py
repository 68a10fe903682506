from functools import partial

import numpy as np
import pytest
import torch
from common import digits, iris
from problems import Problem
from sklearn.linear_model import LogisticRegression

from m3d_sklearn import DMCondenser, M3DCondenser, Random
from m3d_sklearn.condensers._dm import mean_matching
from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.networks import MLP, ConvNet
from m3d_sklearn.core.step import Batch


def quick(ipc=2, **settings):
    return DMCondenser(ipc, **({"max_iter": 10, "random_state": 0, "device": "cpu"} | settings))


def noise(n, shape, classes=4):
    X = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return X, np.arange(n) % classes


@pytest.mark.parametrize(("sizes", "counts"), [([9, 9, 9], [2, 2, 2]), ([3, 9, 5], [1, 4, 2])])
def test_dm_is_m3d_with_the_linear_kernel_on_the_same_draws(sizes, counts):
    linear = MMDObjective(make_kernel("linear"))
    problem = Problem(sizes, counts, policy=("color", "crop"))
    expected = problem.engine(objective=linear).rows
    assert (expected - problem.start).abs().max() > 1e-3
    rows = problem.engine(objective=mean_matching).rows
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-9)


def test_the_loss_is_the_squared_distance_of_the_means():
    network = torch.nn.Identity()
    real = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0]])
    synthetic = torch.tensor([[1.0, 0.0], [4.0, 5.0]], requires_grad=True)
    loss = mean_matching(network, Batch(real, [2, 1], synthetic, [1, 1]))
    assert loss.tolist() == [4.0, 9.0 + 16.0]
    (gradient,) = torch.autograd.grad(loss.sum(), synthetic)
    assert gradient.tolist() == [[0.0, -4.0], [6.0, 8.0]]


def test_the_papers_preset_is_the_published_loop():
    X, y = noise(16, (28, 28))
    params = quick(3, preset="paper", max_iter="auto", max_time=1e-9).fit(X, y).params_
    published = {
        "network": "convnet",
        "factor": 1,
        "augmentation": [("color", "crop", "cutout", "scale", "rotate")],
        "init": "real",
        "max_iter": 20_000,
        "iterations_per_network": 1,
        "batch_real": 256,
        "optimizer": "sgd",
        "learning_rate": pytest.approx((X / 255).var(), rel=1e-3),
        "momentum": 0.5,
        "schedule": "constant",
    }
    assert {name: params[name] for name in published} == published


def test_the_defaults_are_quick_and_colour_images_are_flipped():
    X, y = noise(16, (28, 28, 3))
    params = quick(1, batch_real=2, network=partial(ConvNet, width=2)).fit(X, y).params_
    assert params["augmentation"] == [("color", "crop", "cutout", "flip", "scale", "rotate")]
    assert (params["optimizer"], params["factor"]) == ("adam", 1)
    small = quick().fit(*digits()).params_
    assert small["augmentation"] == []


def test_mosaics_are_dms_too():
    X, y = noise(16, (28, 28))
    params = quick(1, factor=2, max_iter=1).fit(X, y).params_
    assert (params["factor"], params["init"]) == (2, "mix")


@pytest.mark.parametrize("name", ["momentum", "learning_rate", "batch_real"])
def test_what_is_given_beside_the_preset_stays(name):
    X, y = noise(16, (28, 28))
    given = {"momentum": 0.25, "learning_rate": 0.5, "batch_real": 3}
    params = quick(1, preset="paper", max_iter=1, **{name: given[name]}).fit(X, y).params_
    assert params[name] == given[name]


def test_one_row_a_class_comes_to_the_mean_of_linear_features():
    X, y = iris()
    X_c, _ = quick(1, network=MLP, max_iter=300).fit(X, y).condensed_
    M_c, _ = M3DCondenser(1, max_iter=300, random_state=0, kernel="linear").fit(X, y).condensed_
    means = np.stack([X[y == c].mean(0) for c in range(3)])
    assert np.abs(X_c - means).max() < 0.5 * X.std(0).max()
    assert np.abs(X_c - M_c).max() < 0.5 * X.std(0).max()


def test_condensed_digits_beat_random_ones():
    X, y = digits(10, 100)
    train, test = slice(0, 700), slice(700, 1000)

    def accuracy(condenser):
        X_c, y_c = condenser.fit(X[train], y[train]).condensed_
        model = LogisticRegression().fit(np.asarray(X_c).reshape(len(X_c), -1), y_c)
        return model.score(X[test].reshape(300, -1), y[test])

    ours = np.mean([accuracy(DMCondenser(1, max_iter=60, random_state=s)) for s in range(3)])
    theirs = np.mean([accuracy(Random(1, random_state=s)) for s in range(3)])
    assert ours > theirs + 0.1
