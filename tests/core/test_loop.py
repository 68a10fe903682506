import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from problems import CPU, EQUAL, INF, LR, MOMENTUM, RBF, Problem, recipe_of, scale_of
from reference import (
    class_loss,
    draw_steps,
    gaps_at_own_turns,
    linear_mmd2,
    per_class_loop,
    shared_loop,
)
from torch import nn

from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.core import augmentation, loop
from m3d_sklearn.core.distributed import ALONE
from m3d_sklearn.core.draws import draw_step
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.loop import condense
from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import decoded_counts
from m3d_sklearn.core.sampling import ClassPools
from m3d_sklearn.core.sources import FreshNetworks

# ------------------------------------------------- the batched engine and the plain loop

PAPER = {"factor": 2, "policy": augmentation.MATCHING}
PROBLEMS = {
    "as published": lambda **k: Problem([9, 9, 9], [2, 2, 2], **PAPER, **k),
    "plain": lambda **k: Problem([9, 9, 9], [2, 2, 2], **k),
    "grey": lambda **k: Problem([9, 9, 9], [2, 2, 2], channels=1, **PAPER, **k),
    "all real rows every time": lambda **k: Problem([4, 2, 3], [2, 2, 2], **k),
    "ragged": lambda **k: Problem([9, 3, 5, 12], [1, 3, 2, 5], batch_real=6, **k),
    "ragged, as published": lambda **k: Problem([9, 3, 5, 12], [1, 3, 2, 5], **PAPER, **k),
    "a draw for two iterations": lambda **k: Problem(
        [9, 9, 9], [2, 2, 2], **PAPER, iterations_per_draw=2, **k
    ),
    "a draw for a network": lambda **k: Problem(
        [9, 3, 5, 12], [1, 3, 2, 5], **PAPER, iterations_per_draw=5, **k
    ),
    "every operation": lambda **k: Problem(
        [9, 4], [1, 2], policy=("color", ("crop", "cutout"), "flip", "scale", "rotate"), **k
    ),
}
problems = pytest.mark.parametrize("make", PROBLEMS.values(), ids=list(PROBLEMS))


def largest(difference):
    return difference.abs().max().item()


@problems
def test_engine_is_the_loop_over_classes(make):
    problem = make()
    rows = problem.engine().rows
    assert largest(rows - problem.plain(per_class_loop)) < EQUAL
    # Far from the start, and clamped on the way, or the agreement would say little.
    assert largest(rows - problem.start) > 0.3
    assert largest(rows - make(clamp=False).engine().rows) > 0.01


def test_engine_is_the_loop_over_classes_for_the_loss_of_dm():
    problem = PROBLEMS["ragged, as published"]()
    rows = problem.engine(MMDObjective(make_kernel("linear"))).rows
    assert largest(rows - problem.plain(per_class_loop, mmd2=linear_mmd2)) < EQUAL


@problems
def test_engine_is_the_published_loop_at_each_classs_own_turn(make):
    """Unclamped: where the clamp binds the two part (see the next test)."""
    problem = make(clamp=False)
    after = []  # each iteration's rows of each class

    def record(progress):
        after.append(progress.rows.detach().clone().split(problem.recipe.counts))
        return False

    problem.engine(watch=record)
    gaps = []

    def compare(iteration, c, rows):
        if iteration:
            gaps.append(largest(rows - after[iteration - 1][c]))

    problem.plain(shared_loop, n_iter=problem.recipe.max_iter + 1, watch=compare)
    assert len(gaps) == problem.recipe.max_iter * len(problem.recipe.counts)
    assert max(gaps) < EQUAL


def test_clamping_moves_the_two_loops_apart():
    """The published loop clamps between the steps that apply one gradient, ours after them."""
    problem = Problem([9, 9, 9], [2, 2, 2], channels=1, black=True, **PAPER)
    mean, largest = gaps_at_own_turns(
        problem.start, problem.recipe, problem.fresh, lr=LR, momentum=MOMENTUM
    )
    # The first class's steps are all applied when the clamp comes: nothing parts there.
    assert largest[0, 0] < EQUAL
    assert torch.isfinite(mean).all()
    assert 0 < mean[-1].mean() < largest[-1].max() <= 1


def test_recorded_loss_is_the_mean_over_the_classes():
    problem = PROBLEMS["ragged, as published"]()
    pools, networks, stream = problem.fresh()
    ((drawn, network),) = draw_steps(pools, problem.recipe, networks, stream, 1)
    parts = problem.start.split(problem.recipe.counts)
    losses = [
        class_loss(c, part, drawn, network, pools, problem.recipe) for c, part in enumerate(parts)
    ]
    assert problem.engine().losses[0] == pytest.approx(float(sum(losses) / len(losses)))


# ------------------------------------------------- at most 200 decoded rows of a class


def crowded():
    return Problem([60, 4, 3], [51, 2, 1], **PAPER, max_iter=6)


def test_subset_of_the_decoded_rows():
    problem = crowded()
    pools, _, stream = problem.fresh()
    draws = [draw_step(pools, problem.recipe, stream).decoded for _ in range(2)]
    assert decoded_counts(problem.recipe) == [200, 8, 4]
    for decoded in draws:
        first, second, third = decoded.split([200, 8, 4])
        assert len(set(first.tolist())) == 200
        assert set(first.tolist()) < set(range(204))
        assert second.tolist() == list(range(204, 212))
        assert third.tolist() == list(range(212, 216))
    assert not torch.equal(*draws)


def test_no_subset_where_all_fit():
    problem = Problem([60, 4], [50, 1], factor=2)
    pools, _, stream = problem.fresh()
    assert draw_step(pools, problem.recipe, stream).decoded is None


def test_engine_is_the_loop_over_classes_on_a_subset():
    problem = crowded()
    assert largest(problem.engine().rows - problem.plain(per_class_loop)) < EQUAL


# ------------------------------------------------- the optimiser, by hand


def half_square(network, batch):
    """Its gradient at a row is the row."""
    parts = batch.synthetic.split(batch.synthetic_counts)
    return torch.stack([part.square().sum() / 2 for part in parts])


def flat(network, batch):
    return (0 * batch.synthetic).sum() + torch.ones(len(batch.real_counts))


def table(low=-INF, high=INF):
    """Pools of two classes of three rows, two columns each."""
    rows = torch.linspace(-1, 1, 12, dtype=torch.float64).view(6, 2)
    return ClassPools(rows, torch.tensor([0, 0, 0, 1, 1, 1]), 2, scale_of(low, high))


START = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.0, 2.0]], dtype=torch.float64)
COUNTS = [1, 2]


def no_network(progress):
    return None, False


def run(objective=half_square, pools=None, watch=None, start=START, **settings):
    recipe = recipe_of(COUNTS, **settings)
    pools = table() if pools is None else pools
    return condense(start, pools, recipe, objective, no_network, Stream(0, CPU), watch)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_sgd_with_momentum_by_hand():
    # From x: v = x, x' = 0.9x; v = 1.4x, x'' = 0.76x; v = 0.7x + 0.76x, x''' = 0.614x.
    close(run(momentum=0.5, max_iter=3).rows, 0.614 * START)


def test_cosine_by_hand():
    shares = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    left = math.prod(1 - 0.1 * share for share in shares)
    close(run(schedule="cosine", max_iter=4).rows, left * START)


def test_first_step_of_adam_is_the_rate_whatever_the_gradient():
    rows = run(optimizer="adam", momentum=0.9, learning_rate=0.03, max_iter=1).rows
    torch.testing.assert_close(rows, START - 0.03 * START.sign(), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.7}),
        ("adam", torch.optim.Adam, {"betas": (0.7, 0.99)}),
    ],
)
def test_optimisers(name, kind, settings):
    recipe = recipe_of(COUNTS, optimizer=name, momentum=0.7, learning_rate=0.2)
    optimizer = loop.make_optimizer(START.clone().requires_grad_(True), recipe)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {k: group[k] for k in ("lr", *settings)} == {"lr": 0.2} | settings
    assert group["weight_decay"] == 0


@pytest.mark.parametrize(
    ("done", "share"), [(0, 1), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1, 0), (1.5, 0)]
)
def test_rate_factor(done, share):
    assert loop.rate_factor("cosine", done) == pytest.approx(share)
    assert loop.rate_factor("constant", done) == 1


@pytest.mark.parametrize(
    ("done", "share"), [(0, 1), (0.59, 1), (0.6, 0.5), (0.85, 0.25), (0.9, 0.125), (1.2, 0.125)]
)
def test_the_published_steps_of_the_rate(done, share):
    assert loop.rate_factor("step", done) == share


def test_rows_are_clamped_column_by_column():
    low, high = torch.tensor([-0.5, -1.5]), torch.tensor([0.5, 1.5])

    def away_from_zero(network, batch):
        return -half_square(network, batch)

    rows = run(away_from_zero, table(low, high), max_iter=2, learning_rate=1.0).rows
    assert rows.tolist() == [[0.5, -1.5], [0.5, 1.5], [-0.5, 1.5]]


# ------------------------------------------------- budget, losses, watching


def test_no_iterations_give_the_start():
    outcome = run(max_iter=0)
    assert torch.equal(outcome.rows, START)
    assert (outcome.losses, outcome.n_iter) == ([], 0)


def test_start_is_not_written_to():
    start = START.clone()
    outcome = run(start=start)
    assert torch.equal(start, START)
    assert not start.requires_grad
    assert not outcome.rows.requires_grad
    assert outcome.rows.data_ptr() != start.data_ptr()


@pytest.mark.parametrize(("max_iter", "looks"), [(1, 1), (10, 1), (11, 2), (25, 3)])
def test_losses_are_recorded_every_ten_iterations(max_iter, looks):
    whole = []

    def objective(network, batch):
        whole.append(batch.whole)
        return half_square(network, batch)

    outcome = run(objective, max_iter=max_iter)
    assert outcome.n_iter == max_iter == len(whole)
    assert [i for i, asked in enumerate(whole) if asked] == [10 * i for i in range(looks)]
    # Rows shrink by 0.9 an iteration; the loss is the mean over the two classes.
    at_start = START.square().sum().item() / 4
    assert outcome.losses == pytest.approx([at_start * 0.9 ** (20 * i) for i in range(looks)])


def test_objective_sees_classes_in_order():
    seen = []

    def objective(network, batch):
        seen.append(batch)
        return half_square(network, batch)

    run(objective, max_iter=1, batch_real=2)
    (batch,) = seen
    assert (batch.real_counts, batch.synthetic_counts) == ([2, 2], COUNTS)
    assert torch.equal(batch.synthetic, START)
    rows = table().rows
    assert all((row == rows[:3]).all(1).any() for row in batch.real[:2])
    assert all((row == rows[3:]).all(1).any() for row in batch.real[2:])


def test_watch_sees_every_iteration_and_can_stop():
    seen = []

    def watch(progress):
        seen.append((progress.n_iter, progress.rows.detach().clone(), progress.loss()))
        return progress.n_iter == 3

    outcome = run(watch=watch)
    assert [n_iter for n_iter, _, _ in seen] == [1, 2, 3]
    assert outcome.n_iter == 3
    assert torch.equal(outcome.rows, seen[-1][1])
    assert seen[0][2] == outcome.losses[0]


def test_max_time_stops(monkeypatch):
    monkeypatch.setattr(Progress, "seconds", lambda progress: 2.0 * progress.n_iter)
    assert run(max_time=7.0).n_iter == 4  # begun at 0, 2, 4 and 6 seconds
    assert run(max_time=1000.0).n_iter == 20


def test_a_tiny_max_time_gives_the_start():
    outcome = run(max_time=1e-12)
    assert outcome.n_iter == 0
    assert torch.equal(outcome.rows, START)


def test_time_drives_the_rate_where_it_is_shorter():
    seconds = iter([0.0, 4.0, 5.0, 10.0]).__next__
    progress = SimpleNamespace(seconds=seconds, n_iter=0, share=ALONE)
    recipe, done = recipe_of(COUNTS, max_iter=4, max_time=10.0), []
    while loop.goes_on(progress, recipe):
        done.append(progress.done)
        progress.n_iter += 1
    assert done == [0.0, 0.4, 0.5]


@pytest.mark.parametrize("tol", [0.0, 0.01])
@pytest.mark.parametrize("window", [10, 20, 25])
def test_a_flat_loss_stops_after_two_windows(tol, window):
    assert run(flat, tol=tol, n_iter_no_change=window, max_iter=200).n_iter == 2 * window


def test_without_tol_nothing_stops():
    assert run(flat, n_iter_no_change=10, max_iter=50).n_iter == 50


def test_a_falling_loss_goes_on_until_it_falls_too_little():
    # By 0.99² an iteration: 0.818 over ten.
    settings = {"learning_rate": 0.01, "n_iter_no_change": 10, "max_iter": 60}
    assert run(tol=0.18, **settings).n_iter == 60
    assert run(tol=0.19, **settings).n_iter == 20


def test_windows_are_compared_by_their_means():
    # Looks: 1, 3 | 0, 1.9 | 1, 0.94. Means 2, 0.95, 0.97: the third is no better.
    script = {0: 1.0, 10: 3.0, 20: 0.0, 30: 1.9, 40: 1.0, 50: 0.94}
    calls = iter(range(1000))

    def objective(network, batch):
        return flat(network, batch) * script.get(next(calls), 100.0)

    assert run(objective, tol=0.001, n_iter_no_change=20, max_iter=200).n_iter == 60


# ------------------------------------------------- networks, seeds


SMALL = partial(MLP, width=8)


def seeded(seed, network=SMALL):
    """A run in float32 as users have it, of tables and networks."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(40, 3, generator=generator), torch.arange(40) % 2
    pools = ClassPools(rows, labels, 2, scale_of(-2.0, 2.0, dtype=torch.float32))
    stream = Stream(seed, CPU)
    networks = FreshNetworks(network, (3,), 2, 5, stream)
    recipe = recipe_of([2, 3], optimizer="adam", momentum=0.9, schedule="cosine")
    return condense(rows[:5], pools, recipe, RBF, networks, stream)


def with_dropout():
    """A user's network: it draws from the global generator as it runs."""
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5))


networks = pytest.mark.parametrize("network", [SMALL, with_dropout], ids=["mlp", "dropout"])


def test_a_seed_gives_the_same_bits():
    first, second, other = seeded(0), seeded(0), seeded(1)
    assert torch.equal(first.rows, second.rows)
    assert first.losses == second.losses
    assert not torch.equal(first.rows, other.rows)


@networks
def test_global_seeds_have_no_say(network):
    outcomes = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            outcomes.append(seeded(0, network).rows)
    assert torch.equal(*outcomes)


@networks
@pytest.mark.usefixtures("globals_untouched")
def test_global_generators_are_untouched(network):
    seeded(0, network)


@pytest.mark.usefixtures("globals_untouched")
def test_global_generators_are_untouched_by_images():
    PROBLEMS["as published"]().engine()


def test_watching_changes_nothing():
    problem = PROBLEMS["as published"]()
    watched = problem.engine(watch=lambda progress: bool(progress.loss() < -1))
    assert torch.equal(problem.engine().rows, watched.rows)


def test_condensing_lowers_the_loss():
    problem = PROBLEMS["all real rows every time"]()
    settings = {"optimizer": "adam", "momentum": 0.9, "schedule": "cosine", "learning_rate": 0.03}
    problem.recipe = replace(problem.recipe, max_iter=101, **settings)
    losses = problem.engine(MMDObjective(make_kernel("linear"))).losses
    assert sum(losses[-3:]) / 3 < losses[0] / 2


# ------------------------------------------------- numbers gone wrong


def wrong_from(iteration, wrong, value=math.nan):
    """½‖rows‖², whose value or gradient is not finite from an iteration on."""
    calls = [0]

    def objective(network, batch):
        loss = half_square(network, batch)
        calls[0] += 1
        if calls[0] <= iteration:
            return loss
        return loss * value if wrong == "gradient" else loss + value

    return objective, calls


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("wrong", ["gradient", "value"])
def test_a_loss_that_is_not_finite_ends_the_run_where_it_is_recorded(wrong, value):
    objective, calls = wrong_from(3, wrong, value)
    with pytest.raises(FloatingPointError, match=r"not finite after 11 iterations.*learning_rate"):
        run(objective, max_iter=100)
    assert calls[0] == 11


def test_a_last_iteration_gone_wrong_ends_the_run_too():
    objective, _ = wrong_from(4, "gradient")
    with pytest.raises(FloatingPointError, match="not finite after 5 iterations"):
        run(objective, max_iter=5)


def test_between_two_looks_nothing_waits_for_the_device(monkeypatch):
    """On a GPU a look at the numbers is one every CHECK_EVERY iterations, and one at the end."""
    looks = []
    monkeypatch.setattr(loop, "is_accelerator", lambda device: True)
    monkeypatch.setattr(loop, "CHECK_EVERY", 50)
    monkeypatch.setattr(Progress, "check", lambda progress: looks.append(progress.n_iter))
    run(max_iter=120)
    assert looks == [1, 51, 101, 120]
