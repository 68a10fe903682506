import pytest
import torch
from torch import nn

from m3d_sklearn.core.networks import MLP
from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.state import (
    StatefulOptimizer,
    load_module,
    load_parts,
    module_state,
    parts_state,
    put_,
    whole_number,
)

CPU = torch.device("cpu")


def copied(state):
    """What a file gives back: the same numbers elsewhere."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, list) else state


def test_a_tensor_is_put_in_place():
    target = torch.zeros(2, 3)
    same = target
    put_(target, torch.ones(2, 3), "x")
    assert same.sum() == 6


@pytest.mark.parametrize("saved", [torch.ones(3, 2), torch.ones(2, 3).double(), 1.0, None, []])
def test_what_has_another_form_is_refused(saved):
    with pytest.raises(ValueError, match=r"x must be a tensor \(2, 3\) of torch.float32; got"):
        put_(torch.zeros(2, 3), saved, "x")


def test_whole_numbers():
    assert whole_number(0, 3, "n") == 0
    assert whole_number(3, 3, "n") == 3
    for wrong in (-1, 4, 1.0, True, None, "1"):
        with pytest.raises(ValueError, match="n must be a whole number from 0 to 3"):
            whole_number(wrong, 3, "n")


def test_modules_keep_their_hidden_buffers():
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for module in (one, other):
        module.register_buffer("hidden", torch.zeros(2), persistent=False)
    one(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    one.hidden += 1
    load_module(other, copied(module_state(one)))
    assert other.hidden.tolist() == [1, 1]
    assert torch.equal(other.running_mean, one.running_mean)
    assert other.num_batches_tracked == 1
    with pytest.raises(KeyError):
        load_module(MLP((3,), 2), module_state(one))


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "without momentum": lambda p: torch.optim.SGD(p, lr=0.1),
}


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_to_the_bit(name, steps):
    def step(optimizer, value):
        value.grad = value.detach() ** 2 + 1
        optimizer.step()

    value = torch.linspace(-1, 1, 5)
    optimizer = OPTIMIZERS[name]([value])
    for _ in range(steps):
        step(optimizer, value)
    again = value.clone()
    other = OPTIMIZERS[name]([again])
    StatefulOptimizer(other).load_state_dict(copied(StatefulOptimizer(optimizer).state_dict()))
    for _ in range(3):
        step(optimizer, value)
        step(other, again)
    assert torch.equal(value, again)


def test_a_stream_goes_on_with_all_three_generators():
    stream, other = Stream(0, CPU), Stream(1, CPU)
    stream.normal(3), stream.choice(5), stream.seed()
    load_parts({"s": other}, copied(parts_state({"s": stream})))
    assert torch.equal(stream.normal(7), other.normal(7))
    assert stream.fraction() == other.fraction()
    assert stream.seed() == other.seed()


def test_progress_goes_on_with_its_losses_and_its_time():
    progress = Progress(torch.rand(2, 3), 11, losses=[torch.tensor(2.0), torch.tensor(1.0)])
    progress.started -= 100
    again = Progress(torch.zeros(2, 3))
    again.load_state_dict(copied(progress.state_dict()))
    assert torch.equal(again.rows, progress.rows)
    assert (again.n_iter, again.loss(), again.loss(2)) == (11, 1.0, 1.5)
    assert 100 <= again.seconds() < 200
    with pytest.raises(ValueError, match="losses"):
        again.load_state_dict(progress.state_dict() | {"n_iter": 21})
