import numpy as np
import pytest
import torch

from m3d_sklearn.core.coresets import PassedRows, herd, k_center

RULES = [herd, k_center]


def gaussian(n, d, seed=0, dtype=np.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)).astype(dtype))


def herd_by_hand(features, k):
    """Welling's rule as written: at step k the unchosen x nearest to (k + 1)·μ - Σ chosen."""
    features = features.numpy().astype(np.float64)
    mean, chosen = features.mean(0), []
    for step in range(k):
        target = (step + 1) * mean - features[chosen].sum(0)
        free = [i for i in range(len(features)) if i not in chosen]
        chosen.append(min(free, key=lambda i: np.linalg.norm(target - features[i])))
    return chosen


def k_center_by_hand(features, k):
    """The row nearest the mean, then each time the unchosen row farthest from all centres."""
    features = features.numpy().astype(np.float64)
    chosen = [int(np.linalg.norm(features - features.mean(0), axis=1).argmin())]
    while len(chosen) < k:
        free = [i for i in range(len(features)) if i not in chosen]
        chosen.append(
            max(free, key=lambda i: np.linalg.norm(features[chosen] - features[i], axis=1).min())
        )
    return chosen


BY_HAND = {herd: herd_by_hand, k_center: k_center_by_hand}


def error_of_mean(features, chosen):
    return float((features[chosen].mean(0) - features.mean(0)).norm())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_chooses_what_the_rule_says(rule, seed, dtype):
    features = gaussian(40, 5, seed, dtype)
    assert rule(features, 15).tolist() == BY_HAND[rule](features, 15)


def test_herding_on_a_line_by_hand():
    # The mean is 2. Nearest to 2 is 1; to 2·2 - 1 = 3 it is 4; to 3·2 - 5 = 1 it is 0.5.
    features = torch.tensor([[0.0], [1.0], [4.0], [0.5], [4.5]]).double()
    assert herd(features, 3).tolist() == [1, 2, 3]


def test_k_center_on_a_line_by_hand():
    # The mean is 3.4: nearest is 3; then 10, 7 away; then 0, 3 away; then 1; the second 3 last.
    features = torch.tensor([[0.0], [1.0], [3.0], [10.0], [3.0]]).double()
    assert k_center(features, 5).tolist() == [2, 3, 0, 1, 4]


def test_the_mean_of_herded_rows_is_far_nearer_than_that_of_random_rows():
    features = gaussian(2000, 64)
    random = [
        error_of_mean(features, np.random.default_rng(seed).choice(2000, 50, replace=False))
        for seed in range(20)
    ]
    assert np.mean(random) == pytest.approx(1.06, abs=0.1)
    assert error_of_mean(features, herd(features, 50)) < 0.25  # the arg*max* gives 3.15


def test_k_center_covers_better_than_random_rows():
    features = gaussian(500, 2)

    def radius(chosen):
        return float(torch.cdist(features, features[chosen]).min(1).values.max())

    best_random = min(
        radius(np.random.default_rng(seed).choice(500, 20, replace=False)) for seed in range(20)
    )
    assert radius(k_center(features, 20)) < best_random


@pytest.mark.parametrize("rule", RULES)
def test_the_first_is_the_row_nearest_the_mean(rule):
    features = gaussian(200, 8)
    nearest = (features - features.mean(0)).norm(dim=1).argmin()
    assert rule(features, 1).tolist() == [nearest]


@pytest.mark.parametrize("rule", RULES)
def test_no_row_twice_among_duplicates(rule):
    features = gaussian(4, 3).repeat(5, 1)  # 20 rows, 4 of them different
    chosen = rule(features, 20).tolist()
    assert sorted(chosen) == list(range(20))


@pytest.mark.parametrize("rule", RULES)
def test_no_row_twice_where_all_are_equal(rule):
    assert sorted(rule(torch.full((6, 2), 3.0), 6).tolist()) == list(range(6))


@pytest.mark.parametrize("rule", RULES)
def test_all_rows_can_be_asked_for(rule):
    assert sorted(rule(gaussian(30, 4), 30).tolist()) == list(range(30))
    assert rule(gaussian(1, 4), 1).tolist() == [0]


def test_duplicates_come_last_in_k_center():
    distinct = gaussian(6, 3)
    features = torch.cat([distinct, distinct])
    first = k_center(features, 6)
    assert sorted((first % 6).tolist()) == list(range(6))


@pytest.mark.parametrize("rule", RULES)
def test_longer_selections_begin_with_shorter_ones(rule):
    features = gaussian(50, 4)
    assert rule(features, 20)[:7].tolist() == rule(features, 7).tolist()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_an_offset_far_above_the_spread_changes_nothing(rule, offset):
    # float32 holds 1e5 ± 1 to 0.008: the rule has to give what float64 gives on those rows.
    features = gaussian(500, 16, dtype=np.float32) + offset
    assert rule(features, 30).tolist() == rule(features.double(), 30).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_scale_and_rotation_change_nothing(rule):
    features = gaussian(60, 6)
    rotation, _ = torch.linalg.qr(gaussian(6, 6, seed=1))
    chosen = rule(features, 20).tolist()
    assert rule(features @ rotation * 1e-6, 20).tolist() == chosen
    assert rule(features @ rotation * 1e6 + 7, 20).tolist() == chosen


@pytest.mark.parametrize("rule", RULES)
def test_features_are_not_written_to(rule):
    features = gaussian(20, 3)
    before = features.clone()
    rule(features, 10)
    assert torch.equal(features, before)


class Passes:
    """Features in float32 that come in blocks; counts how often they are gone through."""

    def __init__(self, features, step):
        self.features, self.step, self.passes = features.float(), step, 0
        self.rows = PassedRows(self.blocks, lambda place: self.features[place].clone())

    def blocks(self):
        self.passes += 1
        return (block.clone() for block in self.features.split(self.step))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("step", [1, 7, 40, 100])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_rows_in_blocks_are_chosen_as_those_in_memory(rule, step, offset):
    features = gaussian(40, 5) + offset
    passes = Passes(features, step)
    assert rule(passes.rows, 15).tolist() == rule(features.float(), 15).tolist()
    assert passes.passes == 2 + 14  # mean, norms, and one for each row after the first


@pytest.mark.parametrize("rule", RULES)
def test_one_row_needs_no_pass_after_the_norms(rule):
    passes = Passes(gaussian(40, 5), 7)
    rule(passes.rows, 1)
    assert passes.passes == 2
