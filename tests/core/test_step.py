from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from plain_blocks import agree, uniform
from problems import CPU, EQUAL, Problem
from torch import nn

from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.core import networks as networks_module
from m3d_sklearn.core import step
from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.loop import condense
from m3d_sklearn.core.networks import ConvNet, Effort, build, embed
from m3d_sklearn.core.randomness import Stream

IMAGE = 8 * 8 * step.BYTES_PER_PIXEL  # of `Problem`, by the estimate


def with_memory(monkeypatch, memory):
    monkeypatch.setattr(step, "working_memory", lambda device: memory)


def condensed(problem, objective):
    pools, networks, stream = problem.fresh()
    return condense(problem.start, pools, problem.recipe, objective, networks, stream).rows


# ------------------------------------------------- parts of the classes


@pytest.mark.parametrize(("memory", "n_parts"), [(1.0, 4), (6e6, 2), (1e12, 1)])
def test_parts_hold_every_row_once(memory, n_parts):
    problem = Problem((7, 3, 5, 5), (2, 1, 3, 2), factor=2, batch_real=4)
    pools, _, _ = problem.fresh()
    parts = step.split_classes(pools, problem.recipe, memory, CPU)
    for field, total in (("classes", 4), ("stored", 8), ("real", 15), ("decoded", 32)):
        ends = [(getattr(part, field).start, getattr(part, field).stop) for part in parts]
        assert ends[0][0] == 0
        assert ends[-1][1] == total
        assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert len(parts) == n_parts


@pytest.mark.parametrize("batch_real", [4, 9])
def test_parts_change_nothing(monkeypatch, batch_real):
    """A class at a time or all at once; with real features kept (9) and drawn anew (4)."""
    policy = ("color", "crop", "cutout") if batch_real == 4 else ()
    problem = Problem((7, 3, 9), (2, 1, 60), factor=2, batch_real=batch_real, policy=policy)
    results = []
    for memory in (1e12, 1.0):
        with_memory(monkeypatch, memory)
        results.append(condensed(problem, MMDObjective(make_kernel("rbf"))))
    torch.testing.assert_close(*results, rtol=0, atol=EQUAL)


@pytest.mark.parametrize(("images", "rows"), [(0.1, 1), (1.0, 1), (5.5, 5), (1e4, 10_000)])
def test_an_accelerator_holds_as_many_images_as_fit(monkeypatch, images, rows):
    problem = Problem((7, 3), (2, 1))
    pools, _, _ = problem.fresh()
    monkeypatch.setattr(step, "is_accelerator", lambda device: True)
    parts = step.split_classes(pools, problem.recipe, images * IMAGE, CPU)
    assert {part.effort.rows for part in parts} == {rows}


def test_classes_whose_losses_are_coupled_are_never_parted():
    problem = Problem((7, 3, 5), (2, 1, 4))
    pools, _, _ = problem.fresh()
    recipe = replace(problem.recipe, coupled=True)
    (part,) = step.split_classes(pools, recipe, 1.0, CPU)
    assert part.classes == slice(0, 3)


def test_real_rows_are_made_when_they_are_looked_at_and_once():
    problem = Problem((7, 7), (2, 2), batch_real=4, max_iter=6)
    problem.recipe = replace(problem.recipe, iterations_per_draw=3)
    pools, networks, stream = problem.fresh()
    networks.every = 3
    taken, take = [], pools.take
    pools.take = lambda index: taken.append(len(index)) or take(index)
    objective = MMDObjective(make_kernel("rbf"))
    condense(problem.start, pools, problem.recipe, objective, networks, stream)
    assert taken == [8, 8]  # a draw each


def test_a_cpu_bounds_its_images_by_its_own_chunks():
    problem = Problem((7, 3), (2, 1))
    pools, _, _ = problem.fresh()
    parts = step.split_classes(pools, problem.recipe, 1.0, CPU)
    assert [part.effort.rows for part in parts] == [None, None]


def test_the_recipes_precision_reaches_the_objective():
    problem = Problem((7, 3), (2, 1), max_iter=1)
    problem.recipe = replace(problem.recipe, precision=torch.bfloat16)
    seen = []

    def objective(network, batch):
        seen.append(batch.effort)
        return batch.synthetic.sum().expand(2)

    condensed(problem, objective)
    assert seen == [Effort(torch.bfloat16, None)]


# ------------------------------------------------- when memory runs out


class Failing:
    """M3D's objective, which fails at some of its calls."""

    def __init__(self, error, calls):
        self.own = MMDObjective(make_kernel("rbf"))
        self.error, self.calls = error, calls
        self.seen = []  # number of the first class and of classes, call by call
        self.efforts = []

    def __call__(self, network, batch):
        self.seen.append((batch.first, len(batch.real_counts)))
        self.efforts.append(batch.effort)
        loss = self.own(network, batch)  # so that what it keeps is there when it fails
        if len(self.seen) in self.calls:
            raise self.error
        return loss


OUT_OF_MEMORY = {
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "CPU": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
}
errors = pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=list(OUT_OF_MEMORY))
HALVES, CLASSES = [(0, 2), (2, 2)], [(0, 1), (1, 1), (2, 1), (3, 1)]


def four_classes(batch_real=4, **settings):
    return Problem((7, 7, 7, 7), (2, 2, 2, 2), factor=2, batch_real=batch_real, **settings)


def room_for_half(problem):
    rows = 8 + problem.recipe.batch_real
    return 2.1 * (rows * IMAGE + rows**2 * step.BYTES_PER_PAIR)


@errors
@pytest.mark.parametrize("batch_real", [4, 7])
def test_out_of_memory_goes_on_in_smaller_parts(monkeypatch, error, batch_real):
    """In the middle of a run and of an iteration; with real features drawn anew (4) or kept (7)."""
    problem = four_classes(batch_real, max_iter=4)
    with_memory(monkeypatch, room_for_half(problem))
    undisturbed, failing = Failing(error, ()), Failing(error, {4})
    expected = condensed(problem, undisturbed)
    rows = condensed(problem, failing)
    assert undisturbed.seen == HALVES * 4
    assert failing.seen == HALVES * 2 + CLASSES * 3
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-12)
    assert (rows - problem.start).abs().max() > 0.01


@pytest.mark.parametrize("batch_real", [4, 7])
def test_out_of_memory_twice_in_an_iteration(monkeypatch, batch_real):
    problem = four_classes(batch_real, max_iter=4)
    with_memory(monkeypatch, 2 * room_for_half(problem))
    expected = condensed(problem, Failing(None, ()))
    failing = Failing(OUT_OF_MEMORY["GPU"], {2, 4})
    rows = condensed(problem, failing)
    assert failing.seen == [(0, 4)] * 2 + HALVES + CLASSES * 3
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("error", [RuntimeError("no such luck"), ValueError("out of memory")])
def test_other_errors_are_raised_at_once(monkeypatch, error):
    problem = four_classes()
    with_memory(monkeypatch, room_for_half(problem))
    failing = Failing(error, {2})
    with pytest.raises(type(error), match=str(error)):
        condensed(problem, failing)
    assert failing.seen == HALVES


@errors
def test_out_of_memory_for_a_class_alone_is_raised(error):
    failing = Failing(error, range(1000))
    with pytest.raises(RuntimeError) as caught:
        condensed(four_classes(), failing)
    assert caught.value is error
    assert failing.seen == [(0, 4), (0, 3), (0, 1)]


def test_an_accelerator_goes_down_to_one_image(monkeypatch):
    """A class cannot be divided; its images can go through the network in turn."""
    problem = Problem((7,), (2,), factor=2)
    monkeypatch.setattr(step, "is_accelerator", lambda device: True)
    with_memory(monkeypatch, 40 * IMAGE)
    failing = Failing(OUT_OF_MEMORY["GPU"], range(1000))
    with pytest.raises(torch.OutOfMemoryError):
        condensed(problem, failing)
    assert [effort.rows for effort in failing.efforts] == [40, 20, 10, 5, 2, 1]


# ------------------------------------------------- effort


class Counted(ConvNet):
    """Notes how many rows come at a time."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.rows = []

    def embed(self, x):
        self.rows.append(len(x))
        return super().embed(x)


@pytest.fixture
def accelerator(monkeypatch):
    """The CPU, taken for one."""
    monkeypatch.setattr(networks_module, "is_accelerator", lambda device: True)


def features_and_gradient(network, x, effort=None):
    x = x.clone().requires_grad_(True)
    found = embed(network, x, effort)
    return found.detach(), torch.autograd.grad(found.square().sum(), x)[0]


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize(("rows", "turns"), [(2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (9, [5])])
def test_images_in_turn_change_nothing(rows, turns):
    network, x = Counted((3, 8, 8), 2, width=8).double(), uniform(5, 3, 8, 8)
    whole = features_and_gradient(network, x)
    assert network.rows == [5]
    network.rows.clear()
    in_turn = features_and_gradient(network, x, Effort(rows=rows))
    for found, expected in zip(in_turn, whole, strict=True):
        agree(found, expected)
    # A second time for the gradient, so that nothing is kept between.
    assert sorted(network.rows) == sorted(turns * (2 if len(turns) > 1 else 1))


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("off", [True, False], ids=["gradients off", "nothing to differentiate"])
def test_images_in_turn_go_through_once_without_a_gradient(monkeypatch, off):
    monkeypatch.setattr(networks_module, "checkpoint", None)  # whose bookkeeping has its price
    network, x = Counted((3, 8, 8), 2, width=8).double(), uniform(5, 3, 8, 8)
    x = x.contiguous(memory_format=torch.channels_last)  # as it goes through, so not copied
    with torch.set_grad_enabled(not off):
        found = embed(network, x.requires_grad_(off), Effort(rows=2))
    assert network.rows == [2, 2, 1]
    agree(found.detach(), network.blocks(x).flatten(1).detach())


@pytest.mark.usefixtures("accelerator")
def test_images_in_turn_have_the_same_dropout_in_both_passes():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)).train()
    x = torch.ones(5, 1, 4, 4, requires_grad=True)
    with torch.random.fork_rng():
        found = embed(network, x, Effort(rows=2))
        torch.rand(3)
        (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient.flatten(1), found.detach())


@pytest.mark.parametrize("taken_for", ["cpu", "accelerator"])
@pytest.mark.parametrize("rows", [None, 2])
def test_bfloat16_is_near_and_comes_back_in_the_rows_own_dtype(request, taken_for, rows):
    if taken_for == "accelerator":
        request.getfixturevalue("accelerator")
    network = build("convnet", (3, 16, 16), 2, Stream(0, CPU))
    x = uniform(5, 3, 16, 16).float()
    exact = features_and_gradient(network, x)
    rough = features_and_gradient(network, x, Effort(torch.bfloat16, rows))
    # The gradient also differs where a rounded value is on ReLU's other side. Float32 alone
    # stays far below the lower bound.
    for found, expected, most in zip(rough, exact, (0.02, 0.1), strict=True):
        assert found.dtype == torch.float32
        assert 1e-3 < (found - expected).norm() / expected.norm() < most


@pytest.mark.parametrize(("batch_real", "kept"), [(4, False), (9, True)])
def test_real_features_are_kept_only_where_they_come_again(batch_real, kept):
    """Kept for nothing they would take memory for every class."""
    objective = MMDObjective(make_kernel("rbf"))
    Problem((7, 9), (2, 1), batch_real=batch_real).engine(objective)
    assert bool(objective.real) == kept


def test_real_rows_go_through_once_a_draw_and_network(monkeypatch):
    """And their features stay in one place, from which a GPU's recorded steps read them."""
    seen, objective = [], MMDObjective(make_kernel("rbf"))

    def counted(network, x, effort):
        if not torch.is_grad_enabled():
            seen.append(len(x))
        return embed(network, x, effort)

    def watch(progress):
        places.add(objective.real[0].data_ptr())
        return False

    places = set()
    monkeypatch.setattr("m3d_sklearn.condensers._m3d.embed", counted)
    settings = {"policy": MATCHING, "iterations_per_draw": 4, "max_iter": 20}
    Problem((7, 9), (2, 1), **settings).engine(objective, watch)
    # Draws are new at 0, 4, 8, 12 and 16, and networks at 0, 5, 10 and 15.
    assert seen == [8] * 8
    assert len(places) == 1
