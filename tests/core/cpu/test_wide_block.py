import pytest
import torch
from plain_blocks import CONTENTS, agree, all_agree, parameters, plain_block, uniform, weights_of

from m3d_sklearn.core.cpu.weights import prepared
from m3d_sklearn.core.cpu.wide_block import wide_block, wide_block_gradient

contents = pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))
# Channels in and out, and size: what goes by Winograd's transforms, and what does not.
WINOGRAD = [(64, 64, (8, 8)), (64, 65, (4, 12))]
DIRECT = [(8, 8, (8, 8)), (8, 6, (7, 9)), (5, 8, (2, 3)), (64, 64, (6, 7))]
shapes = pytest.mark.parametrize(("c_in", "c_out", "size"), WINOGRAD + DIRECT)


def last(x):
    return x.permute(0, 2, 3, 1).contiguous()


def first(x):
    return x.permute(0, 3, 1, 2)


def check(x, plain):
    """Output and all gradients, against the modules'; and whether Winograd gave them."""
    (own,), x = prepared(weights_of(plain), x.shape[2:], True), x.requires_grad_(True)
    expected = plain(x)
    direction = uniform(*expected.shape, seed=9)
    gradients = torch.autograd.grad(expected, [x, *parameters(plain)], direction)
    with torch.no_grad():
        output, kept = wide_block(last(x), own)
        by_input, by_weights = wide_block_gradient(
            direction.permute(0, 2, 3, 1), kept, own, True, True
        )
    agree(first(output), expected.detach())
    all_agree([first(by_input), *by_weights], gradients)
    return own.transformed is not None


@pytest.mark.parametrize(("c_in", "c_out", "size"), WINOGRAD)
def test_block_by_winograd_is_that_of_the_modules(c_in, c_out, size):
    assert check(uniform(3, c_in, *size), plain_block(c_in, c_out))


@pytest.mark.parametrize(("c_in", "c_out", "size"), DIRECT)
def test_direct_block_is_that_of_the_modules(c_in, c_out, size):
    assert not check(uniform(3, c_in, *size), plain_block(c_in, c_out))


@pytest.mark.parametrize(("width", "size"), [(8, (7, 9)), (64, (8, 8))])
def test_wider_padding(width, size):
    """Winograd's is written for padding 1."""
    assert not check(uniform(3, width, *size), plain_block(width, width, padding=3))


@pytest.mark.parametrize("width", [8, 64])
@contents
def test_images_without_contrast(width, content):
    """Without variance the norm divides by √ε, and every rounding error with it."""
    check(content(3, width, 4, 8), plain_block(width, width))


@pytest.mark.parametrize("width", [8, 64])
def test_a_filter_of_zeros(width):
    plain = plain_block(width, width)
    with torch.no_grad():
        plain[0].weight[2] = 0
    check(uniform(3, width, 4, 8), plain)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_one_scale_or_shift_everywhere(name, value):
    """Zeros of both leave ReLU where it has no slope, negative ones where it is closed."""
    plain = plain_block(8, 6)
    with torch.no_grad():
        getattr(plain[1], name).fill_(value)
    check(uniform(3, 8, 6, 6), plain)


@shapes
def test_only_what_is_asked_for(c_in, c_out, size):
    plain = plain_block(c_in, c_out)
    (own,) = prepared(weights_of(plain), size, True)
    with torch.no_grad():
        output, kept = wide_block(uniform(2, *size, c_in), own)
        both = wide_block_gradient(output, kept, own, True, True)
        by_input = wide_block_gradient(output, kept, own, True, False)
        by_weights = wide_block_gradient(output, kept, own, False, True)
    assert by_input[1] is None
    assert by_weights[0] is None
    assert torch.equal(by_input[0], both[0])
    assert all(map(torch.equal, by_weights[1], both[1]))


@shapes
def test_nothing_given_is_written_to(c_in, c_out, size):
    """Blocks write in place, where nobody needs it again: the input and what is kept are needed."""
    (own,) = prepared(weights_of(plain_block(c_in, c_out)), size, True)
    x = uniform(2, *size, c_in)
    with torch.no_grad():
        output, kept = wide_block(x, own)
        given = [x, output, *kept]
        before = [value.clone() for value in given]
        wide_block_gradient(output, kept, own, True, True)
    assert all(map(torch.equal, given, before))
    assert torch.equal(x, uniform(2, *size, c_in))
