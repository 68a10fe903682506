import numpy as np
import pytest
import torch
from common import digits, iris
from torch import nn

from m3d_sklearn import IDMCondenser
from m3d_sklearn.condensers._idm import CalibratedMeans
from m3d_sklearn.core.matching import cross_entropies, mean_distances
from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.sources import NetworkQueue
from m3d_sklearn.core.sources.queue import ACCURACY
from m3d_sklearn.core.step import Batch


def quick(ipc=2, **settings):
    return IDMCondenser(ipc, **({"max_iter": 3, "random_state": 0, "device": "cpu"} | settings))


def noise(n, shape, classes=4):
    X = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return X, np.arange(n) % classes


def resolved(X, y, ipc, **settings):
    """Parameters of a run that ends at once."""
    return quick(ipc, max_iter="auto", max_time=1e-9, **settings).fit(X, y).params_


@pytest.mark.parametrize("accuracy", [0.0, 40.0])
def test_the_objective_is_the_published_one(accuracy):
    network = MLP((3,), 2, width=4)
    network.register_buffer(ACCURACY, torch.tensor(accuracy))
    real, synthetic = torch.randn(5, 3), torch.randn(3, 3)
    batch = Batch(real, [2, 3], synthetic, [1, 2])
    features = network.embed(synthetic)
    expected = mean_distances(network.embed(real), features, batch)
    expected = expected + 0.5 * accuracy * cross_entropies(network, features, batch)
    torch.testing.assert_close(CalibratedMeans(0.5)(network, batch), expected)


@pytest.mark.parametrize(
    ("ipc", "classes", "calibration", "push_every", "batch_real", "training_steps"),
    [
        (1, 4, 0.5, 5, 5000, 10),
        (10, 4, 0.5, 30, 256, 10),
        (50, 4, 0.1, 30, 256, 10),
        (1, 100, 0.5, 5, 5000, 10),
        (10, 100, 0.1, 30, 256, 50),
        (50, 100, 0.1, 30, 256, 40),
    ],
)
def test_the_papers_preset_is_the_published_loop(
    ipc, classes, calibration, push_every, batch_real, training_steps
):
    X, y = noise(100, (28, 28), classes)
    params = resolved(X, y, ipc, preset="paper")
    published = {
        "network": "convnet",
        "factor": 2,
        "augmentation": [("color", "crop", "cutout", "scale", "rotate")],
        "init": "mix",
        "max_iter": 20_000,
        "queue_size": 100,
        "push_every": push_every,
        "training_steps": training_steps,
        "calibration": calibration,
        "batch_real": batch_real,
        "optimizer": "sgd",
        "learning_rate": pytest.approx(0.2 * (X / 255).var(), rel=1e-3),
        "momentum": 0.5,
        "schedule": "constant",
    }
    assert {name: params[name] for name in published} == published


def test_our_own_settings():
    params = resolved(*digits(), 2)
    own = {"factor": 1, "init": "real", "push_every": 30, "training_steps": 2}
    own |= {"calibration": 0.01, "optimizer": "adam", "augmentation": []}
    assert {name: params[name] for name in own} == own


def test_what_is_given_beside_the_preset_stays():
    given = {"factor": 1, "push_every": 7, "training_steps": 0, "calibration": 0.0}
    params = resolved(*noise(16, (28, 28)), 1, preset="paper", **given)
    assert {name: params[name] for name in given} == given
    assert params["init"] == "real"


def test_a_preset_is_for_images():
    with pytest.raises(ValueError, match="preset='paper' is for images"):
        quick(preset="paper").fit(*iris())


@pytest.mark.parametrize("data", [digits, iris])
def test_rows_move(data):
    X, y = data()
    model, start = quick(max_iter=20, batch_real=8).fit(X, y), quick(max_iter=0).fit(X, y)
    assert np.isfinite(model.condensed_.X).all()
    assert not np.array_equal(model.condensed_.X, start.condensed_.X)


def test_the_queues_networks_reach_the_loss():
    """Without training and calibration it is mean matching; both change the rows."""
    X, y = digits()
    rows = [
        quick(max_iter=8, training_steps=steps, calibration=weight).fit(X, y).condensed_.X
        for steps, weight in ((0, 0.0), (2, 0.0), (2, 1.0))
    ]
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[1], rows[2])


def test_a_network_without_an_output_a_class_is_refused():
    def factory(shape, n):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, n + 1))

    with pytest.raises(ValueError, match="IDMCondenser needs a network with 3 outputs"):
        quick(network=factory).fit(*digits())


def test_soft_labels_are_the_queues_by_their_accuracy(monkeypatch):
    queues = []

    def keeping(*args, **settings):
        queues.append(NetworkQueue(*args, **settings))
        return queues[-1]

    monkeypatch.setattr("m3d_sklearn.condensers._idm.NetworkQueue", keeping)
    condensed = quick(max_iter=6, soft_labels=True).fit(*digits()).condensed_
    (queue,), (rows, _) = queues, condensed.to_torch()
    with torch.no_grad():
        outputs = [network(rows).softmax(1) for network, _ in queue.teachers()]
    weights = [accuracy for accuracy in queue.accuracy if accuracy]
    expected = sum(w * p for w, p in zip(weights, outputs, strict=True)) / sum(weights)
    np.testing.assert_allclose(condensed.soft_labels, expected, atol=1e-4)


@pytest.mark.parametrize("what", [{"soft_labels": True}, {"calibration": 0.5}])
def test_labels_need_networks_that_learn(what):
    with pytest.raises(ValueError, match=r"training_steps above 0; got training_steps=0"):
        quick(training_steps=0, **what).fit(*digits())
    assert quick(training_steps=0).fit(*digits()).n_iter_
