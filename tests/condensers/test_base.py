"""What every method that matches through networks has from its base."""

import numpy as np
import pytest
import torch
from common import SMALL, iris
from torch import nn

from m3d_sklearn.condensers._base import MatchingCondenser
from m3d_sklearn.core.recipe import UNLIMITED

methods = pytest.mark.parametrize(
    "make",
    [make for kind, make in SMALL.items() if issubclass(kind, MatchingCondenser)],
    ids=[kind.__name__ for kind in SMALL if issubclass(kind, MatchingCondenser)],
)


class WithDropout(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        hidden = nn.Linear(int(np.prod(input_shape)), 32), nn.ReLU(), nn.Dropout(0.3)
        self.body, self.head = nn.Sequential(nn.Flatten(), *hidden), nn.Linear(32, n_outputs)

    def embed(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.body(x))


@methods
def test_a_network_that_draws_numbers_has_the_runs_own(make):
    X, y = iris()
    sets = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            before = torch.manual_seed(seed).get_state()
            condenser = make().set_params(network=WithDropout, max_iter=30)
            sets.append(condenser.fit(X, y).condensed_.X)
            assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(*sets)


@methods
def test_time_alone_ends_a_run_that_has_a_budget_of_it(make):
    X, y = np.random.default_rng(0).random((20, 28, 28)), np.arange(20) % 2
    budget = {"max_iter": "auto", "max_time": 1e-9}
    assert make().set_params(**budget).fit(X, y).params_["max_iter"] == UNLIMITED
    published = make().set_params(preset="paper", **budget).fit(X, y)
    assert 1000 <= published.params_["max_iter"] <= 20_000
    assert published.n_iter_ == 0
