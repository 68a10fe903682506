import pytest
import torch
from plain_blocks import CONTENTS, agree, all_agree, parameters, plain_block, uniform, weights_of

from m3d_sklearn.core.cpu.patch_block import patch_block, patch_block_gradient
from m3d_sklearn.core.cpu.weights import BlockWeights

kinds = pytest.mark.parametrize("channels", [1, 3, 4], ids=["grey", "colour", "four"])
paddings = pytest.mark.parametrize("padding", [1, 3])
sizes = pytest.mark.parametrize("size", [(8, 8), (2, 2), (7, 9), (6, 5)], ids=str)
contents = pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))


def check(x, plain):
    """Output and all gradients, against the modules'."""
    (own,), x = weights_of(plain), x.requires_grad_(True)
    expected = plain(x)
    direction = uniform(*expected.shape, seed=9)
    gradients = torch.autograd.grad(expected, [x, *parameters(plain)], direction)
    with torch.no_grad():
        output, kept = patch_block(x, own)
        by_image, by_weights = patch_block_gradient(
            direction.permute(0, 2, 3, 1), kept, own, x.shape[2:], True, True
        )
    agree(output.permute(0, 3, 1, 2), expected.detach())
    all_agree([by_image, *by_weights], gradients)


@kinds
@paddings
@sizes
def test_block_is_that_of_the_modules(channels, padding, size):
    check(uniform(3, channels, *size), plain_block(channels, 6, padding))


@kinds
@paddings
@contents
def test_images_without_contrast(channels, padding, content):
    """Without variance the norm divides by √ε, and every rounding error with it."""
    check(content(3, channels, 6, 7), plain_block(channels, 6, padding))


def test_a_filter_of_zeros():
    plain = plain_block(3, 6)
    with torch.no_grad():
        plain[0].weight[2] = 0
    check(uniform(3, 3, 6, 6), plain)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_one_scale_or_shift_everywhere(name, value):
    """Zeros of both leave ReLU where it has no slope, negative ones where it is closed."""
    plain = plain_block(3, 6)
    with torch.no_grad():
        getattr(plain[1], name).fill_(value)
    check(uniform(3, 3, 6, 6), plain)


def test_only_what_is_asked_for():
    (own,), x = weights_of(plain_block(3, 6)), uniform(2, 3, 6, 7)
    with torch.no_grad():
        output, kept = patch_block(x, own)
        both = patch_block_gradient(output, kept, own, (6, 7), True, True)
        image = patch_block_gradient(output, kept, own, (6, 7), True, False)
        weights = patch_block_gradient(output, kept, own, (6, 7), False, True)
    assert image[1] is None
    assert weights[0] is None
    assert torch.equal(image[0], both[0])
    assert all(map(torch.equal, weights[1], both[1]))


def test_what_is_kept_serves_twice():
    (own,), x = weights_of(plain_block(3, 6)), uniform(2, 3, 6, 7)
    with torch.no_grad():
        output, kept = patch_block(x, own)
        first, second = (
            patch_block_gradient(output, kept, own, (6, 7), True, True)[0] for _ in range(2)
        )
    assert torch.equal(first, second)


@pytest.mark.parametrize("rows", [3, 5])
def test_room_that_is_used_again_changes_nothing(rows):
    """Full of another chunk's activations, and as long as this chunk or longer."""
    torch.manual_seed(0)
    x = torch.randn(3, 2, 8, 6, dtype=torch.float64)
    convolution = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    weights = BlockWeights(convolution, torch.randn(5).double(), torch.randn(5).double(), 1)
    room = torch.full((rows, 48, 5), torch.nan, dtype=torch.float64)
    expected, kept = patch_block(x, weights)
    pooled, _ = patch_block(x, weights, room)
    assert torch.equal(pooled, expected)
    gradient = torch.randn_like(pooled)
    plain = patch_block_gradient(gradient, kept, weights, (8, 6), True, True)
    room.fill_(torch.nan)
    reused = patch_block_gradient(gradient, kept, weights, (8, 6), True, True, room)
    assert torch.equal(reused[0], plain[0])
    assert all(torch.equal(a, b) for a, b in zip(reused[1], plain[1], strict=True))
