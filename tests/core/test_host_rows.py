import threading

import numpy as np
import pytest
import torch

from m3d_sklearn.core.host_rows import HostRows, StreamedPools
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import ClassPools, Scale

CPU = torch.device("cpu")
ROWS = torch.arange(60 * 12).reshape(60, 2, 3, 2).permute(0, 3, 1, 2)  # as channels-last images
LABELS = torch.arange(60) % 7 % 3  # 26, 17 and 17 rows
ROW = 12 * 8  # bytes


class Reader:
    """Reads rows, and remembers which."""

    def __init__(self, rows=ROWS):
        self.rows, self.calls = rows, []

    def __call__(self, numbers):
        assert (np.diff(numbers) > 0).all()
        self.calls.append(numbers.tolist())
        return self.rows[torch.from_numpy(numbers)]

    @property
    def read(self):
        return [number for call in self.calls for number in call]


def host_rows(cache=0, reader=None):
    return HostRows(reader or Reader(), tuple(ROWS.shape), CPU, cache)


def scale():
    return Scale(*(torch.tensor(v) for v in (0.0, 1.0, 0.0, 800.0, 0.0, 1.0)))


@pytest.mark.parametrize("cache", [0, 10 * ROW, 10**9])
def test_rows_by_number_in_any_order(cache):
    rows, stream = host_rows(cache), Stream(0, CPU)
    for n in (1, 20, 5, 60, 3):
        index = stream.integers(0, 60, n)
        expected = ROWS[index]
        for _ in range(2):
            taken = rows[index]
            assert torch.equal(taken, expected)
            assert taken.stride() == expected.stride()


def test_what_fits_is_read_once():
    reader = Reader()
    rows = host_rows(60 * ROW, reader)
    for index in ([3, 1, 3], [1, 2], [2, 3, 1]):
        rows[torch.tensor(index)]
    assert reader.read[1:] == [1, 3, 2]  # after the one that tells the form


def test_what_is_over_the_budget_is_read_again():
    reader = Reader()
    rows = host_rows(2 * ROW, reader)
    for _ in range(3):
        assert torch.equal(rows[torch.tensor([5, 6, 7])], ROWS[5:8])
    assert reader.calls[1:] == [[5, 6, 7], [7], [7]]


def test_rows_that_were_expected_are_there():
    reader = Reader()
    rows = host_rows(0, reader)
    rows.expect(np.array([9, 4, 5]))  # of the next draw
    rows.expect(np.array([1]))  # which this is
    assert torch.equal(rows[torch.tensor([4, 9])], ROWS[[4, 9]])
    assert torch.equal(rows[torch.tensor([5, 8, 4])], ROWS[[5, 8, 4]])
    assert sorted(reader.read[1:]) == [1, 4, 5, 8, 9]


def test_a_read_ahead_that_fails_is_told_where_it_is_used():
    class Failing(Reader):
        def __call__(self, numbers):
            if 7 in numbers:
                raise ValueError("X[7] could not be read")
            return super().__call__(numbers)

    rows = host_rows(0, Failing())
    rows.expect(np.array([7]))
    rows.expect(np.array([], int))
    assert torch.equal(rows[torch.tensor([3])], ROWS[[3]])
    with pytest.raises(ValueError, match="could not be read"):
        rows[torch.tensor([3, 7])]


@pytest.mark.parametrize("cache", [0, 10 * ROW, 10**9])
@pytest.mark.parametrize("batch", [1, 4, 17, 20, 100])
def test_draws_are_those_of_rows_on_the_device(batch, cache):
    plain = ClassPools(ROWS, LABELS, 3, scale())
    streamed = StreamedPools(host_rows(cache), LABELS, 3, scale())
    mine, theirs = Stream(3, CPU), Stream(3, CPU)
    picked = plain.pick([2, 30, 1], mine)
    assert torch.equal(streamed.pick([2, 30, 1], theirs), picked)
    for _ in range(30):
        index, expected = streamed.draw(batch, theirs), plain.draw(batch, mine)
        assert torch.equal(index, expected)
        assert torch.equal(streamed.take(index), plain.take(expected))
        assert torch.equal(streamed._shuffled, plain._shuffled)
        assert streamed._used == plain._used
    assert streamed.sample_shape == plain.sample_shape
    assert streamed.batch_counts(batch) == plain.batch_counts(batch)


def test_the_next_draw_is_read_during_this_one():
    """Classes of 26 and 17 rows by 4: only what a shuffle brings is read when it is needed."""
    main, late = threading.current_thread(), []

    class Watched(Reader):
        def __call__(self, numbers):
            if threading.current_thread() is main:
                late.append(len(numbers))
            return super().__call__(numbers)

    pools, stream = StreamedPools(host_rows(0, Watched()), LABELS, 3, scale()), Stream(0, CPU)
    late.clear()
    for _ in range(12):
        pools.take(pools.draw(4, stream))
    # The first draw; class 0 is shuffled after 6 draws, the others after 4.
    assert late == [12, 8, 4, 8]


def test_reading_ahead_changes_no_sampling_state():
    pools, stream = StreamedPools(host_rows(), LABELS, 3, scale()), Stream(0, CPU)
    pools.draw(4, stream)
    shuffled, used, state = pools._shuffled.clone(), list(pools._used), stream.generator.get_state()
    for _ in range(3):
        pools.rows.expect(pools._following(4))
    assert torch.equal(pools._shuffled, shuffled)
    assert pools._used == used
    assert torch.equal(stream.generator.get_state(), state)
