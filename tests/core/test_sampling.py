import pytest
import torch

from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import ClassPools, Scale, range_numbers

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 1, 2] * 4 + [0] * 6)  # 10, 4 and 4 rows, interleaved
SIZES = [10, 4, 4]


def images_scale(dtype=torch.float64):
    """0..255 is 0..1; two channels with their own mean and spread."""
    mean = torch.tensor([0.25, 0.5]).view(2, 1, 1)
    values = [torch.tensor(v) for v in (0.0, 255.0, 0.0, 1.0)] + [mean, 2 * mean]
    return Scale(*values).to(CPU, dtype)


def table_scale():
    shift, width = torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5])
    low, high = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 3.0])
    return Scale(shift, width, low, high, torch.zeros(()), torch.ones(())).to(CPU, torch.float64)


@pytest.fixture
def pools():
    rows = torch.arange(18, dtype=torch.uint8)[:, None, None, None].expand(18, 2, 1, 1).clone()
    return ClassPools(rows, LABELS, 3, images_scale())


def by_class(drawn, counts):
    return [part.tolist() for part in drawn.split(counts)]


def members(c):
    return set(torch.nonzero(c == LABELS).flatten().tolist())


def test_draws_stand_class_after_class(pools):
    assert pools.batch_counts(5) == [5, 4, 4]
    for c, part in enumerate(by_class(pools.draw(5, Stream(0, CPU)), [5, 4, 4])):
        assert set(part) <= members(c)
        assert len(set(part)) == len(part)


def test_a_pass_sees_every_row_once(pools):
    stream = Stream(0, CPU)
    draws = [by_class(pools.draw(2, stream), [2, 2, 2]) for _ in range(10)]
    for c, size in enumerate(SIZES):
        for first in range(0, 10 - size // 2 + 1, size // 2):  # pass by pass
            seen = [row for draw in draws[first : first + size // 2] for row in draw[c]]
            assert sorted(seen) == sorted(members(c))


def test_what_is_left_of_a_pass_is_dropped(pools):
    # 10 rows by 4: two draws without repeats, then a new pass.
    stream = Stream(0, CPU)
    draws = [pools.draw(4, stream)[:4].tolist() for _ in range(4)]
    assert len({*draws[0], *draws[1]}) == 8
    assert len({*draws[2], *draws[3]}) == 8


def test_passes_are_shuffled_anew(pools):
    stream = Stream(0, CPU)
    passes = [pools.draw(9, stream)[:9].tolist() for _ in range(3)]
    assert passes[0] != passes[1] != passes[2]


UNEQUAL = [12, 1, 6, 3, 9]  # by 3: passes of 4, 1 (whole), 2, 1 (whole) and 3 draws


@pytest.fixture
def unequal():
    labels = torch.arange(5).repeat_interleave(torch.tensor(UNEQUAL))
    order = torch.randperm(31, generator=torch.Generator().manual_seed(3))
    return ClassPools(torch.zeros(31, 1), labels[order], 5, table_scale()), labels[order]


def test_every_class_has_passes_of_its_own(unequal):
    pools, labels = unequal
    stream = Stream(0, CPU)
    counts = pools.batch_counts(3)
    draws = [by_class(pools.draw(3, stream), counts) for _ in range(24)]
    for c, size in enumerate(UNEQUAL):
        own = torch.nonzero(labels == c).flatten().tolist()
        length = max(1, size // 3)
        passes = [
            [row for draw in draws[first : first + length] for row in draw[c]]
            for first in range(0, 24, length)
        ]
        assert all(sorted(seen) == own for seen in passes)
        if size > 3:
            assert len(set(map(tuple, passes))) > 1


def test_only_classes_at_their_end_are_shuffled(unequal, monkeypatch):
    """A class of 12 by 3 is shuffled every fourth time; what comes whole is never shuffled."""
    pools, _ = unequal
    shuffled, shuffle = [], pools._shuffle

    def watch(classes, stream):
        shuffled[-1] += classes
        shuffle(classes, stream)

    monkeypatch.setattr(pools, "_shuffle", watch)
    for _ in range(7):
        shuffled.append([])
        pools.draw(3, Stream(0, CPU))
    assert shuffled == [[0, 2, 4], [], [2], [4], [0, 2], [], [2, 4]]


def test_a_draw_of_a_thousand_classes():
    sizes = [1 + 7 * c % 5 for c in range(1000)]
    labels = torch.arange(1000).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    pools = ClassPools(torch.zeros(len(labels), 1), labels, 1000, table_scale())
    counts, stream = pools.batch_counts(2), Stream(0, CPU)
    for _ in range(4):
        drawn = pools.draw(2, stream)
        assert torch.equal(labels[drawn], range_numbers(counts, CPU))
        assert len(drawn.unique()) == sum(counts)


def test_all_rows_of_a_class_have_the_same_chance():
    """Five of ten rows, 2,000 first draws: each row about 1,000 times, within 5 errors."""
    pools = ClassPools(torch.zeros(10, 1), torch.zeros(10, dtype=torch.long), 1, table_scale())
    stream, times = Stream(0, CPU), torch.zeros(10)
    for _ in range(2000):
        pools.draw(5, stream)
        times[pools.draw(5, stream)] += 1
    assert (times - 1000).abs().max() < 5 * (2000 * 0.25) ** 0.5


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([2, 1, 3], [0, 0, 1, 2, 2, 2]),
        ([2, 2], [0, 0, 1, 1]),
        ([3], [0, 0, 0]),
        ([0, 2, 0, 1], [1, 1, 3]),
        ([0, 0], []),
    ],
)
def test_range_numbers(counts, expected):
    numbers = range_numbers(counts, CPU)
    assert numbers.tolist() == expected
    assert numbers.dtype == torch.int64


@pytest.mark.parametrize("batch", [4, 128])
def test_a_small_class_comes_whole(pools, batch):
    counts = pools.batch_counts(batch)
    assert counts[1:] == [4, 4]
    drawn = by_class(pools.draw(batch, Stream(0, CPU)), counts)
    assert [set(part) for part in drawn[1:]] == [members(1), members(2)]


def test_pick_repeats_only_where_a_class_is_too_small(pools):
    picked = by_class(pools.pick([10, 3, 9], Stream(0, CPU)), [10, 3, 9])
    assert set(picked[0]) == members(0)
    assert len(set(picked[1])) == 3
    assert set(picked[1]) <= members(1)
    # Nine of four: each at least twice, one of them three times.
    assert set(picked[2]) == members(2)
    assert sorted(picked[2].count(row) for row in members(2)) == [2, 2, 2, 3]


def test_a_seed_fixes_the_draws(pools):
    other = ClassPools(pools.rows, LABELS, 3, pools.scale)
    assert torch.equal(pools.draw(3, Stream(1, CPU)), other.draw(3, Stream(1, CPU)))
    assert torch.equal(pools.pick([2, 2, 2], Stream(1, CPU)), other.pick([2] * 3, Stream(1, CPU)))


def test_bytes_stay_bytes_until_they_are_taken(pools):
    assert pools.rows.dtype == torch.uint8
    assert pools.sample_shape == (2, 1, 1)
    taken = pools.take(torch.tensor([17, 0]))
    assert taken.dtype == torch.float64
    assert taken[:, 0, 0, 0].tolist() == [17 / 255, 0]


def test_units_of_a_table_by_hand():
    scale = table_scale()
    raw = torch.tensor([[3.0, -1.0], [1.0, -2.5]], dtype=torch.float64)
    units = scale.to_units(raw)
    assert units.tolist() == [[1, 2], [0, -1]]
    assert scale.normalise(units).tolist() == units.tolist()


def test_units_of_images_span_the_range():
    raw = torch.arange(256, dtype=torch.uint8).view(-1, 2, 4, 4)
    torch.testing.assert_close(images_scale().to_units(raw) * 255, raw.double())


def test_normalise_by_channel():
    units = torch.full((1, 2, 1, 1), 0.75, dtype=torch.float64)
    assert images_scale().normalise(units).flatten().tolist() == [1.0, 0.25]


def test_clamp_writes_in_place_within_each_columns_range():
    units = torch.tensor([[-5.0, -5.0], [5.0, 5.0], [0.5, 0.5]], dtype=torch.float64)
    assert table_scale().clamp_(units) is units
    assert units.tolist() == [[-1, -2], [1, 3], [0.5, 0.5]]


def test_scale_changes_dtype_as_a_whole():
    scale = images_scale(torch.float32).to(CPU, torch.float64)
    assert {value.dtype for value in vars(scale).values()} == {torch.float64}
