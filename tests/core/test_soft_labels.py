import pytest
import torch
from problems import scale_of
from torch import nn

from m3d_sklearn.core.soft_labels import soft_labels


class Listed:
    """Gives these networks with these weights."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def teachers(self):
        yield from self.pairs


def linear(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(3, 4)


def rows(n=5):
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(0))


def test_is_the_mean_of_the_networks_probabilities_by_their_weights():
    scale = scale_of(mean=0.5, std=2.0, dtype=torch.float32)
    one, other = linear(0), linear(1)
    seen = (rows() - 0.5) / 2.0
    expected = (3 * one(seen).softmax(1) + other(seen).softmax(1)) / 4
    found = soft_labels(Listed((one, 60.0), (other, 20.0)), rows(), scale)
    torch.testing.assert_close(found, expected.detach())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(5))


def test_features_and_head_give_the_outputs():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = linear(0)

        def embed(self, x):
            return 2 * x

    found = soft_labels(Listed((Halves(), 1.0)), rows(), scale_of(dtype=torch.float32))
    torch.testing.assert_close(found, linear(0)(2 * rows()).softmax(1).detach())


def test_a_row_has_its_label_alone_and_among_others_and_networks_stay_as_they_were():
    """Neither dropout nor a batch's own statistics: networks are asked in evaluation mode."""
    network = nn.Sequential(linear(0), nn.BatchNorm1d(4), nn.Dropout()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    source, scale = Listed((network, 1.0)), scale_of(dtype=torch.float32)
    state = torch.get_rng_state()
    together = soft_labels(source, rows(), scale)
    alone = torch.cat([soft_labels(source, row[None], scale) for row in rows()])
    torch.testing.assert_close(together, alone)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3)])
def test_where_no_network_has_learnt_there_are_none(shape):
    assert soft_labels(Listed(), torch.rand(2, *shape), scale_of(dtype=torch.float32)) is None
