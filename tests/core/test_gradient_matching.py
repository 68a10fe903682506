from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from m3d_sklearn.core import gradient_matching
from m3d_sklearn.core.gradient_matching import gradient_distance, unit_distances
from m3d_sklearn.core.networks import MLP, ConvNet
from m3d_sklearn.core.step import Batch


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def batch_of(shape, real_counts, counts, first=0):
    real = 4 * uniform(sum(real_counts), *shape) - 2
    synthetic = 4 * uniform(sum(counts), *shape, seed=1) - 2
    return Batch(real, list(real_counts), synthetic.requires_grad_(True), list(counts), first)


def plain_distances(network, batch):
    """The published loop: class after class, weight after weight, by autograd alone."""
    found = []
    weights = [p for p in network.parameters() if p.ndim > 1]
    sides = [(batch.real, batch.real_counts), (batch.synthetic, batch.synthetic_counts)]
    parts = [rows.split(counts) for rows, counts in sides]
    for c, rows in enumerate(zip(*parts, strict=True)):
        gradients = []
        for own in rows:
            labels = torch.full((len(own),), c + batch.first)
            loss = F.cross_entropy(network(own), labels)
            gradients.append(torch.autograd.grad(loss, weights, create_graph=True))
        total = 0
        for real, synthetic in zip(*gradients, strict=True):
            for a, b in zip(real.flatten(1).detach(), synthetic.flatten(1), strict=True):
                # A dead unit has no gradient, and a norm none there.
                alive = a.norm() > 0 and b.norm() > 0
                total = total + 1 - (a @ b / (a.norm() * b.norm()) if alive else 0)
        found.append(total)
    return torch.stack(found)


class Plain(nn.Module):
    """A ConvNet through torch's modules, with autograd's gradients."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.head(self.network.blocks(x).flatten(1))


NETWORKS = {
    "mlp": (lambda: MLP((6,), 5, width=7), (6,), lambda network: network),
    "convnet": (lambda: ConvNet((2, 8, 8), 5, width=4, depth=2), (2, 8, 8), Plain),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 5)), (6,), lambda network: network),
}


def test_one_linear_layer_by_hand():
    """With one row a class the gradient is (p − e) xᵀ, and each unit's cosine that of the rows."""
    network = nn.Linear(3, 2, bias=False).double()
    batch = batch_of((3,), (1, 1), (1, 1))
    cosines = F.cosine_similarity(batch.real, batch.synthetic)
    expected = 2 * (1 - cosines)  # two units, of the same sign on both sides
    torch.testing.assert_close(gradient_distance(network, batch), expected)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("real", "counts"), [((4, 4, 4), (2, 2, 2)), ((3, 1, 5), (1, 4, 2))])
def test_distances_and_gradients_are_those_of_the_plain_loop(kind, real, counts):
    make, shape, forward = NETWORKS[kind]
    network = make().double()
    batch = batch_of(shape, real, counts, first=1)
    found = []
    for losses in (gradient_distance(network, batch), plain_distances(forward(network), batch)):
        found.append((losses, *torch.autograd.grad(losses.sum(), batch.synthetic)))
    assert found[0][0].shape == (3,)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_mapped_images_are_those_in_turn(monkeypatch):
    """A GPU maps over the classes, a CPU takes images class after class."""
    make, shape, _ = NETWORKS["convnet"]
    network, batch = make().double(), batch_of(shape, (3, 1, 5), (1, 4, 2))
    in_turn = gradient_distance(network, batch)
    monkeypatch.setattr(gradient_matching, "is_accelerator", lambda device: True)
    torch.testing.assert_close(gradient_distance(network, batch), in_turn)


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("shape", [(6,), (1, 6, 1)])
def test_a_norm_of_batches_sees_a_classs_own_rows_alone(monkeypatch, accelerator, shape):
    """And not what would fill a smaller class up."""
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    layers = nn.Flatten(), nn.Linear(6, 4), norm, nn.ReLU(), nn.Linear(4, 5)
    network, batch = nn.Sequential(*layers).double(), batch_of(shape, (3, 2, 5), (2, 4, 3))
    monkeypatch.setattr(gradient_matching, "is_accelerator", lambda device: accelerator)
    torch.testing.assert_close(gradient_distance(network, batch), plain_distances(network, batch))


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradient_by_finite_differences(kind):
    make, shape, _ = NETWORKS[kind]
    network, batch = make().double(), batch_of(shape, (3, 4), (2, 1))
    (gradient,) = torch.autograd.grad(gradient_distance(network, batch).sum(), batch.synthetic)
    direction = uniform(*batch.synthetic.shape, seed=2) - 0.5
    step = 1e-6
    ends = [
        gradient_distance(
            network, replace(batch, synthetic=batch.synthetic.detach() + s * step * direction)
        ).sum()
        for s in (1, -1)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-7)


def test_the_same_rows_are_at_distance_zero_and_opposite_gradients_at_two():
    network, rows = nn.Linear(6, 5).double(), uniform(6, 6)
    batch = Batch(rows, [3, 3], rows.clone().requires_grad_(True), [3, 3])
    assert gradient_distance(network, batch).detach().abs().max() < 1e-9
    own = {"weight": uniform(2, 4, 3)}
    opposite = {"weight": -own["weight"]}
    assert unit_distances(own, opposite).tolist() == pytest.approx([8.0, 8.0])


def test_a_unit_without_gradient_is_at_distance_one_and_moves_nothing():
    """Dead units are common after a ReLU; a bare norm has no gradient there."""
    network = MLP((6,), 5, width=3)
    with torch.no_grad():
        network.layers[0].bias.copy_(torch.tensor([-100.0, 0.0, 0.0]))
    real, synthetic = uniform(2, 6).float(), uniform(2, 6, seed=1).float().requires_grad_(True)
    loss = gradient_distance(network, Batch(real, [2], synthetic, [2]))
    (gradient,) = torch.autograd.grad(loss.sum(), synthetic)
    assert torch.isfinite(gradient).all()
    assert loss.item() > 1


def test_the_networks_own_weights_are_left_alone():
    network = MLP((6,), 5).requires_grad_(False)
    before = {name: p.clone() for name, p in network.named_parameters()}
    batch = Batch(torch.rand(4, 6), [2, 2], torch.rand(4, 6).requires_grad_(True), [2, 2])
    gradient_distance(network, batch).sum().backward()
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
