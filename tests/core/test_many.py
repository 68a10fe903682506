from functools import partial

import pytest
import torch
from torch import nn

from m3d_sklearn.core import many
from m3d_sklearn.core.many import ManyConvNets, ManyMLPs, Separate, together
from m3d_sklearn.core.networks import MLP, ConvNet, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.training import TrainingRecipe, train

CPU = torch.device("cpu")
SMALL = {
    "convnet": (partial(ConvNet, width=6), (2, 16, 20)),
    "deep convnet": (partial(ConvNet, width=4, depth=3), (1, 28, 28)),
    "mlp": (partial(MLP, width=7, depth=2), (5,)),
}


def networks_of(factory, shape, n=3, dtype=torch.float64):
    streams = [Stream(seed, CPU) for seed in range(n)]
    return [build(factory, shape, 4, stream).to(dtype) for stream in streams], streams


def rows_of(n, b, shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, b, *shape, generator=generator, dtype=torch.float64)


def stacked(networks):
    return (ManyMLPs if isinstance(networks[0], MLP) else ManyConvNets)(networks)


@pytest.mark.parametrize("name", SMALL)
def test_each_network_sees_its_own_batch(name):
    factory, shape = SMALL[name]
    networks, _ = networks_of(factory, shape)
    rows = rows_of(3, 5, shape)
    expected = torch.stack([network(own) for network, own in zip(networks, rows, strict=True)])
    torch.testing.assert_close(stacked(networks)(rows), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SMALL)
def test_each_network_gets_the_gradient_of_its_own_loss(name):
    factory, shape = SMALL[name]
    networks, _ = networks_of(factory, shape)
    rows, together_ = rows_of(3, 5, shape), stacked(networks)
    shares = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    (together_(rows).square().sum((1, 2)) * shares).sum().backward()
    for network, own, share in zip(networks, rows, shares, strict=True):
        (network(own).square().sum() * share).backward()
    for key, parameter in networks[0].named_parameters():
        values = [dict(network.named_parameters())[key] for network in networks]
        # On a CPU a convolution's bias, which the norm takes away, has no gradient at all.
        expected = [torch.zeros_like(v) if v.grad is None else v.grad for v in values]
        joined = getattr(together_, key.replace(".", "_")).grad
        assert joined.shape[0] == 3 * parameter.shape[0]
        torch.testing.assert_close(joined, torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_trained_parameters_are_written_back():
    networks, _ = networks_of(*SMALL["convnet"])
    together_ = stacked(networks)
    with torch.no_grad():
        for parameter in together_.parameters():
            parameter.add_(torch.arange(len(parameter)).view(-1, *[1] * (parameter.ndim - 1)))
    before = [network.head.bias.clone() for network in networks]
    together_.write_back()
    for i, (network, bias) in enumerate(zip(networks, before, strict=True)):
        torch.testing.assert_close(network.head.bias, bias + torch.arange(4 * i, 4 * i + 4))


TRAINING = {
    "convnet": {
        "policy": ("color", "flip", ("crop", "scale", "rotate")),
        "cutmix": 0.5,
        "milestones": (0.5,),
        "decay": 0.2,
    },
    "mlp": {},
}


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("form", ["apart", "stacked"])
def test_together_is_alone(monkeypatch, name, form):
    """Three networks trained together are the three trained one by one."""
    factory, shape = SMALL[name]
    data, labels = rows_of(1, 10, shape)[0], torch.arange(10) % 4
    recipe = TrainingRecipe(
        steps=7, batch_size=4, learning_rate=0.05, momentum=0.9, **TRAINING[name]
    )

    def trained(seeds):
        streams = [Stream(seed, CPU) for seed in seeds]
        networks = [build(factory, shape, 4, stream).double() for stream in streams]
        curve = train(networks, data.__getitem__, labels, recipe, streams, shape)
        return networks, curve

    alone = [trained([seed]) for seed in range(3)]
    build_together = Separate if form == "apart" else lambda networks, streams: stacked(networks)
    monkeypatch.setattr(
        "m3d_sklearn.core.training.together",
        lambda networks, streams, device: build_together(networks, streams),
    )
    networks, curve = trained(range(3))
    assert curve.shape == (3, 3)
    for i, ((one,), own) in enumerate(alone):
        assert curve[:, i] == pytest.approx(own[:, 0], abs=1e-10)
        x = rows_of(1, 6, shape)[0]
        torch.testing.assert_close(networks[i](x), one(x), rtol=1e-9, atol=1e-9)


def test_form_follows_networks_and_device(monkeypatch):
    images, streams = networks_of(*SMALL["convnet"])
    tables, _ = networks_of(*SMALL["mlp"])
    assert isinstance(together(images, streams, CPU), Separate)
    assert isinstance(together(tables, streams, CPU), ManyMLPs)
    assert isinstance(together(tables[:1], streams[:1], CPU), Separate)
    assert isinstance(together([nn.Linear(2, 2)] * 2, streams[:2], CPU), Separate)
    monkeypatch.setattr(many, "is_accelerator", lambda device: True)
    assert isinstance(together(images, streams, CPU), ManyConvNets)


def test_dropout_draws_from_its_own_networks_stream():
    """So that a network's masks do not depend on who is trained beside it."""

    def masks(seeds):
        streams = [Stream(seed, CPU) for seed in seeds]
        modules = [nn.Sequential(nn.Dropout(0.5)) for _ in seeds]
        state = torch.get_rng_state()
        drawn = Separate(modules, streams)(torch.ones(len(seeds), 2, 50))
        assert torch.equal(torch.get_rng_state(), state)
        return drawn

    both = masks([3, 8])
    assert torch.equal(both[:1], masks([3]))
    assert torch.equal(both[1:], masks([8]))
    assert not torch.equal(both[0], both[1])
