"""Who has which classes, and what processes tell one another."""

from __future__ import annotations

import os

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import begin, in_ranks, outcomes

from m3d_sklearn.core.distributed import ALONE, Alone, Share, ranks, share_out


@given(
    costs=st.lists(st.integers(1, 100), min_size=1, max_size=30),
    size=st.integers(1, 12),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_shares_hold_every_piece_once_and_nobody_has_more_than_his_part_and_one(costs, size):
    shares = share_out(costs, size)
    assert len(shares) == size
    assert [piece for own in shares for piece in costs[own]] == costs
    assert all(sum(costs[own]) <= sum(costs) / size + max(costs[own], default=0) for own in shares)


def test_equal_pieces_are_shared_out_equally():
    assert share_out([3] * 6, 3) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert [own.stop - own.start for own in share_out([1] * 10, 4)] in ([2, 3, 2, 3], [3, 2, 3, 2])


def test_of_one_process_all_is_its_own():
    share = Share.of(Alone(), [2, 1, 3], [1.0, 1.0, 1.0])
    assert (share.own, share.rows, share.divided) == (slice(0, 3), [slice(0, 6)], False)
    losses = torch.rand(3)
    assert torch.equal(share.mean(losses), losses.mean())
    assert torch.equal(ALONE.mean(losses), losses.mean())
    assert list(range(7)[ALONE.own]) == list(range(7))


def test_alone_nobody_is_asked():
    value = object()
    assert ranks().agree(value) is value
    assert ranks().collect(value) == [value]
    assert ranks().together(lambda: value) is value


def talk(others, counts):
    """Everything that ranks can tell one another."""
    share = Share.of(others, counts, [1.0] * len(counts))
    rows = torch.full((sum(counts), 2, 3, 3), -1.0).to(memory_format=torch.channels_last)
    rows[share.rows[others.rank]] = float(others.rank)
    share.gather_(rows)
    own = torch.arange(len(counts), dtype=torch.float32)[share.own]
    return {
        "agreed": others.agree(f"from {others.rank}"),
        "collected": others.collect((others.rank, ranks().size)),
        "rows": rows[:, 0, 0, 0].tolist(),
        "mean": float(share.mean(own)),
        "divided": share.divided,
        "whole": Share.whole(others, counts).mean(own + 1).isnan().item(),
    }


def test_what_ranks_tell_one_another():
    counts = [1, 2, 1, 3]
    first, second, third = in_ranks(3, talk, counts)
    assert first == second == third | {"whole": first["whole"]}
    assert first["agreed"] == "from 0"
    assert first["collected"] == [(0, 3), (1, 3), (2, 3)]
    assert first["rows"] == [0, 1, 1, 1, 2, 2, 2]
    assert first["mean"] == 1.5
    assert first["divided"]


def test_one_class_for_two_ranks():
    first, second = in_ranks(2, talk, [2])
    assert first["rows"] == second["rows"] == [1, 1]  # its middle is where the second part begins
    assert (first["mean"], second["mean"]) == (0, 0)


def fail_on_one(others):
    def call():
        if others.rank == 1:
            raise ValueError("X must be whole")
        return "well"

    return others.together(call)


def test_what_fails_for_one_fails_for_all():
    first, second = outcomes(begin(2, fail_on_one))
    assert second == (False, "ValueError: X must be whole")
    assert first == (False, "RuntimeError: rank 1 of 2 failed with ValueError: X must be whole")


def die(others):
    if others.rank == 1:
        os._exit(9)
    return others.agree(1) and others.collect(others.rank)


def test_a_rank_that_has_stopped_is_told():
    first, second = outcomes(begin(2, die, timeout=5))
    assert second is None
    assert not first[0]
    assert first[1].startswith("RuntimeError: rank 0 of 2 has no answer from the others")
    assert "5 seconds" in first[1]
