import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from m3d_sklearn.core.networks import NETWORKS, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.redraw import as_built, redraw_

CPU = torch.device("cpu")
names = pytest.mark.parametrize("name", list(NETWORKS))


def stream(seed=0):
    return Stream(seed, CPU)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class Mixed(nn.Module):
    """One layer of every kind that `redraw_` tells apart."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, groups=2)
        self.norm = nn.GroupNorm(6, 6)
        self.batch = nn.BatchNorm1d(6)
        self.linear = nn.Linear(6, 50)
        self.embedding = nn.Embedding(5, 3)  # any other layer that can reset itself

    def forward(self, x):
        return self.linear(self.norm(self.conv(x)).mean((2, 3)))


@names
def test_redraw_changes_every_random_weight(name):
    network = build(name, (1, 16, 16), 3, stream())
    before = {k: v.clone() for k, v in network.named_parameters()}
    redraw_(network, stream(1))
    norms = {k for k, v in before.items() if v.ndim == 1 and bool((v == v[0]).all())}
    for key, value in network.named_parameters():
        kept = (value == before[key]).double().mean()
        assert kept == 1 if key in norms else kept < 0.01, key


def test_redraw_starts_norms_anew():
    network = build(Mixed, (2, 8, 8), 2, stream())
    with torch.no_grad():
        for norm in (network.norm, network.batch):
            norm.weight.fill_(3)
            norm.bias.fill_(3)
        network.batch.running_mean.fill_(3)
    embedding = network.embedding.weight.clone()
    redraw_(network, stream(1))
    for norm in (network.norm, network.batch):
        assert norm.weight.tolist() == [1.0] * 6
        assert norm.bias.tolist() == [0.0] * 6
    assert network.batch.running_mean.tolist() == [0.0] * 6
    assert (network.embedding.weight != embedding).all()


def test_redraw_starts_attention_anew():
    """Its packed weights are a parameter of no layer that `redraw_` knows."""
    network = build(lambda: nn.MultiheadAttention(4, 2), (4,), 2, stream())
    before = network.in_proj_weight.clone()
    redraw_(network, stream(1))
    assert (network.in_proj_weight != before).all()


@pytest.mark.parametrize("factory", ["convnet", "mlp", Mixed], ids=str)
def test_a_seed_fixes_the_weights(factory):
    first, second = (build(factory, (2, 8, 8), 2, stream(3)) for _ in range(2))
    other = build(factory, (2, 8, 8), 2, stream(4))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))
    for network in (first, other):
        redraw_(network, stream(7))
    assert torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("name", ["convnet", "resnet10", Mixed], ids=str)
def test_same_weights_whatever_the_global_seed(name):
    built = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            built.append(weights(build(name, (2, 16, 16), 2, stream())))
    assert torch.equal(*built)


@pytest.mark.usefixtures("globals_untouched")
@pytest.mark.parametrize("factory", [*NETWORKS, Mixed], ids=str)
def test_global_generators_are_untouched(factory):
    redraw_(build(factory, (2, 16, 16), 2, stream()), stream(1))


@pytest.mark.usefixtures("globals_untouched")
def test_global_generator_comes_back_after_a_factory_failed():
    def factory():
        torch.rand(3)
        raise RuntimeError

    with pytest.raises(ValueError, match="network"):
        build(factory, (2,), 2, stream())


def test_generators_of_other_devices_are_untouched(monkeypatch):
    """torch.manual_seed would seed every GPU too, and a run on the CPU restores none."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    redraw_(build(Mixed, (2, 8, 8), 2, stream()), stream(1))
    assert seeded == []


def test_redraw_is_uniform_within_the_bound_of_torch():
    linear, conv = nn.Linear(100, 200), nn.Conv2d(8, 64, 3, groups=2)
    redraw_(nn.Sequential(linear, conv), stream())
    for layer, fan_in in ((linear, 100), (conv, 4 * 9)):
        bound = 1 / math.sqrt(fan_in)
        share = torch.cat([layer.weight.flatten(), layer.bias]).detach() / bound
        assert share.abs().max() <= 1
        # 20,000 and 2,304 uniform numbers in [-1, 1]: mean 0 and variance 1/3, within 5 errors.
        error = 5 / math.sqrt(share.numel())
        assert abs(share.mean()) < error * math.sqrt(1 / 3)
        assert abs(share.square().mean() - 1 / 3) < error * math.sqrt(4 / 45)
        assert share.max() > 0.99
        assert layer.bias.abs().max() <= bound


def test_redraw_keeps_frozen_weights_frozen():
    network = build("mlp", (3,), 2, stream()).requires_grad_(False)
    redraw_(network, stream(1))
    assert not any(p.requires_grad for p in network.parameters())


class Shifted(nn.Module):
    """With a parameter of its own, which no layer draws."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.layer = nn.Linear(shape[0], n_outputs)
        self.shift = nn.Parameter(torch.full((n_outputs,), 2.0))

    def forward(self, x):
        return self.layer(x) + self.shift


def test_a_parameter_of_a_modules_own_goes_back_to_what_it_was_built_as():
    network = build(Shifted, (4,), 3, stream())
    built = as_built(network)
    before = network.layer.weight.clone()
    with torch.no_grad():
        network.shift.add_(1)
    redraw_(network, stream(1), built)
    assert network.shift.tolist() == [2.0] * 3
    assert (network.layer.weight != before).all()


@names
def test_what_layers_draw_is_not_kept(name):
    assert as_built(build(name, (1, 16, 16), 3, stream())) == []


def test_a_weight_that_is_computed_is_drawn_too():
    """``layer.weight`` is a new tensor at every look: to fill it in place changes nothing."""
    network = build(lambda: nn.Sequential(weight_norm(nn.Linear(50, 20))), (50,), 20, stream())
    before = network[0].weight.detach().clone()
    redraw_(network, stream(1), as_built(network))
    now = network[0].weight.detach()
    assert (now != before).double().mean() > 0.99
    assert now.abs().max() <= 1 / math.sqrt(50) + 1e-6
