import pytest
import torch
from plain_blocks import plain_block, weights_of
from torch import nn

from m3d_sklearn.core.cpu import winograd
from m3d_sklearn.core.cpu.weights import few_channels, prepared


def stack(*blocks):
    return weights_of(nn.Sequential(*(layer for block in blocks for layer in block)))


@pytest.mark.parametrize(("channels", "expected"), [(1, True), (3, True), (4, True), (5, False)])
def test_images_have_few_channels(channels, expected):
    (own,) = stack(plain_block(channels, 8))
    assert few_channels(own) is expected


@pytest.mark.parametrize(
    ("size", "padding", "expected"),
    [
        ((32, 32), 1, [False, True, True]),  # 32, 16, 8
        ((28, 28), 3, [False, True, True]),  # padded to 32
        ((24, 24), 1, [False, True, False]),  # 24, 12, 6
        ((24, 32), 1, [False, True, False]),
        ((17, 33), 1, [False, True, True]),  # an odd edge is not pooled
    ],
)
def test_transforms_come_where_they_pay(size, padding, expected):
    blocks = stack(plain_block(3, 64, padding), plain_block(64, 64), plain_block(64, 64))
    ready = prepared(blocks, size, True)
    assert [own.transformed is not None for own in ready] == expected
    assert [own.turned is not None for own in ready] == expected


def test_transforms_are_those_of_the_convolution_and_of_its_gradient():
    (own,) = prepared(stack(plain_block(64, 65)), (8, 8), True)
    assert torch.equal(own.transformed, winograd.transform_weights(own.convolution))
    turned = own.convolution.flip(2, 3).transpose(0, 1)
    assert torch.equal(own.turned, winograd.transform_weights(turned))


def test_no_transform_of_a_gradient_that_nobody_wants():
    (own,) = prepared(stack(plain_block(64, 64)), (8, 8), False)
    assert own.transformed is not None
    assert own.turned is None


def test_in_bfloat16_wide_convolutions_take_the_direct_sum():
    blocks = stack(plain_block(3, 64), plain_block(64, 64))
    patches, wide = prepared(blocks, (32, 32), True, torch.bfloat16)
    assert patches.convolution.dtype == torch.float64
    assert wide.convolution.dtype == torch.bfloat16
    assert wide.scale.dtype == torch.float64
    assert wide.transformed is wide.turned is None


def test_values_are_the_parameters_own_without_their_history():
    (given,) = stack(plain_block(3, 8))
    (own,) = prepared([given], (8, 8), True)
    for before, after in zip(given[:3], own[:3], strict=True):
        assert before.requires_grad
        assert not after.requires_grad
        assert after.data_ptr() == before.data_ptr()
    assert own.padding == given.padding
