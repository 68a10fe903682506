import pytest
import torch
from problems import Problem

from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.draws import Draws, tensors_of
from m3d_sklearn.core.sampling import range_numbers

POLICY = ["color", ("crop", "cutout"), "rotate"]


def draws_of(problem=None, **settings):
    own = {"factor": 2, "policy": POLICY, "batch_real": 4, "iterations_per_draw": 3}
    problem = problem or Problem([9, 3, 12], [1, 3, 51], **(own | settings))
    pools, _, stream = problem.fresh()
    return Draws(pools, problem.recipe, stream)


def same(one, other):
    names = [[draw.name for draw in drawn.augmentation] for drawn in (one, other)]
    pairs = zip(tensors_of(one), tensors_of(other), strict=True)
    return names[0] == names[1] and all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_draw_serves_so_many_iterations(every):
    draws = draws_of(iterations_per_draw=every)
    found = [draws(n_iter) for n_iter in range(6)]
    assert [new for _, new in found] == [n_iter % every == 0 for n_iter in range(6)]
    for n_iter in range(1, 6):
        assert same(found[n_iter][0], found[n_iter - 1][0]) is (n_iter % every > 0)


def test_draws_are_those_of_the_stream_in_turn():
    every, rarely = draws_of(iterations_per_draw=1), draws_of(iterations_per_draw=3)
    expected = [every(n_iter)[0] for n_iter in range(3)]
    assert all(same(rarely(3 * place)[0], drawn) for place, drawn in enumerate(expected))


def test_a_run_that_is_taken_up_within_a_draw_goes_on_with_it():
    known, other = draws_of(), draws_of()
    before = [known(n_iter)[0] for n_iter in range(5)][-1]
    other.load_state_dict(known.state_dict())
    again, new = other(5)
    assert not new
    assert same(again, before)


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_that_is_taken_up_before_its_first_draw_makes_one(every):
    known, other = (draws_of(iterations_per_draw=every) for _ in range(2))
    other.load_state_dict(known.state_dict())
    assert other(0)[1]


def test_a_draw_that_nobody_will_see_again_is_not_kept():
    draws = draws_of(iterations_per_draw=1)
    draws(0)
    assert draws.state_dict() == {"drawn": None}


def put(tree, name, value):
    return {"drawn": tree["drawn"] | {name: value}}


def longer(tensor):
    return torch.cat([tensor, tensor[:1]])


HOSTILE = {
    "no draw": lambda tree: {},
    "a draw of nothing": lambda tree: {"drawn": {}},
    "a word": lambda tree: {"drawn": "a draw"},
    "more rows": lambda tree: put(tree, "real", longer(tree["drawn"]["real"])),
    "rows of other classes": lambda tree: put(tree, "real", tree["drawn"]["real"].flip(0)),
    "rows that are not there": lambda tree: put(tree, "real", tree["drawn"]["real"] + 24),
    "rows before the first": lambda tree: put(tree, "real", tree["drawn"]["real"] - 24),
    "rows by halves": lambda tree: put(tree, "real", tree["drawn"]["real"] / 2),
    "no decoded rows": lambda tree: put(tree, "decoded", None),
    "decoded rows that are not there": lambda tree: put(
        tree, "decoded", tree["drawn"]["decoded"] + 220
    ),
    "no operations": lambda tree: put(tree, "operations", []),
    "operations by number": lambda tree: put(tree, "operations", 5),
    "another operation": lambda tree: put(
        tree, "operations", [*tree["drawn"]["operations"][:-1], "flip"]
    ),
    "numbers too many": lambda tree: put(
        tree, "numbers", [*tree["drawn"]["numbers"], torch.zeros(3, 1)]
    ),
    "numbers of another form": lambda tree: put(
        tree, "numbers", [longer(numbers) for numbers in tree["drawn"]["numbers"]]
    ),
    "numbers of no kind": lambda tree: put(tree, "numbers", [1] * 5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_state_that_does_not_fit_is_refused(name):
    draws = draws_of()
    draws(0)
    with pytest.raises((ValueError, KeyError, TypeError)):
        draws_of().load_state_dict(HOSTILE[name](draws.state_dict()))


@pytest.mark.parametrize("policy", [(), MATCHING, POLICY, [("crop", "scale")]])
def test_every_draw_of_a_policy_can_be_taken_up(policy):
    problem = Problem([9, 3], [1, 2], policy=policy, iterations_per_draw=2)
    for _ in range(4):
        known = draws_of(problem)
        drawn, _ = known(0)
        other = draws_of(problem)
        other.load_state_dict(known.state_dict())
        assert same(other(1)[0], drawn)
        counts = known.pools.batch_counts(problem.recipe.batch_real)
        assert torch.equal(known.pools.labels[drawn.real], range_numbers(counts, drawn.real.device))
