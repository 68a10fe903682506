from itertools import pairwise

import torch

from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sources import FreshNetworks

CPU = torch.device("cpu")


def test_fresh_networks_every_few_iterations():
    networks = FreshNetworks("mlp", (3,), 2, 3, Stream(0, CPU))
    weights, new = [], []
    for iteration in range(7):
        network, fresh = networks(Progress(torch.empty(0), iteration))
        weights.append(network.head.weight.clone())
        new.append(fresh)
    assert new == [True, False, False, True, False, False, True]
    same = [torch.equal(before, after) for before, after in pairwise(weights)]
    assert same == [not fresh for fresh in new[1:]]
    assert not torch.equal(weights[0], weights[6])
    assert network.training
    assert not any(p.requires_grad for p in network.parameters())
