import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from m3d_sklearn.core.networks import (
    MLP,
    NETWORKS,
    ConvNet,
    auto_network,
    build,
    depth_for,
    embed,
    rows_in_cache,
)
from m3d_sklearn.core.randomness import Stream

CPU = torch.device("cpu")
names = pytest.mark.parametrize("name", list(NETWORKS))
N_FEATURES = {"convnet": 2048, "mlp": 128, "resnet10": 512, "resnet18": 512, "densenet121": 1024}


def stream(seed=0):
    return Stream(seed, CPU)


def images(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(5), dtype=dtype)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_convnet_of_the_field():
    network = build("convnet", (3, 32, 32), 10, stream())
    assert sum(p.numel() for p in network.parameters()) == 320_010
    assert embed(network, images(1, 3, 32, 32)).shape == (1, 2048)


def test_28_pixels_are_padded_to_32():
    assert embed(build("convnet", (1, 28, 28), 10, stream()), images(1, 1, 28, 28)).shape[1] == 2048


@pytest.mark.parametrize(
    ("side", "depth"),
    [(2, 1), (4, 1), (8, 1), (15, 1), (16, 2), (27, 2), (28, 3), (32, 3), (224, 3)],
)
def test_depth_is_three_from_28_pixels_and_leaves_four_by_four_below(side, depth):
    assert depth_for(side) == depth
    if 8 <= side < 28:
        assert side // 2**depth >= 4 > side // 2 ** (depth + 1)


def test_convnet_of_oblong_images():
    assert embed(ConvNet((1, 8, 24), 2, width=4), images(1, 1, 8, 24)).shape == (1, 4 * 4 * 12)


@names
def test_every_network_embeds_32_pixels(name):
    with torch.no_grad():
        features = embed(build(name, (3, 32, 32), 7, stream()), images(1, 3, 32, 32))
    assert features.shape == (1, N_FEATURES[name])
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mlp"])
def test_features_tell_patterns_apart(name):
    """Means over maps that have just been normalised image by image are all but the same."""
    patterns = F.interpolate(images(8, 3, 4, 4), size=32, mode="bilinear") - 0.5
    with torch.no_grad():
        features = embed(build(name, (3, 32, 32), 4, stream()).train(), patterns)
    assert (features - features.mean(0)).norm() > 0.1 * features.norm()


@names
def test_outputs_of_a_row_alone_stand_on_its_features_among_others(name):
    network = build(name, (1, 16, 16), 3, stream()).double()
    network.train(name != "densenet121")  # whose batch norm sees the others while it trains
    x = images(2, 1, 16, 16, dtype=torch.float64)
    head = list(network.modules())[-1]  # the last module of all of them
    with torch.no_grad():
        features, outputs = embed(network, x), network(x[:1])
        assert outputs.shape == (1, 3)
        torch.testing.assert_close(head(features)[:1], outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("convnet", (1, 1, 9)),
        ("convnet", (12,)),
        ("resnet10", (3, 15, 32)),
        ("resnet18", (3, 8, 8)),
        ("densenet121", (1, 8, 8)),
        ("densenet121", (64,)),
    ],
)
def test_samples_too_small_for_a_network(name, shape):
    with pytest.raises(ValueError, match=rf"network '{name}' needs images of at least (2|16)."):
        build(name, shape, 2, stream())


def test_convnet_too_deep_for_its_images():
    with pytest.raises(ValueError, match="'convnet' of depth 4 needs images of at least 16 pixels"):
        ConvNet((1, 8, 8), 2, depth=4)


def test_unknown_network():
    with pytest.raises(ValueError, match=r"network must be 'auto', one of .*'mlp'.*; got 'vgg'"):
        build("vgg", (3, 32, 32), 2, stream())


@pytest.mark.parametrize(
    ("shape", "name"), [((5,), "mlp"), ((3, 8, 8), "convnet"), ((1, 1, 9), "mlp")]
)
def test_auto_network(shape, name):
    assert auto_network(shape) == name
    assert embed(build(name, shape, 2, stream()), images(2, *shape)).shape[0] == 2


@pytest.mark.parametrize("side", [8, 20, 130])  # plain, channels last, a chunk a row
def test_chunks_change_nothing(side):
    network = ConvNet((1, side, side), 2, width=2, depth=1).double()
    rows = rows_in_cache(torch.empty(1, 1, side, side))
    x = images(3 + 2 * rows, 1, side, side, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(embed(network, x), network.embed(x))


@pytest.mark.parametrize("train", [True, False])
def test_batch_statistics_are_of_all_rows(train):
    """A user's network: its features stay those of its own call, whatever the chunks."""
    network = nn.Sequential(nn.Conv2d(1, 2, 32), nn.BatchNorm2d(2)).double().train(train)
    x = images(17, 1, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(embed(network, x), network(x).flatten(1))


FACTORIES = {
    "with arguments": lambda shape, n: MLP(shape, n, width=6),
    "without arguments": lambda: MLP((1, 4, 4), 2, width=6),
    "partial": functools.partial(MLP, width=6),
    "keywords of its own": lambda *, width=6: MLP((1, 4, 4), 2, width=width),
}


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=list(FACTORIES))
def test_factories(factory):
    network = build(factory, (1, 4, 4), 2, stream())
    assert embed(network, images(3, 1, 4, 4)).shape == (3, 6)
    assert torch.equal(weights(network), weights(build(factory, (1, 4, 4), 2, stream())))


def test_output_is_the_features_of_a_module_without_embed():
    network = build(lambda: nn.Conv2d(1, 2, 3), (1, 4, 4), 2, stream())
    x = images(3, 1, 4, 4)
    assert torch.equal(embed(network, x), network(x).flatten(1))


@pytest.mark.parametrize("factory", [lambda: None, lambda shape, n: [n]])
def test_factory_of_no_module(factory):
    with pytest.raises(TypeError, match=r"factory of a torch.nn.Module; the factory gave (None|l)"):
        build(factory, (4,), 2, stream())


def test_errors_of_a_factory_name_the_network():
    def factory(shape, n):
        raise RuntimeError("no such luck")

    with pytest.raises(
        ValueError, match="network: its factory failed with RuntimeError: no such luck"
    ):
        build(factory, (4,), 2, stream())


def test_a_convnet_has_a_block_at_least():
    with pytest.raises(ValueError, match="depth of 1 or more; got depth=0"):
        ConvNet((1, 8, 8), 2, depth=0)
