from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from common import colour, digits, iris
from sources import Items
from torch import nn

from m3d_sklearn import Herding, M3DCondenser, Random, evaluate
from m3d_sklearn.core.networks import ConvNet

NARROW = partial(ConvNet, width=8)


def quick(condensed, X, y, **settings):
    length = {} if "max_steps" in settings else {"max_iter": 3}
    known = {"n_networks": 2, "random_state": 0} | length
    return evaluate(condensed, X, y, **(known | settings))


def herded(ipc=4):
    X, y = iris()
    return Herding(ipc=ipc).fit(X, y).condensed_, X, y


class Constant(nn.Module):
    """Always says class 0, whatever it was taught."""

    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.size = n_outputs
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        logits = torch.zeros(len(x), self.size, dtype=x.dtype)
        logits[:, 0] = 1
        return self.weight * logits


class Fickle(Constant):
    """Says class 0, but class 1 once it has seen more than `patience` training batches."""

    patience = 5

    def __init__(self, input_shape, n_outputs):
        super().__init__(input_shape, n_outputs)
        self.seen = 0

    def forward(self, x):
        self.seen += self.training and torch.is_grad_enabled()
        logits = super().forward(x)
        return logits.flip(1) if self.seen > self.patience else logits


# What is reported


def test_reports_every_run_and_what_was_run():
    condensed, X, y = herded()
    result = quick(condensed, X, y, n_networks=3)
    assert result.scores.shape == (3,)
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    assert result.mean == pytest.approx(np.mean(result.scores))
    assert result.std == pytest.approx(np.std(result.scores, ddof=1))
    assert (result.network, result.width, result.protocol) == ("mlp", 128, "m3d")
    assert (result.epochs, result.steps, result.n_train) == (3, 3, 12)
    assert result.seconds > 0


def test_one_network_has_no_spread():
    condensed, X, y = herded()
    assert quick(condensed, X, y, n_networks=1).std == 0


def test_says_it_in_a_line():
    condensed, X, y = herded()
    line = str(quick(condensed, X, y))
    assert "% (2 " in line
    assert "mlp of width 128, protocol m3d, 3 epochs, 3 steps" in line


def test_the_score_is_the_share_of_rows_named_right():
    condensed, X, _ = herded()
    y = np.array([0] * 30 + [1] * 45)
    result = quick(condensed, X, y, network=Constant)
    assert result.scores.tolist() == [0.4, 0.4]
    assert (result.network, result.width) == ("Constant", None)


def test_labels_that_the_set_does_not_know_count_as_wrong():
    condensed, X, _ = herded()
    for unknown in (7, -1, 0.5, "setosa"):
        y = np.array([0] * 30 + [unknown] * 45, dtype=object)
        assert quick(condensed, X, y, network=Constant).mean == 0.4


def test_the_last_epoch_counts_and_not_the_best():
    condensed, X, _ = herded()
    y = np.zeros(len(X), int)
    assert quick(condensed, X, y, network=Fickle, max_iter=5).mean == 1
    assert quick(condensed, X, y, network=Fickle, max_iter=6).mean == 0


def test_learns_from_a_good_set():
    condensed, X, y = herded(8)
    assert quick(condensed, X, y, max_iter=150).mean > 0.8


# Seeds


def test_the_seed_decides_every_score():
    condensed, X, y = herded()
    one, same, other = (quick(condensed, X, y, random_state=s).scores for s in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()


def test_networks_differ_and_more_of_them_begin_with_the_same():
    condensed, X, y = herded()
    few = quick(condensed, X, y, n_networks=2, max_iter=1).scores
    many = quick(condensed, X, y, n_networks=5, max_iter=1).scores
    assert many[:2].tolist() == few.tolist()
    assert len(set(many)) > 1


def test_the_global_generator_stays_where_it_is():
    condensed, X, y = herded()
    before = torch.get_rng_state()
    quick(condensed, X, y)
    assert torch.equal(torch.get_rng_state(), before)


# Steps


@pytest.mark.parametrize("ipc", [1, 4, 20])
@pytest.mark.parametrize("steps", [1, 7])
def test_steps_are_the_same_for_sets_of_every_size(ipc, steps):
    condensed, X, y = herded(ipc)
    result = quick(condensed, X, y, max_steps=steps, batch_size=16)
    passes = -(-3 * ipc // 16)
    assert (result.steps, result.n_train) == (steps, 3 * ipc)
    assert result.epochs == -(-steps // passes)


def test_steps_stand_in_the_place_of_epochs():
    condensed, X, _ = herded()
    y = np.zeros(len(X), int)
    assert quick(condensed, X, y, network=Fickle, max_steps=5, max_iter="auto").mean == 1
    assert quick(condensed, X, y, network=Fickle, max_steps=6).mean == 0


def test_epochs_and_steps_at_once_are_refused():
    condensed, X, y = herded(1)
    with pytest.raises(ValueError, match=r"max_iter must be 'auto' .*; got max_iter=50 and max_st"):
        quick(condensed, X, y, max_iter=50, max_steps=3)


@pytest.mark.parametrize(("protocol", "steps"), [("m3d", 2), ("dc", 1)])
def test_the_protocol_decides_the_batches(protocol, steps):
    X, y = iris()
    condensed = Random(ipc=25, random_state=0).fit(X, y).condensed_
    result = quick(condensed, X, y, protocol=protocol, max_iter=1)
    assert (result.protocol, result.steps, result.n_train) == (protocol, steps, 75)


# Sets and pairs


def test_mosaics_are_decoded():
    X, y = colour()
    condensed = M3DCondenser(ipc=2, factor=2, max_iter=0, random_state=0).fit(X, y).condensed_
    result = quick(condensed, X, y, network=NARROW)
    assert result.n_train == 2 * 2**2 * 3
    assert (result.network, result.width) == ("ConvNet", 8)
    # The decoded rows as a pair, by the statistics of the same data, train alike.
    by_hand = quick(condensed.decode(), X, y, network=NARROW)
    assert by_hand.n_train == result.n_train


def test_a_pair_of_the_whole_data_is_as_good_as_its_set():
    # All rows have the statistics of the data, so both are normalised alike.
    X, y = colour()
    condensed = Herding(ipc=8).fit(X, y).condensed_
    as_set = quick(condensed, X, y, network=NARROW)
    as_pair = quick((condensed.X, condensed.y), X, y, network=NARROW)
    assert as_set.scores.tolist() == as_pair.scores.tolist()


def test_a_pair_of_few_rows_is_normalised_by_its_own_statistics():
    seen = []

    class Looking(Constant):
        def forward(self, x):
            if self.training and torch.is_grad_enabled():
                seen.append(x.detach().clone())
            return super().forward(x)

    X, y = iris()
    condensed = Random(ipc=2, random_state=0).fit(X, y).condensed_
    quick(tuple(condensed), X, y, network=Looking, n_networks=1, max_iter=1)
    own = seen.pop()
    torch.testing.assert_close(own.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(own.std(0, correction=0), torch.ones(4), atol=1e-5, rtol=0)
    quick(condensed, X, y, network=Looking, n_networks=1, max_iter=1)
    shown = seen.pop()
    expected = (condensed.X - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(np.sort(shown, 0), np.sort(expected, 0), rtol=1e-4, atol=1e-5)


def test_test_rows_are_normalised_as_the_training_rows():
    seen = []

    class Looking(Constant):
        def forward(self, x):
            if not self.training:
                seen.append(x.clone())
            return super().forward(x)

    X, y = iris()
    condensed = Random(ipc=2, random_state=0).fit(X, y).condensed_
    quick(condensed, X[:5] + 1, y[:5], network=Looking, n_networks=1, max_iter=1)
    expected = (X[:5] + 1 - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(seen[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"image_shape": (8, 6, 3)}])
def test_a_pair_may_hold_images_in_any_layout(settings):
    X, y = colour()
    expected = quick((X, y), X, y, network=NARROW).scores
    given = X.reshape(len(X), -1) if settings else X.transpose(0, 3, 1, 2)
    scores = quick((given, y), given, y, network=NARROW, **settings).scores
    np.testing.assert_allclose(scores, expected, atol=0.1)


def test_data_frames_tensors_and_series_are_taken():
    X, y = iris()
    expected = quick(Herding(ipc=4).fit(X, y).condensed_, X, y).scores
    frame, labels = pd.DataFrame(X, columns=list("abcd")), pd.Series(y)
    condensed = Herding(ipc=4).fit(frame, labels).condensed_
    np.testing.assert_array_equal(quick(condensed, frame, labels).scores, expected)
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    np.testing.assert_array_equal(quick(condensed, *tensors).scores, expected)
    np.testing.assert_array_equal(quick(condensed, frame, y[:, None]).scores, expected)


@pytest.mark.parametrize("dtype", [object, "category", str])
def test_labels_may_be_strings(dtype):
    X, y = iris()
    expected = quick(Herding(ipc=4).fit(X, y).condensed_, X, y).scores
    names = pd.Series(np.array(["a", "b", "c"])[y], dtype=dtype)
    condensed = Herding(ipc=4).fit(X, names).condensed_
    np.testing.assert_array_equal(quick(condensed, X, names).scores, expected)
    np.testing.assert_array_equal(quick(condensed, X, names.to_numpy()).scores, expected)


def test_grey_images_of_whole_numbers_and_of_fractions_score_alike():
    X, y = digits(3, 6)
    small = X.astype(np.uint8)
    one = quick(Herding(ipc=3).fit(small, y).condensed_, small, y, network=NARROW)
    two = quick(Herding(ipc=3).fit(X / 16, y).condensed_, X / 16, y, network=NARROW)
    np.testing.assert_allclose(one.scores, two.scores, atol=0.06)


# What is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "idc"}, "'protocol' parameter of evaluate must be .*'m3d'.* Got 'idc'"),
        ({"n_networks": 0}, r"'n_networks' parameter .* int in the range \[1, inf\). Got 0"),
        (
            {"max_steps": 1.5},
            r"'max_steps' parameter .* int in the range \[1, inf\) or None. Got 1.5",
        ),
        ({"max_iter": 0}, r"'max_iter' parameter .*'auto'.* int in the range \[1, inf\). Got 0"),
        (
            {"batch_size": "all"},
            r"'batch_size' parameter .*'auto'.* int in the range \[1, inf\). Got 'all'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    condensed, X, y = herded(1)
    with pytest.raises(ValueError, match=words):
        quick(condensed, X, y, **settings)


def test_test_rows_that_do_not_fit_are_refused():
    condensed, X, y = herded(1)
    with pytest.raises(ValueError, match=r"X_test must have rows of shape \(4,\)"):
        quick(condensed, X[:, :3], y)
    with pytest.raises(ValueError, match="same number of rows, 1 or more; got 75 and 74"):
        quick(condensed, X, y[:-1])
    with pytest.raises(ValueError, match=r"X_test must hold finite .*; got NaN or infinity"):
        quick(condensed, np.where(X > 5, np.nan, X), y)


def test_columns_in_another_order_are_refused():
    X, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd"))
    condensed = Herding(ipc=1).fit(frame, y).condensed_
    with pytest.raises(ValueError, match="X_test"):
        quick(condensed, frame[list("dcba")], y)
    quick(condensed, X, y)  # an array has no names that could disagree


@pytest.mark.parametrize("condensed", [3, None, np.zeros((3, 4))])
def test_something_else_than_a_set_is_refused(condensed):
    X, y = iris()
    with pytest.raises(TypeError, match=r"CondensedSet or a pair \(X, y\)"):
        quick(condensed, X, y)


def test_a_fitted_condenser_is_asked_for_its_set():
    X, y = iris()
    with pytest.raises(TypeError, match="got a fitted Random: give its condensed_"):
        quick(Random(ipc=1).fit(X, y), X, y)


@pytest.mark.parametrize("listed", [True, False])
def test_a_data_set_brings_its_own_labels(listed):
    X, y = digits()
    condensed = Herding(ipc=4).fit(X, y).condensed_
    items = Items(X, None if listed else y)
    if listed:
        items.targets = y.tolist()
    found = quick(condensed, items, None, network="mlp")
    assert np.array_equal(found.scores, quick(condensed, X, y, network="mlp").scores)
    with pytest.raises(ValueError, match=r"X_test and y_test must have the same .*and None"):
        quick(condensed, X, None)


# Soft labels


def test_networks_are_trained_on_a_sets_soft_labels():
    X, y = digits(3, 12)
    start = M3DCondenser(2, factor=2, max_iter=0, random_state=0).fit(X, y).condensed_
    hard = np.eye(3)[np.repeat(start.labels, 4)]
    settings = {"network": NARROW, "max_iter": 20}
    scores = [
        quick(replace(start, soft_labels=labels), X, y, **settings).scores
        for labels in (None, hard, hard[:, [1, 2, 0]])
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    # What is taught as the next class is taken for it.
    turned = quick(replace(start, soft_labels=hard[:, [2, 0, 1]]), X, (y + 1) % 3, **settings)
    assert turned.mean > 0.5 > scores[2].mean()
