from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import FreshNetworks, NetworksOfStoredRows
from m3d_sklearn.core.training import TrainingRecipe

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 0, 1, 1])


def source(every=3, epochs=2, batch_size=4, decode=lambda rows: rows, labels=LABELS):
    fresh = FreshNetworks("mlp", (3,), 2, every, Stream(0, CPU))
    recipe = TrainingRecipe(steps=0, batch_size=batch_size, momentum=0.0, weight_decay=0.0)
    return NetworksOfStoredRows(fresh, decode, labels, recipe, epochs)


def rows_at(iteration):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(iteration))


def weights(network):
    return [p.detach().clone() for p in network.parameters()]


def run(networks, n):
    """Weights at each iteration of a run whose rows move, and what was said of them."""
    found = []
    for iteration in range(n):
        network, new = networks(Progress(rows_at(iteration), iteration))
        found.append((weights(network), new))
    return found


def test_a_fresh_network_every_few_iterations_and_a_trained_one_between():
    found = run(source(), 7)
    for place, ((before, _), (after, _)) in enumerate(pairwise(found), 1):
        moved = sum((a - b).norm() for a, b in zip(before, after, strict=True))
        assert moved > 1 if place % 3 == 0 else 0 < moved < 0.5
    assert all(new for _, new in found)


def test_without_epochs_networks_stay_random():
    found = run(source(epochs=0), 7)
    assert [new for _, new in found] == [True, False, False, True, False, False, True]
    for place, ((before, _), (after, _)) in enumerate(pairwise(found), 1):
        same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert same == (place % 3 > 0)


def test_the_training_is_plain_gradient_descent_on_the_rows_as_they_stand():
    networks = source(every=10, epochs=3)
    found = run(networks, 3)
    plain = MLP((3,), 2)
    for p, value in zip(plain.parameters(), found[0][0], strict=True):
        p.data.copy_(value)
    for iteration in (1, 2):
        for _ in range(3):
            loss = F.cross_entropy(plain(rows_at(iteration)), LABELS)
            for p, g in zip(
                plain.parameters(), torch.autograd.grad(loss, plain.parameters()), strict=True
            ):
                p.data.sub_(0.01 * g)
        torch.testing.assert_close(weights(plain), found[iteration][0])


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 2), (3, 4), (256, 2)])
def test_epochs_are_whole(batch_size, steps):
    assert source(batch_size=batch_size).recipe.steps == steps


def test_networks_are_frozen_between_trainings_and_the_stored_rows_stay():
    networks = source()
    for iteration in range(4):
        rows = rows_at(iteration)
        network, _ = networks(Progress(rows, iteration))
        assert network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert torch.equal(rows, rows_at(iteration))


def test_decoded_rows_are_trained_on():
    seen = []

    def decode(rows):
        seen.append(rows)
        return rows.repeat(2, 1)

    networks = source(decode=decode, labels=LABELS.repeat(2), batch_size=8)
    run(networks, 2)
    assert len(seen) == 1
    assert torch.equal(seen[0], rows_at(1))
