import numpy as np
import pytest
import torch
from common import digits, iris
from sklearn.linear_model import LogisticRegression
from torch import nn

from m3d_sklearn import DCCondenser, DSACondenser, Random


def quick(ipc=2, cls=DCCondenser, **settings):
    return cls(ipc, **({"max_iter": 3, "random_state": 0, "device": "cpu"} | settings))


def noise(n, shape, classes=4):
    X = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return X, np.arange(n) % classes


def resolved(X, y, ipc, cls=DCCondenser, **settings):
    """Parameters of a run that ends at once."""
    return quick(ipc, cls, max_iter="auto", max_time=1e-9, **settings).fit(X, y).params_


@pytest.mark.parametrize(
    ("ipc", "outer", "inner"),
    [(1, 1, 1), (2, 1, 1), (10, 10, 50), (12, 10, 50), (20, 20, 25), (30, 30, 20), (50, 50, 10)],
)
def test_the_papers_preset_is_the_published_loop(ipc, outer, inner):
    X, y = noise(16, (28, 28))
    params = resolved(X, y, ipc, preset="paper")
    published = {
        "network": "convnet",
        "factor": 1,
        "augmentation": [],
        "init": "noise",
        "iterations_per_network": outer,
        "inner_epochs": inner,
        "batch_real": 256,
        "optimizer": "sgd",
        "learning_rate": pytest.approx(0.1 * (X / 255).var(), rel=1e-3),
        "momentum": 0.5,
        "schedule": "constant",
        "precision": "float32",
    }
    assert {name: params[name] for name in published} == published


def test_the_published_run_has_a_thousand_networks(monkeypatch):
    X, y = noise(16, (28, 28))
    monkeypatch.setattr("m3d_sklearn.condensers._dc.PUBLISHED_NETWORKS", 2)
    own = {"max_iter": "auto", "inner_epochs": 0, "batch_real": 2, "iterations_per_network": 3}
    assert quick(1, preset="paper", **own).fit(X, y).n_iter_ == 6


def test_what_is_given_beside_the_preset_stays():
    X, y = noise(16, (28, 28))
    given = {"init": "real", "inner_epochs": 7, "learning_rate": 0.5, "batch_real": 3}
    params = resolved(X, y, 10, preset="paper", **given)
    assert {name: params[name] for name in given} == given


def test_our_own_settings():
    params = resolved(*digits(), 10)
    own = {"init": "real", "iterations_per_network": 10, "inner_epochs": 5, "batch_real": 32}
    own |= {"optimizer": "adam", "learning_rate": 0.03, "schedule": "cosine", "augmentation": []}
    assert {name: params[name] for name in own} == own
    assert resolved(*digits(), 1)["iterations_per_network"] == 1


def test_a_preset_is_for_images():
    with pytest.raises(ValueError, match="preset='paper' is for images"):
        quick(preset="paper").fit(*iris())


@pytest.mark.parametrize("data", [digits, iris])
def test_rows_move_and_the_distance_falls(data):
    X, y = data()
    model = quick(2, max_iter=40, batch_real=8, iterations_per_network=1).fit(X, y)
    start = quick(2, max_iter=0).fit(X, y)
    assert not np.array_equal(model.condensed_.X, start.condensed_.X)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_condensing_beats_random_rows_on_digits():
    X, y = digits(10, 40)
    scores = []
    for cls in (DCCondenser, Random):
        rows, labels = cls(1, random_state=0).fit(X, y).condensed_
        model = LogisticRegression(max_iter=1000).fit(rows.reshape(len(rows), -1), labels)
        scores.append(model.score(X.reshape(len(X), -1), y))
    assert scores[0] > scores[1] + 0.05


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), "3 outputs per row"),
        (lambda shape, n: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, n)), "map"),
    ],
)
def test_networks_that_cannot_be_matched_are_refused(network, words):
    with pytest.raises(ValueError, match="network must") as error:
        quick(network=network).fit(*digits())
    assert words in str(error.value)


# ------------------------------------------------- DSA


def test_dsa_without_augmentation_is_dc_from_the_same_start():
    X, y = noise(40, (16, 16))
    settings = {"init": "real", "augmentation": None, "iterations_per_network": 2}
    rows = [quick(2, cls, **settings).fit(X, y).condensed_.X for cls in (DCCondenser, DSACondenser)]
    np.testing.assert_array_equal(*rows)


def test_dsas_preset_is_the_published_loop():
    X, y = noise(16, (32, 32, 3))
    params = resolved(X, y, 10, DSACondenser, preset="paper")
    operations = ("color", "crop", "cutout", "flip", "scale", "rotate")
    published = {"augmentation": [operations], "init": "real", "inner_epochs": 50}
    assert {name: params[name] for name in published} == published


@pytest.mark.parametrize(("side", "augmented"), [(8, False), (16, True)])
def test_dsa_augments_what_is_large_enough(side, augmented):
    params = resolved(*noise(16, (side, side)), 1, DSACondenser)
    assert bool(params["augmentation"]) is augmented


def test_augmentation_reaches_real_stored_and_trained_rows():
    X, y = noise(40, (16, 16))
    settings = {"iterations_per_network": 3, "max_iter": 3}
    rows = [
        quick(2, DSACondenser, augmentation=policy, inner_epochs=epochs, **settings)
        .fit(X, y)
        .condensed_.X
        for policy, epochs in ((None, 1), (["crop"], 1), (["crop"], 0))
    ]
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[1], rows[2])


def test_float32_unless_asked():
    assert quick(max_iter=0).fit(*digits()).params_["precision"] == "float32"
    assert quick()._precision(None) == torch.float32
