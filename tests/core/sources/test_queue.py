import pytest
import torch
import torch.nn.functional as F

from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import FreshNetworks, NetworkQueue
from m3d_sklearn.core.sources.queue import ACCURACY, FIRST
from m3d_sklearn.core.training import TrainingRecipe

CPU = torch.device("cpu")


def blobs(n=60):
    labels = torch.arange(n) % 2
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return noise + 4.0 * labels[:, None], labels


def queue(steps=2, push_every=4, size=5, batch_size=16, network="mlp", momentum=0.9):
    rows, labels = blobs()
    fresh = FreshNetworks(network, (3,), 2, 1, Stream(0, CPU))
    recipe = TrainingRecipe(steps=steps, batch_size=batch_size, momentum=momentum)
    return NetworkQueue(fresh, rows.__getitem__, labels, recipe, push_every=push_every, size=size)


def at(iteration):
    return Progress(torch.empty(0), iteration)


def flat(weights):
    return torch.cat([w.detach().flatten() for w in weights])


def known(networks):
    return [flat(own) for own in networks.queue]


def test_fresh_networks_join_and_the_oldest_leave():
    networks = queue(steps=0, push_every=4, size=4)
    lengths, first = [], known(networks)
    for iteration in range(13):
        networks(at(iteration))
        lengths.append(len(networks.queue))
    assert lengths == [FIRST] * 4 + [4] * 9
    assert torch.equal(known(networks)[0], first[2])  # two have left by the third that joined
    assert len({tuple(own.tolist()) for own in known(networks)}) == 4


def test_an_iterations_network_is_one_of_the_queue_frozen_and_in_evaluation_mode():
    networks, seen = queue(), set()
    for iteration in range(20):
        network, new = networks(at(iteration))
        assert new
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        places = [
            k for k, own in enumerate(known(networks)) if own.equal(flat(network.parameters()))
        ]
        assert len(places) == 1
        assert getattr(network, ACCURACY) == networks.accuracy[places[0]]
        seen.add(places[0])
    assert len(seen) > 2
    assert len({id(networks(at(20))[0]), id(networks(at(21))[0])}) == 1  # one module throughout


def test_two_learn_after_every_iteration_and_the_others_stay():
    networks = queue(push_every=100)
    networks(at(0))
    for iteration in range(1, 5):
        before = known(networks)
        networks(at(iteration))
        moved = sum(not torch.equal(a, b) for a, b in zip(before, known(networks), strict=True))
        assert moved == 2


def test_teachers_are_those_of_the_queue_that_have_learnt():
    networks = queue(push_every=100)
    networks(at(0))
    assert list(networks.teachers()) == []
    networks(at(1))
    learnt = [place for place, accuracy in enumerate(networks.accuracy) if accuracy]
    taught = [(flat(n.parameters()), weight) for n, weight in networks.teachers()]
    assert len(learnt) == 2
    for place, (weights, weight) in zip(learnt, taught, strict=True):
        assert torch.equal(weights, known(networks)[place])
        assert weight == networks.accuracy[place]


def test_a_burst_is_plain_sgd_with_momentum_and_weight_decay(monkeypatch):
    """Against a loop of its own over the rows that were drawn."""
    networks, drawn = queue(steps=3, push_every=100), []
    integers = Stream.integers

    def seen(self, low, high, *shape):
        drawn.append(integers(self, low, high, *shape))
        return drawn[-1]

    networks(at(0))
    before = known(networks)
    monkeypatch.setattr(Stream, "integers", seen)
    orders = []
    permutation = Stream.permutation
    monkeypatch.setattr(
        Stream, "permutation", lambda self, n: orders.append(permutation(self, n)) or orders[-1]
    )
    networks(at(1))
    rows, labels = blobs()
    changed = [k for k, own in enumerate(known(networks)) if not torch.equal(own, before[k])]
    found = []
    for order in orders:  # one for each of the two
        for place in changed:
            plain, velocity = MLP((3,), 2), None
            torch.nn.utils.vector_to_parameters(before[place].clone(), plain.parameters())
            for chosen in drawn[0][order].split(16):
                loss = F.cross_entropy(plain(rows[chosen]), labels[chosen])
                gradient = flat(torch.autograd.grad(loss, plain.parameters()))
                weights = flat(plain.parameters())
                gradient = gradient + 5e-4 * weights
                velocity = gradient if velocity is None else 0.9 * velocity + gradient
                torch.nn.utils.vector_to_parameters(weights - 0.01 * velocity, plain.parameters())
            found.append(flat(plain.parameters()))
    for place in changed:
        assert min((own - known(networks)[place]).abs().max() for own in found) < 1e-6


def test_the_running_accuracy_is_in_percent_and_rises():
    networks = queue(steps=10, push_every=100)
    assert all(own == 0 for own in networks.accuracy)
    for iteration in range(30):
        networks(at(iteration))
    assert all(80 < float(own) <= 100 for own in networks.accuracy)


def test_one_network_alone_learns():
    networks = queue(size=1, push_every=100)
    networks(at(0))
    before = known(networks)
    networks(at(1))
    assert len(networks.queue) == 1
    assert not torch.equal(before[0], known(networks)[0])


@pytest.mark.parametrize("steps", [0, 2])
def test_the_same_seed_gives_the_same_queue(steps):
    runs = [queue(steps), queue(steps)]
    for networks in runs:
        for iteration in range(9):
            networks(at(iteration))
    for a, b in zip(*map(known, runs), strict=True):
        assert torch.equal(a, b)


class Named(torch.nn.Module):
    """With a parameter of its own, an attribute `accuracy`, and dropout."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.accuracy = None
        self.layer = torch.nn.Linear(shape[0], n_outputs)
        self.shift = torch.nn.Parameter(torch.zeros(n_outputs))

    def forward(self, x):
        return F.dropout(self.layer(x) + self.shift, 0.2, self.training)


@pytest.mark.usefixtures("globals_untouched")
def test_a_network_that_joins_is_fresh_in_all_its_parameters():
    networks = queue(push_every=2, network=Named)
    for iteration in range(9):
        networks(at(iteration))
        if iteration and iteration % 2 == 0:
            shift = networks.queue[-1][0]
            assert shift.tolist() == [0.0, 0.0]
    assert any(own[0].any() for own in networks.queue[:-1])
