import pytest
import torch
import torch.nn.functional as F
from plain_blocks import agree, uniform

from m3d_sklearn.core.cpu import winograd

sizes = pytest.mark.parametrize("size", [(4, 4), (8, 8), (4, 12), (12, 8)], ids=str)
channels = pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (3, 5), (5, 2)])
both_forms = pytest.mark.usefixtures("form")


@pytest.fixture(params=["matrices", "written out"])
def form(request, monkeypatch):
    """The transforms as matrix products, and as torch.compile sees them."""
    if request.param == "written out":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


def last(x):
    """(n, c, h, w) to (n, h, w, c)."""
    return x.permute(0, 2, 3, 1).contiguous()


def first(x):
    return x.permute(0, 3, 1, 2)


def convolve(x, weight):
    return first(winograd.convolve(last(x), winograd.transform_weights(weight)))


@both_forms
@sizes
@channels
@pytest.mark.parametrize("n", [1, 3])
def test_convolution_is_that_of_torch(n, c_in, c_out, size):
    x, weight = uniform(n, c_in, *size), uniform(c_out, c_in, 3, 3, seed=1)
    agree(convolve(x, weight), F.conv2d(x, weight, padding=1))


@both_forms
@sizes
@channels
@pytest.mark.parametrize("n", [1, 3])
def test_weight_gradient_is_that_of_torch(n, c_in, c_out, size):
    x, weight = uniform(n, c_in, *size), uniform(c_out, c_in, 3, 3, seed=1)
    weight.requires_grad_(True)
    direction = uniform(n, c_out, *size, seed=2)
    (expected,) = torch.autograd.grad(F.conv2d(x, weight, padding=1), weight, direction)
    agree(winograd.weight_gradient(last(x), last(direction)), expected)


@both_forms
@sizes
def test_turned_weights_give_the_gradient_by_the_input(size):
    x, weight = uniform(2, 3, *size).requires_grad_(True), uniform(5, 3, 3, 3, seed=1)
    direction = uniform(2, 5, *size, seed=2)
    (expected,) = torch.autograd.grad(F.conv2d(x, weight, padding=1), x, direction)
    agree(convolve(direction, weight.flip(2, 3).transpose(0, 1)), expected)


@both_forms
def test_nothing_given_is_written_to():
    """Transforms write over their own copies; one tile of one image is where none is needed."""
    given = [uniform(1, 4, 4, 2), uniform(36, 2, 3), uniform(1, 4, 4, 3)]
    x, transformed, gradient = (value.clone() for value in given)
    winograd.convolve(x, transformed)
    winograd.weight_gradient(x, gradient)
    assert all(map(torch.equal, (x, transformed, gradient), given))


@both_forms
@pytest.mark.parametrize("size", [(4, 4), (8, 4)], ids=str)
def test_gradient_of_one_value_everywhere(size):
    """An expanded gradient, whose memory is one number."""
    x, one = uniform(2, 3, *size), torch.ones((), dtype=torch.float64)
    shape = (2, *size, 5)
    expected = winograd.weight_gradient(last(x), torch.ones(shape, dtype=torch.float64))
    agree(winograd.weight_gradient(last(x), one.expand(shape)), expected)


def test_transform_of_weights_by_hand():
    """G g Gᵀ of two filters: a one in the middle, and in the last corner."""
    weight = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    weight[0, 0, 1, 1] = weight[0, 1, 2, 2] = 1
    middle = torch.tensor([0, -1 / 6, 1 / 6, 1 / 12, -1 / 12, 0], dtype=torch.float64)
    corner = torch.tensor([0, -1 / 6, -1 / 6, 1 / 6, 1 / 6, 1], dtype=torch.float64)
    transformed = winograd.transform_weights(weight)
    assert transformed.shape == (36, 2, 1)
    agree(transformed[:, 0, 0].view(6, 6), torch.outer(middle, middle))
    agree(transformed[:, 1, 0].view(6, 6), torch.outer(corner, corner))


@both_forms
def test_error_in_single_precision():
    x, weight = uniform(4, 64, 16, 16), uniform(64, 64, 3, 3, seed=1)
    direction = uniform(4, 64, 16, 16, seed=2)
    agree(convolve(x.float(), weight.float()).double(), F.conv2d(x, weight, padding=1), 1e-4)
    found = winograd.weight_gradient(last(x).float(), last(direction).float()).double()
    agree(found, torch.nn.grad.conv2d_weight(x, weight.shape, direction, padding=1), 1e-4)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 64, 4, 4), True),
        ((128, 64, 16, 8), True),
        ((63, 64, 8, 8), False),
        ((64, 63, 8, 8), False),
        ((3, 128, 32, 32), False),
        ((64, 64, 6, 8), False),
        ((64, 64, 8, 7), False),
    ],
    ids=str,
)
def test_pays_on_many_channels_and_whole_tiles(shape, expected):
    assert winograd.pays(*shape) is expected
