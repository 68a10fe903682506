import pytest
import torch
import torch.nn.functional as F
from plain_blocks import agree, uniform

from m3d_sklearn.core.cpu.pooling import rectified_pool, rectified_pool_gradient

sizes = pytest.mark.parametrize("size", [(2, 2), (8, 4), (7, 9), (6, 5), (3, 4)], ids=str)


def plain(x):
    """By torch's modules' functions, (n, h, w, c) as here."""
    return F.avg_pool2d(F.relu(x.permute(0, 3, 1, 2)), 2).permute(0, 2, 3, 1)


def places(size, n=3, channels=4):
    x = uniform(n, *size, channels)
    x[:, 0, 0] = 0  # where ReLU's slope is by convention that of its flat side
    return x


@sizes
def test_pooling_is_that_of_torch(size):
    x = places(size)
    agree(rectified_pool(x.clone()), plain(x))


def test_pooling_writes_its_relu_over_its_input():
    x = places((4, 4))
    expected = x.relu()
    rectified_pool(x)
    assert torch.equal(x, expected)


@sizes
@pytest.mark.parametrize("one_value", [False, True], ids=["each its own", "expanded"])
def test_gradient_is_that_of_torch(size, one_value):
    x = places(size).requires_grad_(True)
    pooled = plain(x)
    gradient = uniform(1, 1, 1, 1).expand_as(pooled) if one_value else uniform(*pooled.shape)
    (expected,) = torch.autograd.grad(pooled, x, gradient)
    found = rectified_pool_gradient(gradient, x.detach())
    assert found.is_contiguous()
    agree(found, expected)


def test_an_odd_edge_has_no_gradient():
    x = torch.ones(1, 3, 5, 1)
    found = rectified_pool_gradient(torch.ones(1, 1, 2, 1), x)[0, :, :, 0]
    assert found.tolist() == [[0.25] * 4 + [0]] * 2 + [[0] * 5]


def test_gradient_takes_the_place_of_what_was_pooled():
    x, gradient = places((4, 6)), uniform(3, 2, 3, 4, seed=1)
    before = gradient.clone()
    assert rectified_pool_gradient(gradient, x).data_ptr() == x.data_ptr()
    assert torch.equal(gradient, before)
