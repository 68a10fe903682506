import pytest
import torch
from torch import nn

from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import FreshNetworks, TrainedNetworks
from m3d_sklearn.core.training import TrainingRecipe

CPU = torch.device("cpu")


def at(iteration, done=0.0):
    """A run before this iteration."""
    return Progress(torch.empty(0), iteration, done)


def blobs(n=200):
    """Two classes of rows far apart."""
    labels = torch.arange(n) % 2
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return noise + 4.0 * labels[:, None], labels


def trained(network="mlp", **settings):
    rows, labels = blobs()
    chosen = {"size": 2, "rate": 3.0, "until": 0.5, "most": 1000} | settings
    recipe = TrainingRecipe(steps=1, batch_size=16)
    fresh = FreshNetworks(network, (3,), 2, 5, Stream(0, CPU))
    return TrainedNetworks(fresh, rows.__getitem__, labels, recipe, **chosen)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_turn_lasts_every_iterations_and_its_network_is_frozen():
    networks = trained()
    seen = [(weights(network), new) for network, new in map(networks, map(at, range(11)))]
    assert [new for _, new in seen] == [i % 5 == 0 for i in range(11)]
    for i in range(1, 11):
        assert torch.equal(seen[i][0], seen[i - 1][0]) == (i % 5 != 0)
    network, _ = networks(at(11))
    assert network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert networks(at(12))[0] is network


def test_the_first_turn_is_under_a_random_network():
    networks = trained(size=1)
    before = weights(networks.pool[0])
    assert torch.equal(weights(networks(at(0))[0]), before)
    assert networks.steps == 0


@pytest.mark.parametrize("size", [1, 3])
def test_every_turn_is_between_the_first_and_the_present_weights_of_one(size):
    networks, chosen, shares = trained(size=size), set(), []
    for turn in range(1, 40):
        now = weights(networks(at(5 * turn))[0])
        for place, (first, own) in enumerate(zip(networks.first, networks.pool, strict=True)):
            start = torch.cat([p.flatten() for p in first])
            way = weights(own) - start
            share = float((now - start) @ way / (way @ way))
            if torch.allclose(now, start + share * way, atol=1e-5):
                chosen.add(place)
                shares.append(share)
    assert chosen == set(range(size))
    assert len(shares) == 39
    assert -1e-3 < min(shares) < 0.2 < 0.8 < max(shares) < 1 + 1e-3


@pytest.mark.parametrize(("rate", "steps"), [(3.0, [0, 3, 6, 9]), (0.4, [0, 0, 0, 1])])
def test_training_follows_the_rate(rate, steps):
    networks, seen = trained(rate=rate), []
    for turn in range(4):
        networks(at(5 * turn))
        seen.append(networks.steps)
    assert seen == steps


def test_training_ends_with_its_part_of_the_run():
    networks = trained()
    for turn in range(10):
        networks(at(5 * turn, turn / 10))
    assert networks.steps == 3 * 4  # at turns 1 to 4


def test_teachers_are_the_pool_as_it_is_trained():
    networks = trained()
    networks(at(0))
    assert list(networks.teachers()) == []  # which would know nothing
    networks(at(5))
    assert list(networks.teachers()) == [(network, 1.0) for network in networks.pool]


def test_training_ends_with_the_most_steps():
    networks = trained(rate=4.0, most=10)
    for turn in range(6):
        networks(at(5 * turn))
    assert networks.steps == 10
    before = [weights(own) for own in networks.pool]
    networks(at(30))
    assert all(map(torch.equal, before, map(weights, networks.pool)))


def test_the_pool_learns():
    networks = trained(rate=20.0)
    rows, labels = blobs()

    def accuracy(network):
        return (network(rows).argmax(1) == labels).double().mean().item()

    for turn in range(6):
        networks(at(5 * turn))
    assert all(accuracy(own) > 0.95 for own in networks.pool)
    assert not torch.equal(weights(networks.pool[0]), weights(networks.pool[1]))


def test_the_same_seed_gives_the_same_networks():
    runs = [trained(), trained()]
    for turn in range(4):
        first, second = (weights(networks(at(5 * turn))[0]) for networks in runs)
        assert torch.equal(first, second)


def test_the_optimiser_keeps_its_momentum_from_turn_to_turn():
    networks = trained(size=1, rate=1.0)
    networks(at(0))
    networks(at(5))
    state = next(iter(networks.optimizer.state.values()))
    before = state["momentum_buffer"].clone()
    networks(at(10))
    assert next(iter(networks.optimizer.state.values())) is state
    assert not torch.equal(before, state["momentum_buffer"])


def test_a_network_of_ones_own_is_trained_too():
    networks = trained(
        lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), size=1, rate=5.0
    )
    before = weights(networks.pool[0])
    for turn in range(10):
        networks(at(5 * turn))
    assert (weights(networks.pool[0]) - before).norm() > 0.1
