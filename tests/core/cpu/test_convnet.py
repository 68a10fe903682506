import weakref

import pytest
import torch
from plain_blocks import agree, all_agree, parameters, randomise_, uniform, weights_of

from m3d_sklearn.core.cpu import convnet
from m3d_sklearn.core.cpu.convnet import Passes, features
from m3d_sklearn.core.cpu.weights import prepared
from m3d_sklearn.core.networks import ConvNet

# Shape, width and depth. From width 64 on, sides that are multiples of 4 go by Winograd.
NETWORKS = {
    "MNIST": ((1, 28, 28), 8, 3),
    "small": ((3, 16, 16), 64, 2),
    "oblong": ((3, 12, 24), 65, 2),
    "odd": ((3, 9, 7), 8, 2),
    "tiny": ((1, 2, 2), 8, 1),
    "five channels": ((5, 12, 8), 8, 2),
    "many channels": ((64, 8, 8), 64, 1),
}
networks = pytest.mark.parametrize("name", list(NETWORKS))
chunks = pytest.mark.parametrize("chunk", [1, 2, 5, 7])
whole = pytest.mark.parametrize("whole", [False, True], ids=["as they come", "whole chunks"])


def network_of(name="small"):
    shape, width, depth = NETWORKS[name]
    return randomise_(ConvNet(shape, 2, width=width, depth=depth))


def images(name="small", n=5):
    return uniform(n, *NETWORKS[name][0], seed=20)


def gradients(output, inputs):
    return torch.autograd.grad(output, inputs, uniform(*output.shape, seed=30))


class Record:
    """The passes, and what was asked of them."""

    def __init__(self, whole_chunks=False):
        self.called = []
        self.passes = Passes(
            self._recorded(convnet.forward), self._recorded(convnet.backward), whole_chunks
        )

    def _recorded(self, function):
        def run(*arguments):
            self.called.append((function.__name__, arguments))
            return function(*arguments)

        return run

    def names(self):
        return [name for name, _ in self.called]

    def rows(self):
        return [len(arguments[0]) for _, arguments in self.called]


@networks
@chunks
@whole
def test_features_and_gradients_are_those_of_the_modules(name, chunk, whole):
    blocks, x = network_of(name).blocks, images(name).requires_grad_(True)
    inputs = [x, *parameters(blocks)]
    expected = blocks(x).flatten(1)
    found = features(x, weights_of(blocks), chunk, Passes(whole_chunks=whole))
    agree(found.detach(), expected.detach())
    all_agree(gradients(found, inputs), gradients(expected, inputs))


@networks
@chunks
@whole
def test_features_without_gradients(name, chunk, whole):
    network, x = network_of(name).requires_grad_(False), images(name)
    found = features(x, weights_of(network.blocks), chunk, Passes(whole_chunks=whole))
    agree(found, network.blocks(x).flatten(1))


@pytest.mark.parametrize("wanted", ["images", "weights"])
@pytest.mark.parametrize("name", ["small", "five channels"])
@whole
def test_gradients_of_one_kind_alone(wanted, name, whole):
    network, x, record = network_of(name), images(name), Record(whole)
    network.requires_grad_(wanted == "weights")
    x.requires_grad_(wanted == "images")
    inputs = [x] if wanted == "images" else parameters(network.blocks)
    found = features(x, weights_of(network.blocks), 2, record.passes)
    all_agree(gradients(found, inputs), gradients(network.blocks(x).flatten(1), inputs))
    asked = {arguments[4:6] for name, arguments in record.called if name == "backward"}
    assert asked == {(wanted == "images", wanted == "weights")}


@pytest.mark.parametrize("name", ["small", "five channels", "many channels"])
def test_no_gradient_by_images_is_worked_out_for_weights_alone(name):
    network, x = network_of(name).requires_grad_(False), images(name)
    weights = prepared(weights_of(network.blocks), x.shape[2:], True)
    output, kept = convnet.forward(x, weights)
    by_images, by_weights = convnet.backward(output, kept, weights, x.shape[2:], False, True)
    assert by_images is None
    assert len(by_weights) == 3 * len(weights)


def test_gradient_of_one_weight_alone():
    network, x = network_of().requires_grad_(False), images()
    scale = network.blocks[5].weight.requires_grad_(True)
    found = features(x, weights_of(network.blocks), 2, Passes())
    all_agree(gradients(found, [scale]), gradients(network.blocks(x).flatten(1), [scale]))


def test_frozen_weights_get_no_gradient():
    network, x = network_of().requires_grad_(False), images().requires_grad_(True)
    network.embed(x).sum().backward()
    assert all(p.grad is None for p in network.parameters())
    assert x.grad.abs().max() > 0


def test_whole_chunks_are_all_of_one_size():
    network, x, record = network_of(), images(), Record(whole_chunks=True)
    features(x, weights_of(network.blocks), 3, record.passes).sum().backward()
    assert record.names() == ["forward"] * 2 + ["backward"] * 2
    assert record.rows() == [3] * 4


def test_chunks_are_contiguous_however_rows_and_gradients_lie():
    """Compiled code is for one layout alone, and would be compiled again for another."""
    network, record = network_of(), Record(whole_chunks=True)
    x = images(n=6).contiguous(memory_format=torch.channels_last)
    features(x, weights_of(network.blocks), 3, record.passes).sum().backward()
    assert all(arguments[0].is_contiguous() for _, arguments in record.called)


def test_chunks_end_with_what_is_left():
    network, x, record = network_of(), images(), Record()
    features(x, weights_of(network.blocks), 3, record.passes).sum().backward()
    assert record.rows() == [3, 2, 3, 2]


def kept_before_each_chunk(network, x):
    """How many chunks' activations are in memory when the next chunk's turn comes."""
    activations, counts = [], []

    def forward(part, weights, room):
        counts.append(sum(reference() is not None for reference in activations))
        output, kept = convnet.forward(part, weights, room)
        activations.append(weakref.ref(kept[0][0]))
        return output, kept

    features(x, weights_of(network.blocks), 2, Passes(forward))
    return counts


def test_activations_are_kept_for_the_gradient():
    assert kept_before_each_chunk(network_of(), images()) == [0, 1, 2]


def test_nothing_is_kept_where_nothing_can_be_differentiated():
    assert kept_before_each_chunk(network_of().requires_grad_(False), images()) == [0, 0, 0]


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_nothing_is_kept_where_gradients_are_off(off):
    """Weights that could be trained, as those of a classifier that predicts."""
    with off():
        assert kept_before_each_chunk(network_of(), images()) == [0, 0, 0]


@pytest.mark.parametrize("name", ["MNIST", "small"])
def test_no_rows(name):
    network, x = network_of(name), images(name, n=0)
    assert network.embed(x).shape == network.blocks(x).flatten(1).shape


IN_MEMORY = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every other row": lambda x: torch.stack([x, -x], 1).flatten(0, 1)[::2],
    "one row, repeated": lambda x: x[:1].expand_as(x),
}


@pytest.mark.parametrize("lay", IN_MEMORY.values(), ids=list(IN_MEMORY))
@pytest.mark.parametrize("name", ["small", "five channels"])
def test_images_however_they_lie_in_memory(lay, name):
    network, x = network_of(name), lay(images(name))
    agree(network.embed(x).detach(), network.blocks(x.contiguous()).flatten(1).detach())


def test_images_are_not_written_to():
    for name in ("small", "five channels"):
        x = images(name)
        network_of(name).embed(x).sum().backward()
        assert torch.equal(x, images(name))


def test_a_gradient_can_be_had_twice():
    x = images().requires_grad_(True)
    found = network_of().embed(x).sum()
    (first,) = torch.autograd.grad(found, x, retain_graph=True)
    assert torch.equal(torch.autograd.grad(found, x)[0], first)


def test_second_derivatives_are_refused():
    x = images().requires_grad_(True)
    (first,) = torch.autograd.grad(network_of().embed(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("place", [0, 5], ids=["convolution", "scale"])
def test_weights_changed_before_the_gradient_are_refused(place):
    """As torch's own modules do: the gradient would be of neither set of weights."""
    network, x = network_of(), images().requires_grad_(True)
    found = network.embed(x).sum()
    with torch.no_grad():
        network.blocks[place].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def test_embedding_goes_by_these_passes():
    network, record = network_of(), Record()
    network.passes = record.passes
    x = uniform(20, 3, 16, 16)
    agree(network.embed(x).detach(), network.blocks(x).flatten(1).detach())
    assert record.rows() == [16, 4]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tiny"])
@whole
def test_bfloat16_is_as_near_as_the_modules_in_it(name, whole):
    """Features and gradients, against the modules in double precision.

    Where channels are few, one value that is rounded across ReLU's corner moves a gradient by
    a tenth: there features alone are compared.
    """
    network, x = network_of(name), images(name).requires_grad_(True)
    expected = network.blocks(x).flatten(1)
    exact = [expected.detach(), *gradients(expected, [x, *parameters(network.blocks)])]
    network, x = network.float(), x.detach().float().requires_grad_(True)
    network.passes = Passes(whole_chunks=whole)
    direction = uniform(*expected.shape, seed=30).float()
    errors = []
    for run in (network.embed, lambda x: network.blocks(x).flatten(1)):
        with torch.autocast("cpu", torch.bfloat16):
            found = run(x).float()
        by_inputs = torch.autograd.grad(found, [x, *parameters(network.blocks)], direction)
        pairs = zip([found.detach(), *by_inputs], exact, strict=True)
        errors.append([(one - true).norm() / true.norm() for one, true in pairs])
    assert errors[0][0] < errors[1][0]
    if network.width >= 64:
        assert all(ours < 1.5 * theirs for ours, theirs in zip(*errors, strict=True))


def test_autocast_takes_the_modules_where_no_convolution_is_wide():
    network, x = network_of("tiny").float(), images("tiny").float()
    network.passes = None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, expected = network.embed(x), network.blocks(x).flatten(1)
    assert torch.equal(found, expected)
    assert found.dtype == torch.bfloat16


def test_bfloat16_leaves_the_rows_their_own_dtype():
    network, x = network_of("MNIST").float(), images("MNIST").float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network.embed(x)
    with torch.no_grad():
        assert found.dtype == torch.float32
        assert not torch.equal(found, network.embed(x))


def test_compiled_passes_are_made_once():
    passes = convnet.compiled_passes()
    assert convnet.compiled_passes() is passes
    assert passes.whole_chunks
    assert passes.forward.function is convnet.forward
    assert passes.backward.function is convnet.backward
