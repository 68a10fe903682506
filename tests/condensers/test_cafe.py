import numpy as np
import pytest
from common import digits, iris
from torch import nn

from m3d_sklearn import CAFECondenser


def quick(ipc=2, **settings):
    return CAFECondenser(ipc, **({"max_iter": 3, "random_state": 0, "device": "cpu"} | settings))


def noise(n, shape, classes=4):
    X = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return X, np.arange(n) % classes


def resolved(X, y, ipc, **settings):
    """Parameters of a run that ends at once."""
    return quick(ipc, max_iter="auto", max_time=1e-9, **settings).fit(X, y).params_


def test_the_papers_preset_is_the_published_loop():
    X, y = noise(16, (28, 28))
    params = resolved(X, y, 10, preset="paper")
    published = {
        "network": "convnet",
        "factor": 1,
        "augmentation": [],
        "init": "noise",
        "max_iter": 20_000,  # 2,000 networks of ten steps
        "batch_real": 256,
        "optimizer": "sgd",
        "learning_rate": pytest.approx(0.1 * (X / 255).var(), rel=1e-3),
        "momentum": 0.5,
        "schedule": "step",
    }
    assert {name: params[name] for name in published} == published


def test_our_own_settings():
    params = resolved(*digits(), 2)
    own = {"init": "real", "batch_real": 32, "optimizer": "adam", "schedule": "cosine"}
    assert {name: params[name] for name in own} == own


def test_what_is_given_beside_the_preset_stays():
    given = {"init": "real", "schedule": "constant", "optimizer": "adam", "batch_real": 3}
    params = resolved(*noise(16, (28, 28)), 1, preset="paper", **given)
    assert {name: params[name] for name in given} == given


def test_a_preset_is_for_images():
    with pytest.raises(ValueError, match="preset='paper' is for images"):
        quick(preset="paper").fit(*iris())


@pytest.mark.parametrize("data", [digits, iris])
def test_rows_move_and_the_loss_falls(data):
    X, y = data()
    model = quick(max_iter=41, batch_real=8).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_augmentation_makes_it_cafe_and_dsa():
    X, y = noise(40, (16, 16))
    policy = [("color", "crop", "cutout", "scale", "rotate")]
    models = [quick(augmentation=own).fit(X, y) for own in ("auto", policy)]
    assert models[1].params_["augmentation"] == policy
    assert not np.array_equal(models[0].condensed_.X, models[1].condensed_.X)


def test_a_network_without_an_output_a_class_is_refused():
    def factory(shape, n):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, n + 1))

    with pytest.raises(ValueError, match="CAFECondenser needs a network with 3 outputs"):
        quick(network=factory).fit(*digits())
