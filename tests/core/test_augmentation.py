import math

import pytest
import torch

from m3d_sklearn.core.augmentation import (
    MATCHING,
    OPERATIONS,
    Draw,
    apply,
    check_policy,
    draw,
    gives,
    resolve,
)
from m3d_sklearn.core.randomness import Stream

CPU = torch.device("cpu")
SIZES = [(8, 8), (7, 5), (4, 9)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)
names = pytest.mark.parametrize("name", list(OPERATIONS))


def images(n, channels, h, w, seed=0, dtype=torch.float64):
    return torch.rand(
        (n, channels, h, w), generator=torch.Generator().manual_seed(seed), dtype=dtype
    )


def numbers(name, n, size=(8, 8), seed=0):
    return OPERATIONS[name].draw(Stream(seed, CPU), n, *size)


def applied(name, x, *rows):
    """The operation on numbers given a row per image."""
    return apply(x, [Draw(name, torch.tensor(rows))])


def close(actual, expected, **tolerance):
    torch.testing.assert_close(actual, expected, **{"rtol": 1e-6, "atol": 1e-6} | tolerance)


# ---------------------------------------------------------------- what an operation does


def test_brightness():
    x = images(2, 3, 4, 5)
    close(applied("brightness", x, [0.25], [-0.5]), torch.stack([x[0] + 0.25, x[1] - 0.5]))


def test_saturation():
    x = images(2, 3, 4, 5)
    grey = x.sum(1, keepdim=True) / 3
    out = applied("saturation", x, [0.0], [1.5])
    close(out[0], grey[0].expand(3, 4, 5))
    close(out[1], grey[1] + 1.5 * (x[1] - grey[1]))


def test_saturation_leaves_one_channel_alone():
    x = images(2, 1, 4, 5)
    assert torch.equal(applied("saturation", x, [0.0], [1.5]), x)


def test_contrast():
    x = images(2, 3, 4, 5)
    mean = [x[i].sum() / 60 for i in range(2)]
    out = applied("contrast", x, [0.5], [1.25])
    for i, factor in enumerate([0.5, 1.25]):
        close(out[i], mean[i] + factor * (x[i] - mean[i]))


@sizes
def test_crop_is_a_slice_of_the_padded_image(size):
    h, w = size
    shifts = [(0, 0), (1, -1), (-2, 1), (3, 3), (-h, 0)]
    x = images(len(shifts), 2, h, w)
    out = applied("crop", x, *shifts)
    for image, (down, right), result in zip(x, shifts, out, strict=True):
        padded = torch.nn.functional.pad(image, (w, w, h, h))
        assert torch.equal(result, padded[:, h + down : 2 * h + down, w + right : 2 * w + right])


@sizes
def test_cutout_blanks_a_square_clipped_at_the_border(size):
    h, w = size
    cut_h, cut_w = int(h / 2 + 0.5), int(w / 2 + 0.5)
    centres = [(0, 0), (h - 1, w - 1), (h // 2, w // 2), (1, w - 2)]
    x = images(len(centres), 2, h, w) + 1
    out = applied("cutout", x, *centres)
    for image, (row, column), result in zip(x, centres, out, strict=True):
        expected = image.clone()
        for i in range(row - cut_h // 2, row - cut_h // 2 + cut_h):
            for j in range(column - cut_w // 2, column - cut_w // 2 + cut_w):
                if 0 <= i < h and 0 <= j < w:
                    expected[:, i, j] = 0
        assert torch.equal(result, expected)


def test_flip():
    x = images(2, 2, 4, 5)
    out = applied("flip", x, [0.49], [0.5])
    assert torch.equal(out[0], x[0][:, :, [4, 3, 2, 1, 0]])
    assert torch.equal(out[1], x[1])


@sizes
@pytest.mark.parametrize(("name", "none"), [("scale", [0.0, 0.0]), ("rotate", [0.0])])
def test_no_scale_and_no_rotation_change_nothing(name, none, size):
    x = images(2, 3, *size)
    close(applied(name, x, none, none), x)


def plain_warp(image, source):
    """Bilinear values of `image` (h, w) at source(row, column), offsets from its centre."""
    h, w = image.shape
    out = torch.zeros_like(image)
    for i in range(h):
        for j in range(w):
            y, x = source(i - (h - 1) / 2, j - (w - 1) / 2)
            y, x = y + (h - 1) / 2, x + (w - 1) / 2
            for r in (math.floor(y), math.floor(y) + 1):
                for c in (math.floor(x), math.floor(x) + 1):
                    if 0 <= r < h and 0 <= c < w:
                        out[i, j] += image[r, c] * (1 - abs(y - r)) * (1 - abs(x - c))
    return out


@sizes
def test_scale_reads_each_axis_at_its_own_factor(size):
    x = images(1, 1, *size)
    across, down = 1.2, 1 / 1.1
    out = applied("scale", x, [math.log(across), math.log(down)])
    close(out[0, 0], plain_warp(x[0, 0], lambda i, j: (down * i, across * j)))


@sizes
@pytest.mark.parametrize("degrees", [15, -7])
def test_rotation_turns_pixels_also_of_oblong_images(size, degrees):
    x = images(1, 1, *size)
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    out = applied("rotate", x, [angle])
    expected = plain_warp(x[0, 0], lambda i, j: (sine * j + cosine * i, cosine * j - sine * i))
    close(out[0, 0], expected)


def test_a_quarter_turn_is_exact():
    x = images(1, 2, 5, 5)
    close(applied("rotate", x, [math.pi / 2]), x.rot90(1, (2, 3)))


@names
def test_dtype_shape_and_input_are_kept(name):
    x = images(3, 3, 6, 4, dtype=torch.float32)
    before = x.clone()
    out = apply(x, [Draw(name, numbers(name, 3, (6, 4)))])
    assert (out.dtype, out.shape) == (x.dtype, x.shape)
    assert torch.equal(x, before)


# ---------------------------------------------------------------- what is drawn

RANGES = {
    "brightness": (-0.5, 0.5),
    "saturation": (0, 2),
    "contrast": (0.5, 1.5),
    "flip": (0, 1),
    "scale": (-math.log(1.2), math.log(1.2)),
    "rotate": (-math.radians(15), math.radians(15)),
}


@pytest.mark.parametrize(("name", "low", "high"), [(k, *v) for k, v in RANGES.items()])
def test_numbers_fill_their_range(name, low, high):
    drawn = numbers(name, 2000)
    assert drawn.min() >= low - 1e-6
    assert drawn.max() <= high + 1e-6
    near = (high - low) / 50
    assert (drawn.min(0).values < low + near).all()
    assert (drawn.max(0).values > high - near).all()


def test_scale_factors_lie_between_five_sixths_and_six_fifths():
    factors = numbers("scale", 2000).exp()
    assert factors.shape == (2000, 2)
    assert factors.min() >= 1 / 1.2 - 1e-6
    assert factors.max() <= 1.2 + 1e-6
    assert (factors[:, 0] != factors[:, 1]).all()


@pytest.mark.parametrize(
    ("size", "reach"), [((32, 32), (4, 4)), ((28, 8), (4, 1)), ((4, 3), (1, 0))]
)
def test_crop_reaches_an_eighth_of_each_side(size, reach):
    drawn = numbers("crop", 2000, size)
    for axis, most in enumerate(reach):
        assert set(drawn[:, axis].tolist()) == set(range(-most, most + 1))


@pytest.mark.parametrize("size", [(32, 32), (9, 6), (3, 1)])
def test_cutout_centres_cover_the_image(size):
    drawn = numbers("cutout", 3000, size)
    for axis, side in enumerate(size):
        even = int(side / 2 + 0.5) % 2 == 0  # such a square has its centre between pixels
        assert set(drawn[:, axis].tolist()) == set(range(side + even))


@pytest.mark.parametrize("side", [8, 9, 10, 11])
def test_cutout_hides_both_borders_alike(side):
    """Over all centres, each pixel and its mirror image are hidden equally often."""
    most = int(numbers("cutout", 500, (side, 1))[:, 0].max())
    centres = [[centre, 0] for centre in range(most + 1)]
    kept = applied("cutout", torch.ones(len(centres), 1, side, 1), *centres).sum(0).flatten()
    assert kept.tolist() == kept.flip(0).tolist()


def test_color_is_short_for_three():
    drawn = draw(MATCHING, 4, (8, 8), Stream(0, CPU))
    assert [d.name for d in drawn] == ["brightness", "saturation", "contrast", "crop", "cutout"]
    assert {len(d.numbers) for d in drawn} == {4}


def test_a_tuple_stands_for_one_of_its_members():
    stream = Stream(0, CPU)
    policy = ["flip", ("crop", "scale", "color")]
    drawn = [tuple(d.name for d in draw(policy, 2, (8, 8), stream)) for _ in range(40)]
    assert set(drawn) == {
        ("flip", "crop"),
        ("flip", "scale"),
        ("flip", "brightness", "saturation", "contrast"),
    }


def test_a_seed_fixes_the_draws():
    policy = ["color", ("crop", "cutout"), "rotate"]
    first, second = (draw(policy, 3, (8, 6), Stream(5, CPU)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert torch.equal(one.numbers, other.numbers)


# ---------------------------------------------------------------- Siamese use and gradients

EVERYTHING = ["color", "crop", "cutout", "flip", "scale", "rotate"]


def test_images_of_a_group_share_its_draw():
    drawn = draw(EVERYTHING, 3, (8, 6), Stream(0, CPU))
    x = images(1, 3, 8, 6)
    group = torch.tensor([2, 0, 2, 1, 0])
    out = apply(x.expand(5, -1, -1, -1), drawn, group)
    by_group = apply(x.expand(3, -1, -1, -1), drawn)
    close(out, by_group[group], rtol=0, atol=1e-12)
    assert not torch.allclose(by_group[0], by_group[1])


def test_groups_are_each_alone():
    """All classes at once, or a class at a time: the same images."""
    drawn = draw(EVERYTHING, 2, (7, 7), Stream(0, CPU))
    x, group = images(5, 3, 7, 7), torch.tensor([0, 0, 1, 1, 1])
    together = apply(x, drawn, group)
    for c in (0, 1):
        own = [Draw(d.name, d.numbers[c : c + 1]) for d in drawn]
        mine = x[group == c]
        alone = apply(mine, own, torch.zeros(len(mine), dtype=torch.long))
        close(alone, together[group == c], rtol=0, atol=1e-12)


def test_no_draws_change_nothing():
    x = images(2, 1, 4, 4)
    assert apply(x, draw([], 2, (4, 4), Stream(0, CPU))) is x


@pytest.mark.parametrize("policy", [MATCHING, EVERYTHING], ids=["matching", "everything"])
def test_gradient_by_finite_differences(policy):
    drawn = draw(policy, 2, (5, 4), Stream(1, CPU))
    x = images(2, 2, 5, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda rows: apply(rows, drawn), x)


# ---------------------------------------------------------------- policies as users give them


@pytest.mark.parametrize(
    "policy", [[], (), ["color", ("flip", "color")], list(OPERATIONS), MATCHING]
)
def test_policies_that_are_fine(policy):
    check_policy(policy)


@pytest.mark.parametrize(
    ("policy", "culprit"),
    [
        (["color", "blur"], "'blur'"),
        ([("flip", "blur")], "'blur'"),
        ([3], "3"),
        ([["crop", "blur"]], "'blur'"),  # a list is as good as a tuple
        ([[("crop", "flip")]], r"\('crop', 'flip'\)"),  # a choice within a choice
        (["crop", []], r"\[\]"),
        (["crop", ()], r"\(\)"),  # one of no members
    ],
)
def test_unknown_operations_are_named(policy, culprit):
    with pytest.raises(ValueError, match=rf"erase knows the operations .*'crop'.*; got {culprit}"):
        check_policy(policy, "erase")


@pytest.mark.parametrize("policy", ["crop", {"crop"}, 5])
def test_policies_of_another_type(policy):
    with pytest.raises(ValueError, match="augmentation must be 'auto', None or a list of"):
        check_policy(policy)


def test_resolve():
    assert resolve("auto", MATCHING, is_image=True) == MATCHING
    assert resolve("auto", MATCHING, is_image=False) == ()
    assert resolve(None, MATCHING, is_image=True) == ()
    assert resolve(["crop"], MATCHING, is_image=True) == ["crop"]
    assert resolve([["crop", "flip"], "color"], (), is_image=True) == [("crop", "flip"), "color"]
    assert resolve([], MATCHING, is_image=False) == []
    with pytest.raises(ValueError, match="augmentation is for images, and X is a table"):
        resolve(["crop"], MATCHING, is_image=False)
    with pytest.raises(ValueError, match="augmentation must be 'auto', None or a list"):
        resolve("crop", MATCHING, is_image=True)


@pytest.mark.parametrize(
    ("policy", "names", "possible"),
    [
        ((), [], True),
        ((), ["crop"], False),
        (("crop", "cutout"), ["crop", "cutout"], True),
        (("crop", "cutout"), ["cutout", "crop"], False),
        (("crop", "cutout"), ["crop"], False),
        (("color",), ["brightness", "saturation", "contrast"], True),
        ((("color", "brightness"), "crop"), ["brightness", "crop"], True),
        ((("color", "brightness"), "crop"), ["brightness", "saturation", "contrast", "crop"], True),
        ([("scale", "rotate")] * 40, ["scale", "rotate"] * 20, True),  # at once, for all 2^40
        (("crop",), "crop", False),
    ],
)
def test_which_operations_a_policy_gives(policy, names, possible):
    assert gives(policy, names) is possible
