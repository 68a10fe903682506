import torch
import torch.nn.functional as F
from torch import nn

from m3d_sklearn.core.matching import class_means, cross_entropies, mean_distances
from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.step import Batch

ROWS = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0]])


def test_means_of_classes_of_any_size():
    assert class_means(ROWS, [2, 1]).tolist() == [[1.0, 2.0], [1.0, 1.0]]
    assert class_means(ROWS[:2], [1, 1]).tolist() == ROWS[:2].tolist()


def test_distances_of_the_means_move_the_synthetic_rows_alone():
    real, synthetic = ROWS.clone().requires_grad_(True), torch.tensor([[1.0, 0.0], [4.0, 5.0]])
    synthetic.requires_grad_(True)
    loss = mean_distances(real, synthetic, Batch(real, [2, 1], synthetic, [1, 1]))
    assert loss.tolist() == [4.0, 25.0]
    loss.sum().backward()
    assert real.grad is None
    assert synthetic.grad.tolist() == [[0.0, -4.0], [6.0, 8.0]]


def test_cross_entropy_of_each_class_by_the_networks_head():
    network, x = MLP((2,), 4, width=3), torch.randn(5, 2)
    batch = Batch(x, [2, 3], x, [2, 3], first=1)
    losses = F.cross_entropy(network(x), torch.tensor([1, 1, 2, 2, 2]), reduction="none")
    found = cross_entropies(network, network.embed(x), batch)
    torch.testing.assert_close(found, torch.stack([losses[:2].mean(), losses[2:].mean()]))


def test_a_module_without_a_head_gives_its_outputs():
    network, x = nn.Linear(2, 3), torch.randn(2, 2)
    batch = Batch(x, [1, 1], x, [1, 1])
    expected = F.cross_entropy(network(x), torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(cross_entropies(network, network(x), batch), expected)
