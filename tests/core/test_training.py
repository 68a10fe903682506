import pytest
import torch
import torch.nn.functional as F
from torch import nn

from m3d_sklearn.core import training
from m3d_sklearn.core.networks import MLP, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import Scale
from m3d_sklearn.core.training import (
    PROTOCOLS,
    TrainingRecipe,
    cutmix,
    default_epochs,
    draw_epoch,
    predict_logits,
    train,
)

CPU = torch.device("cpu")


def linear(seed=0, features=3, outputs=2):
    weights = torch.Generator().manual_seed(seed)
    module = nn.Linear(features, outputs).double()
    with torch.no_grad():
        for values in module.parameters():
            values.copy_(torch.randn(values.shape, generator=weights))
    return module


def table(n=5, features=3, outputs=2):
    numbers = torch.Generator().manual_seed(1)
    rows = torch.randn(n, features, generator=numbers, dtype=torch.float64)
    return rows, torch.arange(n) % outputs


class Recorder:
    """Gives rows by number and remembers which were asked for."""

    def __init__(self, rows):
        self.rows, self.asked = rows, []

    def __call__(self, index):
        self.asked.append(index.tolist())
        return self.rows[index]


def trained(recipe, seed=0, module=None, data=None):
    rows, labels = data or table()
    module, take = module or linear(), Recorder(rows)
    curve = train([module], take, labels, recipe, [Stream(seed, CPU)], rows.shape[1:])
    return module, curve[:, 0].tolist(), take.asked


# Protocols


def test_the_m3d_protocol_is_the_published_one():
    m3d = PROTOCOLS["m3d"]
    assert (m3d.batch_size, m3d.milestones, m3d.decay) == (64, (2 / 3, 5 / 6), 0.2)
    assert m3d.epochs == (1000, 1000)
    assert m3d.cutmix == 0.5
    moves = ("crop", "scale", "rotate")
    assert m3d.policies == (("color", moves), ("color", "flip", moves))  # grey is not flipped


def test_the_dc_protocol_is_the_published_one():
    dc = PROTOCOLS["dc"]
    assert (dc.batch_size, dc.milestones, dc.decay) == (256, (0.5,), 0.1)
    assert dc.epochs == (1000, 300)  # grey images, colour images
    assert dc.cutmix == 0
    assert dc.policies == ((("crop", "scale", "rotate"),), ())


def test_the_recipe_defaults_are_sgd_of_both_protocols():
    recipe = TrainingRecipe(steps=1, batch_size=1)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.01, 0.9, 5e-4)


@pytest.mark.parametrize(
    ("n", "epochs"),
    [
        (1, 1000),  # one batch an epoch
        (1280, 1000),  # 20 batches: exactly 20,000 steps
        (1281, 952),  # 21 batches
        (2048, 625),
        (60_000, 21),  # 938 batches
        (10**6, 20),  # never fewer
    ],
)
def test_epochs_are_as_many_as_20000_steps_allow(n, epochs):
    assert default_epochs(1000, n, 64) == epochs


# CutMix


def mix(images, labels, stream, probability=1.0):
    """One network's batch."""
    partner = stream.permutation(len(images))[None]
    numbers = stream.uniform(1, 4)
    mixed, other, share = cutmix(images[None], labels[None], numbers, partner, probability)
    return mixed[0], other[0], share.item()


def numbered_images(n=16, height=9, width=7):
    """Image i is i everywhere, so each pixel tells where it came from."""
    return torch.arange(n, dtype=torch.float64).view(n, 1, 1, 1).expand(n, 2, height, width)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_share_is_the_share_of_pixels_kept(seed):
    images, labels = numbered_images(), torch.arange(16)
    mixed, other, share = mix(images, labels, Stream(seed, CPU))
    foreign = other != labels  # an image that met itself shows nothing
    own = (mixed == images).double().mean((1, 2, 3))
    assert own[foreign] == pytest.approx(torch.full_like(own[foreign], share))
    assert bool(foreign.any())


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_pastes_one_box_of_the_image_whose_label_it_gives(seed):
    images, labels = numbered_images(), torch.arange(16)
    mixed, other, _ = mix(images, labels, Stream(seed, CPU))
    for image, own, pasted in zip(mixed, labels, other, strict=True):
        assert set(image.unique().tolist()) <= {float(own), float(pasted)}
        if own == pasted:
            continue
        channels, rows, columns = torch.nonzero(image == pasted, as_tuple=True)
        if len(rows):
            box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
            assert len(rows) == 2 * box  # filled, in both channels
            assert channels.unique().tolist() == [0, 1]
    assert sorted(other.tolist()) == labels.tolist()  # each image is pasted once


def test_cutmix_boxes_have_a_uniform_area_before_the_border_cuts_them():
    # A side s and a centre uniform over the image leave s - s²/4 of the side inside, and with
    # s² = v uniform the mean of (s - s²/4)² is 1/2 - 1/5 + 1/48.
    stream = Stream(0, CPU)
    images, labels = numbered_images(2, 128, 128), torch.arange(2)
    shares = torch.tensor([mix(images, labels, stream)[2] for _ in range(800)])
    assert shares.mean().item() == pytest.approx(1 - (1 / 2 - 1 / 5 + 1 / 48), abs=0.03)


def test_cutmix_leaves_its_input_alone():
    images = numbered_images().clone()
    mix(images, torch.arange(16), Stream(0, CPU))
    assert torch.equal(images, numbered_images())


def test_a_mixed_batch_is_charged_for_both_labels_by_their_shares(monkeypatch):
    images = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([0, 1, 2, 3])

    def mixing(rows, own, numbers, partner, probability):
        return 2 * rows, (own + 1) % 4, torch.tensor([0.25])

    monkeypatch.setattr(training, "cutmix", mixing)
    module = nn.Sequential(nn.Flatten(), linear(features=36, outputs=4))
    logits = module(2 * images)
    expected = 0.25 * F.cross_entropy(logits, labels)
    expected += 0.75 * F.cross_entropy(logits, (labels + 1) % 4)
    recipe = TrainingRecipe(steps=1, batch_size=4, cutmix=1.0)
    _, curve, _ = trained(recipe, module=module, data=(images, labels))
    assert curve == pytest.approx([expected.item()])


def test_distributions_are_mixed_as_labels_are():
    stream, other = Stream(3, CPU), Stream(3, CPU)
    images, labels = numbered_images(), torch.arange(16)
    mixed, pasted, share = mix(images, labels, stream)
    soft, soft_pasted, soft_share = mix(images, torch.eye(16), other)
    assert torch.equal(soft, mixed)
    assert torch.equal(soft_pasted, torch.eye(16)[pasted])
    assert soft_share == share


@pytest.mark.parametrize(("often", "least", "most"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_batches_are_mixed_as_often_as_asked(monkeypatch, often, least, most):
    mixed = []

    def counting(rows, own, numbers, partner, probability):
        found = cutmix(rows, own, numbers, partner, probability)
        mixed.append(found[2].item() < 1)
        return found

    monkeypatch.setattr(training, "cutmix", counting)
    images = torch.zeros(4, 1, 128, 128).double()  # so large that no box is empty
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), linear(features=4))
    recipe = TrainingRecipe(steps=200, batch_size=4, cutmix=often)
    trained(recipe, module=module, data=(images, torch.arange(4) % 2))
    assert least <= sum(mixed) <= most


def test_networks_mix_their_own_batches():
    images = torch.stack([numbered_images(4, 8, 8), 10 + numbered_images(4, 8, 8)])
    labels = torch.arange(8).view(2, 4)
    numbers = torch.tensor([[0.9, 0.2, 0.5, 0.5], [0.1, 0.2, 0.5, 0.5]])
    partner = torch.tensor([[1, 0, 3, 2], [3, 2, 1, 0]])
    mixed, other, share = cutmix(images, labels, numbers, partner, 0.5)
    assert torch.equal(mixed[0], images[0])
    assert other.tolist() == [[1, 0, 3, 2], [7, 6, 5, 4]]
    assert share[0] == 1
    # √0.8 of 8 pixels is 7, so 3 on either side of the centre at 4.
    assert share[1].item() == pytest.approx(1 - 36 / 64)
    assert mixed[1, 0, 0].unique().tolist() == [10, 13]


# Steps


@pytest.mark.parametrize("steps", [1, 3, 7, 9])
def test_takes_exactly_the_steps_asked_for(steps):
    _, curve, asked = trained(TrainingRecipe(steps=steps, batch_size=2))
    assert len(asked) == steps
    assert [len(index) for index in asked] == [2, 2, 1, 2, 2, 1, 2, 2, 1][:steps]
    assert len(curve) == -(-steps // 3)  # an epoch cut short counts as one


def test_every_epoch_sees_every_row_once_in_a_new_order():
    _, _, asked = trained(TrainingRecipe(steps=9, batch_size=2))
    epochs = [[i for index in asked[e : e + 3] for i in index] for e in (0, 3, 6)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def plain_sgd(recipe, batches, rates, wanted=None):
    """SGD with momentum and weight decay written out, on given batches at given rates."""
    rows, labels = table()
    wanted = F.one_hot(labels) if wanted is None else wanted
    module = linear()
    values = list(module.parameters())
    velocity = [torch.zeros_like(v) for v in values]
    losses = []
    for index, rate in zip(batches, rates, strict=True):
        loss = -(wanted[index] * module(rows[index]).log_softmax(1)).sum(1).mean()
        gradients = torch.autograd.grad(loss, values)
        with torch.no_grad():
            for v, g, m in zip(values, gradients, velocity, strict=True):
                m.mul_(recipe.momentum).add_(g + recipe.weight_decay * v)
                v.sub_(rate * m)
        losses.append(loss.item())
    return module, losses


@pytest.mark.parametrize(
    ("milestones", "decay", "rates"),
    [
        ((), 1.0, [0.1] * 6),
        ((0.5,), 0.1, [0.1] * 3 + [0.01] * 3),
        ((2 / 3, 5 / 6), 0.2, [0.1] * 4 + [0.02] + [0.004]),
    ],
)
def test_equals_sgd_written_out_with_the_rate_stepped_down(milestones, decay, rates):
    recipe = TrainingRecipe(
        steps=6, batch_size=2, learning_rate=0.1, milestones=milestones, decay=decay
    )
    module, curve, batches = trained(recipe, seed=4)
    by_hand, losses = plain_sgd(recipe, batches, rates)
    for value, expected in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    assert curve == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-6)


def distributions(n=5, outputs=2):
    numbers = torch.Generator().manual_seed(2)
    return torch.rand(n, outputs, generator=numbers, dtype=torch.float64).softmax(1)


def test_training_on_distributions_equals_sgd_written_out():
    recipe = TrainingRecipe(steps=6, batch_size=2, learning_rate=0.1)
    soft = distributions()
    module, curve, batches = trained(recipe, data=(table()[0], soft))
    by_hand, losses = plain_sgd(recipe, batches, [0.1] * 6, soft)
    for value, expected in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    assert curve == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-6)


@pytest.mark.parametrize("n_networks", [1, 2])
def test_certain_distributions_give_what_labels_give(n_networks):
    """With all that a protocol does to a batch, for networks alone and together."""
    rows, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 3
    recipe = TrainingRecipe(7, 8, policy=PROTOCOLS["m3d"].policies[1], cutmix=0.5)
    found = []
    for wanted in (labels, F.one_hot(labels).float()):
        streams = [Stream(seed, CPU) for seed in range(n_networks)]
        modules = [build(MLP, (1, 8, 8), 3, stream) for stream in streams]
        curve = train(modules, rows.__getitem__, wanted, recipe, streams, (1, 8, 8))
        found.append((curve, [list(module.parameters()) for module in modules]))
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_learns_what_can_be_learnt():
    rows, labels = table(60)
    labels = (rows[:, 0] > 0).long()
    recipe = TrainingRecipe(steps=100, batch_size=16, learning_rate=0.3)
    module, curve, _ = trained(recipe, data=(rows, labels))
    assert (module(rows).argmax(1) == labels).double().mean() > 0.95
    assert curve[-1] < 0.5 * curve[0]


def weights(module):
    return torch.cat([v.detach().flatten() for v in module.parameters()])


def small_image_training(seed, **settings):
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    module = nn.Sequential(nn.Flatten(), linear(features=64))
    recipe = TrainingRecipe(steps=5, batch_size=4, **settings)
    train(
        [module],
        images.__getitem__,
        torch.arange(6) % 2,
        recipe,
        [Stream(seed, CPU)],
        images.shape[1:],
    )
    return weights(module)


@pytest.mark.parametrize(
    "settings",
    [{}, {"policy": ("color", ("crop", "scale", "rotate"))}, {"cutmix": 0.5}],
    ids=["plain", "augmented", "mixed"],
)
def test_the_seed_decides_the_training(settings):
    assert torch.equal(small_image_training(0, **settings), small_image_training(0, **settings))
    assert not torch.equal(small_image_training(0, **settings), small_image_training(1, **settings))


def test_augmentation_and_cutmix_change_the_training():
    plain = small_image_training(0)
    assert not torch.equal(plain, small_image_training(0, policy=("color",)))
    assert not torch.equal(plain, small_image_training(0, cutmix=1.0))


class Spy(nn.Module):
    """Keeps what it is shown, and whether it was in training mode."""

    def __init__(self):
        super().__init__()
        self.head, self.shown, self.modes = nn.Linear(1, 2), [], []

    def forward(self, x):
        self.shown.append(x.detach().clone())
        self.modes.append(self.training)
        return self.head(x.mean((1, 2, 3))[:, None])


def test_each_image_of_a_batch_has_a_draw_of_its_own():
    spy, images = Spy().eval(), torch.zeros(8, 1, 4, 4)
    recipe = TrainingRecipe(steps=1, batch_size=8, policy=("brightness",))
    labels = torch.arange(8) % 2
    train([spy], images.__getitem__, labels, recipe, [Stream(0, CPU)], images.shape[1:])
    assert len(spy.shown[0][:, 0, 0, 0].unique()) == 8
    assert spy.modes == [True]


@pytest.mark.parametrize("n", [3, 8, 10])
def test_an_epoch_draws_partners_within_each_batch_from_each_networks_own_stream(n):
    recipe = TrainingRecipe(steps=1, batch_size=4, policy=("color", ("crop", "scale")), cutmix=0.5)
    both = draw_epoch(n, (8, 8), recipe, [Stream(seed, CPU) for seed in (0, 1)])
    for seed in (0, 1):
        alone = draw_epoch(n, (8, 8), recipe, [Stream(seed, CPU)])
        assert torch.equal(both.order[seed], alone.order[0])
        assert torch.equal(both.boxes[seed], alone.boxes[0])
        for own, other in zip(both.augmentation, alone.augmentation, strict=True):
            assert torch.equal(own.numbers[seed], other.numbers[0])
        for batch in both.partners[seed].split(4):
            assert sorted(batch.tolist()) == list(range(len(batch)))


def test_watch_is_told_each_epoch_and_can_end_the_training():
    rows, labels = table()
    seen = []

    def watch(epoch, loss):
        seen.append((epoch, loss.item()))
        return epoch == 2

    recipe = TrainingRecipe(steps=30, batch_size=2)
    curve = train(
        [linear()], rows.__getitem__, labels, recipe, [Stream(0, CPU)], rows.shape[1:], watch
    )
    assert seen == [(1, curve[0]), (2, curve[1])]


# Prediction


@pytest.mark.parametrize("n", [1, 5, 12])
def test_logits_are_of_normalised_rows_in_batches(n, monkeypatch):
    monkeypatch.setattr(training, "PREDICT_ROWS", 5)
    values = [torch.tensor(v).double() for v in (2.0, 4.0, 0.0, 1.0, 0.25, 0.5)]
    rows, _ = table(n)
    module = linear()
    expected = module((((rows - 2) / 4) - 0.25) / 0.5)
    got = predict_logits(module.train(), rows, Scale(*values))
    torch.testing.assert_close(got, expected.detach(), rtol=1e-12, atol=1e-12)
    assert not module.training
    assert not got.requires_grad


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match=r"not finite in epoch \d+ of .*learning_rate"):
        trained(TrainingRecipe(steps=40, batch_size=2, learning_rate=1e300))
