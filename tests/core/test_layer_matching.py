import pytest
import torch
import torch.nn.functional as F
from torch import nn

from m3d_sklearn.core import layer_matching
from m3d_sklearn.core.layer_matching import layer_distances, layer_features
from m3d_sklearn.core.networks import MLP, ConvNet
from m3d_sklearn.core.step import Batch


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def batch_of(shape, real=(3, 1, 5), counts=(1, 4, 2)):
    synthetic = uniform(sum(counts), *shape, seed=1).requires_grad_(True)
    return Batch(uniform(sum(real), *shape), list(real), synthetic, list(counts))


def blocks_of(network, x):
    """Activations of the blocks and the pooled last ones, by torch's modules."""
    found = []
    for place in range(0, len(network.blocks), 4):
        x = network.blocks[place + 1](network.blocks[place](x)).relu()
        found.append(x)
        x = F.avg_pool2d(x, 2)
    return [*found, x]


def plain(features, weights, batch):
    """The published terms, class after class."""
    real = [f.split(batch.real_counts) for f in features(batch.real)]
    own = [f.split(batch.synthetic_counts) for f in features(batch.synthetic)]
    centres = torch.stack([part.flatten(1).mean(0) for part in own[-1]])
    losses = []
    for c in range(len(batch.real_counts)):
        loss = sum(
            w * (a[c].mean(0) - b[c].mean(0)).square().sum()
            for w, a, b in zip(weights, real, own, strict=True)
        )
        logits = real[-1][c].flatten(1).detach() @ centres.t()
        wanted = torch.full((len(logits),), c)
        losses.append(loss + 0.01 * F.cross_entropy(logits, wanted, reduction="sum"))
    return torch.stack(losses)


def test_convnets_layers_are_the_published_terms():
    network = ConvNet((2, 8, 8), 3, width=4, depth=3).double()
    batch = batch_of((2, 8, 8))
    expected = plain(lambda x: blocks_of(network, x), (0.1, 0.1, 1, 1), batch)
    found = layer_distances(network, batch)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(v.sum(), batch.synthetic)[0] for v in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("depth", "weights"), [(1, (1,)), (3, (0.1, 0.1, 1))])
def test_an_mlps_hidden_layers(depth, weights):
    network = MLP((6,), 3, width=5, depth=depth).double()
    batch = batch_of((6,))

    def hidden(x):
        found = []
        for layer in network.layers[::2]:
            x = layer(x).relu()
            found.append(x)
        return found

    torch.testing.assert_close(layer_distances(network, batch), plain(hidden, weights, batch))


def test_another_module_counts_by_what_it_embeds_to():
    network = nn.Linear(6, 3).double()
    batch = batch_of((6,))
    expected = plain(lambda x: [network(x)], (1,), batch)
    torch.testing.assert_close(layer_distances(network, batch), expected)


def test_features_keep_the_rows_precision():
    batch = batch_of((2, 8, 8))
    network = ConvNet((2, 8, 8), 3, width=4, depth=2)
    for found in layer_features(network, batch.real.float(), batch):
        assert found.dtype == torch.float32


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_rows_in_chunks_change_nothing(monkeypatch, rows):
    network = ConvNet((2, 8, 8), 3, width=4, depth=2).double()
    batch = batch_of((2, 8, 8))
    found = []
    for chunk in (100, rows):
        monkeypatch.setattr(layer_matching, "CHUNK", chunk)
        losses = layer_distances(network, batch)
        found.append((losses, torch.autograd.grad(losses.sum(), batch.synthetic)[0]))
    torch.testing.assert_close(*found)


def test_a_network_that_looks_at_batches_sees_all_rows_at_once(monkeypatch):
    monkeypatch.setattr(layer_matching, "CHUNK", 2)
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).double()
    batch = batch_of((6,))
    expected = plain(lambda x: [network(x)], (1,), batch)
    torch.testing.assert_close(layer_distances(network, batch), expected)
