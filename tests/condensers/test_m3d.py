import os
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from common import colour, digits, iris
from reference import rbf_mmd2
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import nn

from m3d_sklearn import Herding, KCenter, M3DCondenser, Random
from m3d_sklearn.condensers._settings import default_iterations
from m3d_sklearn.core import formation
from m3d_sklearn.core.devices import resolve_device
from m3d_sklearn.core.networks import MLP, ConvNet, auto_network, build
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import UNLIMITED

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NARROW = partial(ConvNet, width=16)
MATCHING, GREY = ["color", "crop", "cutout"], [("crop", "scale", "rotate")]


def quick(ipc=2, **settings):
    return M3DCondenser(ipc, **({"max_iter": 10, "random_state": 0, "device": "cpu"} | settings))


def noise(n, shape, dtype=np.uint8, classes=2, seed=0):
    X = np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(dtype)
    return X, np.arange(n) % classes


def start_of(X, y, **settings):
    """What a run starts from."""
    return quick(max_iter=0, **settings).fit(X, y).condensed_


# What "auto" comes to


@pytest.mark.parametrize(
    ("shape", "settings", "network", "factor", "augmentation", "init"),
    [
        ((4,), {}, "mlp", 1, [], "real"),
        ((8, 8), {}, "convnet", 1, [], "real"),
        ((27, 40), {}, "convnet", 1, [], "real"),
        ((28, 28), {}, "convnet", 2, GREY, "mix"),
        ((32, 32, 3), {}, "convnet", 2, MATCHING, "mix"),
        ((3, 32, 32), {}, "convnet", 2, MATCHING, "mix"),
        ((784,), {"image_shape": (28, 28)}, "convnet", 2, GREY, "mix"),
        ((28, 28), {"preset": "paper"}, "convnet", 2, MATCHING, "mix"),
        ((784,), {}, "mlp", 1, [], "real"),
    ],
    ids=str,
)
def test_auto_depends_on_the_kind_of_data(shape, settings, network, factor, augmentation, init):
    X, y = noise(16, shape)
    params = quick(1, max_iter=0, device="auto", **settings).fit(X, y).params_
    assert params["network"] == network
    assert params["factor"] == factor
    assert params["augmentation"] == augmentation
    assert params["init"] == init
    assert params["device"] == str(resolve_device("auto"))


@pytest.mark.parametrize(
    ("shape", "ipc", "settings", "factor"),
    [
        ((28, 28), 19, {}, 2),
        ((28, 28), 20, {}, 1),
        ((28, 28), {0: 38, 1: 1}, {}, 2),
        ((28, 28), {0: 38, 1: 2}, {}, 1),
        ((32, 32, 3), 50, {}, 2),
        ((28, 28), 20, {"factor": 2}, 2),
        ((28, 28), 20, {"preset": "paper"}, 2),
    ],
    ids=str,
)
def test_many_grey_images_keep_their_resolution(shape, ipc, settings, factor):
    X, y = noise(16, shape)
    params = quick(ipc, max_iter=0, **settings).fit(X, y).params_
    assert (params["factor"], params["init"]) == (factor, "mix" if factor > 1 else "real")


@pytest.mark.parametrize(
    "estimator",
    [
        M3DCondenser(1, max_iter=0),
        Random(1),
        Herding(1),
        KCenter(1, features="auto", feature_epochs=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("shape", [(4,), (3, 8, 8)])
def test_params_leave_no_auto(estimator, shape):
    params = clone(estimator).fit(*noise(6, shape)).params_
    # What nothing reads need not be resolved: epochs of a network that is not trained.
    params = {k: v for k, v in params.items() if k != "feature_epochs"}
    left = [name for name, value in params.items() if isinstance(value, str) and value == "auto"]
    assert left == []


def test_params_name_every_parameter():
    condenser = quick(max_iter=0).fit(*iris())
    assert set(condenser.params_) == set(condenser.get_params(deep=False))
    assert condenser.params_["ipc"] == condenser.ipc_ == {0: 2, 1: 2, 2: 2}
    assert condenser.params_["random_state"] == 0


def test_what_is_given_stays_as_it_is():
    X, y = noise(16, (28, 28))
    given = {
        "network": "mlp",
        "factor": 1,
        "augmentation": ["flip"],
        "init": "noise",
        "batch_real": 7,
        "learning_rate": 0.5,
        "momentum": 0.25,
        "schedule": "constant",
        "max_iter": 1,
    }
    params = quick(**given).fit(X, y).params_
    assert {name: params[name] for name in given} == given


def test_sgd_takes_the_published_rate_and_momentum_for_all_classes_at_once():
    # One buffer of momentum 1/2 stepped class after class, at rate 1 per stored image.
    X, y = digits(4, 6)
    params = quick(3, optimizer="sgd", max_iter=0).fit(X, y).params_
    assert params["momentum"] == 0.5**4
    assert params["learning_rate"] == pytest.approx(3 * (1 - 0.5**4) / (1 - 0.5))
    assert params["schedule"] == "constant"


def test_iterations_are_chosen_by_data_and_device():
    table, small, large = (4,), (1, 8, 8), (1, 28, 28)
    X, y = noise(16, (4,))
    assert quick(1, max_iter="auto").fit(X, y).n_iter_ == default_iterations(table, CPU)
    # More for large images where it is cheap, and the same for what is small anywhere.
    assert default_iterations(large, CUDA) > default_iterations(large, CPU)
    assert default_iterations(small, CUDA) == default_iterations(small, CPU)


def test_time_alone_ends_a_run_whose_iterations_are_left_open():
    X, y = iris()
    condenser = quick(1, max_iter="auto", max_time=0.2).fit(X, y)
    assert condenser.params_["max_iter"] == UNLIMITED
    assert condenser.n_iter_ > 0
    assert quick(1, max_iter=3, max_time=60.0).fit(X, y).n_iter_ == 3


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        ((1, 28, 28), {}, 5),
        ((1, 28, 28), {"iterations_per_network": 3}, 3),
        ((1, 28, 28), {"iterations_per_draw": 2}, 2),
        ((1, 28, 28), {"preset": "paper"}, 1),
        ((1, 8, 8), {}, 1),
        ((4,), {}, 1),
    ],
)
def test_a_draw_serves_a_network_where_a_pass_is_dear(shape, settings, expected):
    params = quick(1, max_iter=0, **settings).fit(*noise(16, shape)).params_
    assert params["iterations_per_draw"] == expected


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        ((1, 28, 28), {}, 64),
        ((1, 28, 28), {"width": 100}, 100),
        ((1, 28, 28), {"network": "mlp"}, 128),
        ((1, 28, 28), {"network": "resnet10"}, None),
        ((1, 28, 28), {"network": "resnet10", "width": None}, None),
        ((1, 28, 28), {"network": MLP}, None),
        ((1, 28, 28), {"preset": "paper"}, 128),
        ((1, 28, 28), {"preset": "paper", "network": "resnet10"}, None),
        ((1, 8, 8), {}, 128),
        ((4,), {}, 128),
    ],
)
def test_networks_are_narrow_where_a_pass_is_dear(shape, settings, expected):
    assert quick(1, max_iter=0, **settings).fit(*noise(16, shape)).params_["width"] == expected


@pytest.mark.parametrize(
    ("ipc", "settings", "expected"),
    [
        (1, {}, 64),  # 4 decoded rows, 5 iterations, and a backward pass being two: 60
        (3, {}, 128),
        (10, {}, 256),
        (3, {"iterations_per_draw": 1}, 64),
        (3, {"iterations_per_network": 1}, 64),
        (3, {"factor": 1}, 64),
        (3, {"batch_real": 7}, 7),
        (10, {"preset": "paper"}, 128),
    ],
)
def test_real_rows_cost_about_what_the_stored_ones_do(ipc, settings, expected):
    params = quick(ipc, max_iter=0, **settings).fit(*noise(16, (28, 28))).params_
    assert params["batch_real"] == expected


def test_the_width_is_that_of_the_networks_that_match():
    widths = []

    def kernel(x, y):
        widths.append(x.shape[2])
        return x @ y.mT

    for width in (3, 5, None):
        quick(1, max_iter=1, kernel=kernel, network="mlp", width=width).fit(*noise(16, (8, 8)))
    assert sorted(set(widths)) == [3, 5, 128]


@pytest.mark.parametrize("network", ["resnet10", MLP])
def test_a_width_of_a_network_without_one_is_refused(network):
    with pytest.raises(ValueError, match=r"width is for .*'convnet', 'mlp'.*got width=5 with netw"):
        quick(network=network, width=5).fit(*noise(16, (16, 16)))


# The published settings


def test_the_papers_preset_is_the_published_loop():
    X, y = noise(16, (28, 28), classes=4)
    params = quick(3, preset="paper", max_iter="auto", max_time=1e-9).fit(X, y).params_
    published = {
        "preset": "paper",
        "network": "convnet",
        "width": 128,
        "kernel": "rbf",
        "bandwidth": "mean",
        "factor": 2,
        "augmentation": MATCHING,
        "init": "mix",
        "max_iter": 10_000,
        "iterations_per_network": 5,
        "iterations_per_draw": 1,
        "batch_real": 128,
        "optimizer": "sgd",
        "learning_rate": pytest.approx(3 * (1 - 0.5**4) / (1 - 0.5)),
        "momentum": 0.5**4,
        "schedule": "constant",
    }
    assert {name: params[name] for name in published} == published


def test_what_is_given_beside_the_papers_preset_stays():
    X, y = noise(16, (28, 28), classes=4)
    params = quick(1, preset="paper", factor=1, optimizer="adam").fit(X, y).params_
    assert (params["factor"], params["init"], params["max_iter"]) == (1, "real", 10)
    assert (params["optimizer"], params["learning_rate"]) == ("adam", 0.03)
    assert params["schedule"] == "cosine"
    assert params["batch_real"] == 128


def test_the_papers_preset_is_for_images():
    with pytest.raises(ValueError, match="preset='paper' is for images, and X is a table"):
        quick(preset="paper").fit(*iris())


# Starts


def classes_of(rows, X, y):
    """For each row the labels that X gives to rows equal to it."""
    return [set(y[(row == X).reshape(len(X), -1).all(1)]) for row in rows]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (5,)])
def test_real_rows_are_of_their_class_and_not_repeated(shape):
    X, y = noise(40, shape)
    X_c, y_c = start_of(X, y, ipc=15, init="real", factor=1)
    X_c = np.rint(X_c)  # tables come back in single precision
    assert classes_of(X_c, X, y) == [{label} for label in y_c]
    assert len(np.unique(X_c, axis=0)) == 30


def test_a_class_smaller_than_ipc_starts_with_all_its_rows_and_repeats():
    X, y = noise(11, (8, 8))
    y = np.array([0] * 2 + [1] * 9)
    X_c, y_c = start_of(X, y, ipc=5, init="real", factor=1)
    assert y_c.tolist() == [0] * 5 + [1] * 5
    rows, counts = np.unique(X_c[:5], axis=0, return_counts=True)
    assert len(rows) == 2
    assert sorted(counts) == [2, 3]
    assert len(np.unique(X_c[5:], axis=0)) == 5


@pytest.mark.parametrize("data", [iris, digits, colour])
def test_noise_fills_the_range_and_no_more(data):
    X, y = data()
    condensed = start_of(X, y, ipc=50, init="noise")
    X_c = condensed.X
    low, high = condensed.value_range
    assert (X_c >= low).all()
    assert (X_c <= high).all()
    spread = X_c.std(0) if X.ndim == 2 else X_c.std()
    real = X.std(0) if X.ndim == 2 else (high - low) / np.sqrt(12)  # uniform for images
    np.testing.assert_allclose(spread, real, rtol=0.25)
    assert not set(map(bytes, np.ascontiguousarray(X_c))) & set(map(bytes, X))


def in_units(condensed):
    return torch.from_numpy(condensed.units.to_units(condensed.rows()))


@pytest.mark.parametrize(("shape", "factor"), [((8, 8), 2), ((8, 8, 3), 2), ((9, 10), 3)])
def test_mosaics_are_laid_of_shrunk_images_of_the_class(shape, factor):
    X, y = noise(40, shape, np.float32)
    real = start_of(X, y, ipc=20, init="real", factor=1)  # all of them
    condensed = start_of(X, y, ipc=2, init="mix", factor=factor, network="mlp")
    side = [-(-s // factor) for s in shape[:2]]
    small = torch.nn.functional.interpolate(
        in_units(real), size=side, mode="bilinear", antialias=True
    )
    for mosaic, label in zip(in_units(condensed), condensed.y, strict=True):
        used = []
        for i in range(factor):
            for j in range(factor):
                top, left = i * side[0], j * side[1]
                cell = mosaic[:, top : top + side[0], left : left + side[1]]
                own = small[:, :, : cell.shape[1], : cell.shape[2]]
                distances = (own - cell).abs().amax((1, 2, 3))
                used.append(int(distances.argmin()))
                assert distances.min() < 1e-5
        assert set(real.y[used]) == {label}
        assert len(set(used)) == factor**2


SELECTORS = [Herding, KCenter, partial(Random, random_state=1)]


@pytest.mark.parametrize("make", SELECTORS)
def test_a_fitted_selector_is_a_start(make):
    X, y = noise(30, (8, 8, 3), classes=3)
    selector = make(ipc=4).fit(X, y)
    condensed = start_of(X, y, ipc=4, init=selector)
    np.testing.assert_array_equal(condensed.X, X[selector.sample_indices_])
    assert condensed.params["init"] == type(selector).__name__


def test_a_set_and_arrays_in_any_order_are_starts():
    X, y = noise(30, (8, 8))
    names = np.array(["b", "a"])[y]
    expected = Random(ipc=3, random_state=1).fit(X, names).condensed_
    np.testing.assert_array_equal(start_of(X, names, ipc=3, init=expected).X, expected.X)
    order = [5, 0, 3, 1, 4, 2]
    given = expected.X[order], expected.y[order]
    condensed = start_of(X, names, ipc=3, init=given)
    # Class by class, and within a class as they came.
    as_given = [order.index(i) for i in range(6)]
    rows = sorted(range(3), key=as_given.__getitem__) + sorted(
        range(3, 6), key=as_given.__getitem__
    )
    np.testing.assert_array_equal(condensed.X, expected.X[rows])
    assert condensed.y.tolist() == ["a"] * 3 + ["b"] * 3


def test_a_start_outside_the_range_of_X_is_brought_inside():
    X, y = iris()
    outside = np.array([[-100.0] * 4, [0.0] * 4, [100.0] * 4])
    condensed = start_of(X, y, ipc=1, init=(outside, [0, 1, 2]))
    np.testing.assert_allclose(condensed.X[0], X.min(0), rtol=1e-6)
    np.testing.assert_allclose(condensed.X[2], X.max(0), rtol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_a_selector_with_rows_for_every_cell_makes_the_mosaics(shape):
    X, y = noise(40, shape)
    selector = Herding(ipc=8).fit(X, y)
    condensed = start_of(X, y, ipc=2, factor=2, init=selector)
    mosaics = formation.mix(in_units(selector.condensed_), 2).numpy()
    expected = condensed.layout.from_rows(condensed.units.to_values(mosaics))
    np.testing.assert_array_equal(condensed.X, expected)
    assert condensed.factor == 2


# Going on


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (28, 28)])
def test_a_run_goes_on_from_where_another_ended(shape):
    X, y = noise(12, shape)
    first = quick(max_iter=2, network=NARROW).fit(X, y)
    again = quick(max_iter=0, init=first.condensed_).fit(X, y)
    np.testing.assert_array_equal(again.condensed_.X, first.condensed_.X)
    further = quick(max_iter=2, network=NARROW, init=first).fit(X, y)
    assert not np.array_equal(further.condensed_.X, first.condensed_.X)


def test_a_data_frame_goes_on_too():
    X, y = iris()
    frame, labels = pd.DataFrame(X, columns=list("abcd")), pd.Series(y, name="kind")
    first = quick().fit(frame, labels)
    again = quick(max_iter=0, init=first.condensed_).fit(frame, labels)
    pd.testing.assert_frame_equal(again.condensed_.X, first.condensed_.X, rtol=1e-6)
    pd.testing.assert_series_equal(again.condensed_.y, first.condensed_.y)


# The run


def test_without_iterations_the_start_comes_back():
    X, y = noise(20, (8, 8))
    condenser = quick(3, max_iter=0, init=Herding(ipc=3).fit(X, y)).fit(X, y)
    assert condenser.n_iter_ == 0
    assert condenser.loss_curve_.shape == (0,)


@pytest.mark.parametrize(("iterations", "looks"), [(1, 1), (10, 1), (11, 2), (25, 3)])
def test_the_loss_is_kept_every_10_iterations(iterations, looks):
    condenser = quick(max_iter=iterations).fit(*iris())
    assert condenser.n_iter_ == iterations
    assert condenser.loss_curve_.shape == (looks,)


def test_the_loss_is_that_of_m3d():
    # Twelve rows per class and a batch of more: the first loss is MMD² of start and data.
    X, y = digits(3, 12)
    start = start_of(X, y, network=NARROW, init="real")
    losses = []

    class Kept(MLP):
        """Tells the features that it gave."""

        def embed(self, x):
            features = super().embed(x)
            losses.append(features.detach().double())
            return features

    condenser = quick(max_iter=1, network=Kept, init=start, batch_real=50).fit(X, y)
    real, synthetic = losses[-2], losses[-1]
    assert (len(real), len(synthetic)) == (36, 6)
    expected = [
        rbf_mmd2(real[12 * c : 12 * c + 12], synthetic[2 * c : 2 * c + 2]) for c in range(3)
    ]
    assert condenser.loss_curve_[0] == pytest.approx(float(sum(expected)) / 3, rel=1e-4)


def test_the_time_budget_ends_a_run_of_any_length():
    X, y = iris()
    endless = quick(max_iter=10**9, max_time=0.2).fit(X, y)
    assert 0 < endless.n_iter_ < 10**9
    assert len(endless.loss_curve_) == -(-endless.n_iter_ // 10)
    none = quick(max_iter=10**9, max_time=1e-9).fit(X, y)
    assert none.n_iter_ == 0
    np.testing.assert_array_equal(none.condensed_.X, start_of(X, y).X)


def test_a_run_ends_where_the_loss_falls_no_more():
    X, y = iris()
    # No window of 20 can be below the first by 10⁹ times its loss.
    assert quick(max_iter=200, tol=1e9, n_iter_no_change=20).fit(X, y).n_iter_ == 40
    assert quick(max_iter=60, tol=None, n_iter_no_change=20).fit(X, y).n_iter_ == 60
    # From noise the loss falls in every early window.
    assert quick(max_iter=60, tol=0.0, n_iter_no_change=20, init="noise").fit(X, y).n_iter_ == 60


def test_per_class_budgets_give_ragged_sets():
    X, y = digits(3, 10)
    names = np.array(["x", "y", "z"])[y]
    ipc = {"z": 4, "x": 1, "y": 2}
    condenser = quick(ipc, network=NARROW).fit(X, names)
    assert condenser.condensed_.y.tolist() == ["x"] + ["y"] * 2 + ["z"] * 4
    assert condenser.condensed_.X.shape == (7, 8, 8)
    assert condenser.ipc_ == ipc
    mosaics = quick(ipc, network=NARROW, factor=2).fit(X, names).transform()
    assert mosaics[1].tolist() == ["x"] * 4 + ["y"] * 8 + ["z"] * 16


def test_unbalanced_classes_are_condensed_alike():
    X, y = iris()
    keep = np.r_[0:25, 25:28, 50:75]
    X, y = X[keep], y[keep]  # 25, 3 and 25 rows
    condensed = quick(5).fit(X, y).condensed_
    assert condensed.ipc == {0: 5, 1: 5, 2: 5}
    for c in range(3):
        made = condensed.X[5 * c : 5 * c + 5].mean(0)
        nearest = np.linalg.norm(made - [X[y == k].mean(0) for k in range(3)], axis=1).argmin()
        assert nearest == c


@pytest.mark.parametrize("data", [iris, digits, colour])
def test_classes_do_not_see_one_another(data):
    # The rows of a class follow from its own data, so that the order of classes is nothing.
    X, y = data()
    condensed = quick(init=Herding(ipc=2).fit(X, y), network=MLP, batch_real=1000).fit(X, y)
    flipped = 2 - y
    mirrored = quick(init=Herding(ipc=2).fit(X, flipped), network=MLP, batch_real=1000).fit(
        X, flipped
    )
    parts = [np.asarray(mirrored.condensed_.X)[2 * c : 2 * c + 2] for c in (2, 1, 0)]
    span = float(X.max() - X.min())
    np.testing.assert_allclose(
        np.concatenate(parts).astype(float),
        condensed.condensed_.X.astype(float),
        atol=max(1.0 if X.dtype == np.uint8 else 0, 0.02 * span),
    )


# Values


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integer_images_come_back_as_integers_in_their_range(dtype):
    X, y = noise(20, (8, 8, 3), np.int64)
    X = (X * (100 if dtype != "uint8" else 1) // 2 + 20).astype(dtype)
    condensed = quick(network=NARROW).fit(X, y).condensed_
    assert condensed.X.dtype == dtype
    assert condensed.X.min() >= X.min()
    assert condensed.X.max() <= X.max()
    as_floats = quick(network=NARROW).fit(X.astype(np.float64), y).condensed_.X
    np.testing.assert_array_equal(condensed.X, np.rint(as_floats))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("data", [iris, digits])
def test_fractions_keep_their_type_and_stay_in_the_range_of_X(data, dtype):
    X, y = data()
    X = (X / 3 - 1).astype(dtype)
    condensed = quick(learning_rate=20.0, network=MLP).fit(X, y).condensed_
    assert condensed.X.dtype == dtype
    axis = 0 if X.ndim == 2 else None
    assert (X.min(axis) <= condensed.X).all()
    assert (X.max(axis) >= condensed.X).all()
    assert (X.max(axis) == condensed.X).any()  # with such a rate something hits the bound


def test_tables_of_integers_come_back_as_fractions():
    X, y = iris()
    X = np.rint(X).astype(int)
    condensed = quick().fit(X, y).condensed_
    assert condensed.X.dtype == np.float64
    assert (np.rint(condensed.X) != condensed.X).any()


def test_constant_columns_stay_constant():
    X, y = iris()
    X[:, 1] = 7.0
    condensed = quick().fit(X, y).condensed_
    np.testing.assert_array_equal(condensed.X[:, 1], 7.0)
    assert np.isfinite(condensed.X).all()


# Kernels


@cache
def with_kernel(**settings):
    X, y = iris()
    return quick(**settings).fit(X, y).condensed_.X


KERNELS = [
    {"kernel": "rbf"},
    {"kernel": "laplace"},
    {"kernel": "linear"},
    {"kernel": "polynomial"},
    {"kernel": "rbf", "bandwidth": 0.5},
    {"kernel": "rbf", "bandwidth": (0.1, 1.0)},
    {"kernel": "laplace", "bandwidth": 0.5},
]


@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_each_kernel_gives_a_set_of_its_own(settings):
    rows = with_kernel(**settings)
    assert np.isfinite(rows).all()
    others = [with_kernel(**other) for other in KERNELS if other != settings]
    assert min(np.abs(rows - other).max() for other in others) > 1e-4


def test_a_callable_kernel_equals_the_named_one_that_it_computes():
    X, y = iris()
    # The callable sees features that are not centred: the same but for rounding.
    settings = {"optimizer": "sgd", "learning_rate": 0.5, "max_iter": 30}
    named = quick(kernel="linear", **settings).fit(X, y)
    called = quick(kernel=lambda x, z: x @ z.transpose(1, 2), **settings).fit(X, y)
    np.testing.assert_allclose(called.condensed_.X, named.condensed_.X, atol=1e-4)
    np.testing.assert_allclose(called.loss_curve_, named.loss_curve_, rtol=1e-2, atol=1e-5)
    start = start_of(X, y)
    assert np.abs(named.condensed_.X - start.X).max() > 0.1


def test_a_callable_gaussian_equals_rbf_of_that_bandwidth():
    def gaussian(x, z):
        return torch.exp(-torch.cdist(x, z).square() / 0.5)

    X, y = iris()
    settings = {"optimizer": "sgd", "learning_rate": 0.5, "init": "noise"}
    named = quick(kernel="rbf", bandwidth=0.5, **settings).fit(X, y).condensed_.X
    called = quick(kernel=gaussian, **settings).fit(X, y).condensed_.X
    np.testing.assert_allclose(called, named, atol=1e-3)


# Networks


class WithDropout(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(int(np.prod(input_shape)), 32), nn.ReLU(), nn.Dropout(0.5)
        )

    def forward(self, x):
        return self.layers(x)


def test_a_network_with_dropout_follows_the_seed_and_no_other_generator():
    X, y = iris()
    before = torch.get_rng_state()
    one, two = (quick(network=WithDropout).fit(X, y).condensed_.X for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["resnet10", "densenet121"])
def test_deeper_networks_condense_small_images(name):
    X, y = noise(6, (16, 16, 3))
    condensed = quick(1, network=name, max_iter=1).fit(X, y).condensed_
    assert condensed.X.shape == (2, 16, 16, 3)
    assert not np.array_equal(condensed.X, start_of(X, y, ipc=1, network=name).X)


def test_a_factory_of_a_plain_module_gives_features_by_its_output():
    X, y = iris()
    plain = quick(network=lambda: nn.Linear(4, 7)).fit(X, y)
    told = quick(network=lambda shape, n: nn.Linear(shape[0], 7)).fit(X, y)
    np.testing.assert_array_equal(plain.condensed_.X, told.condensed_.X)


# What it is for


def fresh_mmd2(condensed, X, y, network, seeds=range(900, 905)):
    """MMD² of the set to the data, mean over classes and networks that no run has seen."""
    X = np.asarray(X)
    rows = condensed.layout.to_rows(X)
    units = condensed.units
    real = torch.from_numpy((units.to_units(rows) - units.mean) / units.std).float()
    synthetic, labels = condensed.to_torch()
    shape = condensed.layout.canonical_shape
    total = []
    for seed in seeds:
        module = build(network or auto_network(shape), shape, 2, Stream(seed, CPU))
        with torch.no_grad():
            f, g = module.embed(real).double(), module.embed(synthetic).double()
        for place, name in enumerate(condensed.classes):
            mine = torch.from_numpy(np.asarray(y) == name)
            total.append(float(rbf_mmd2(f[mine], g[labels == place])))
    return np.mean(total)


@pytest.mark.parametrize(
    ("data", "network", "settings"),
    [
        (iris, None, {}),
        (iris, None, {"init": "noise"}),
        (digits, NARROW, {}),
        (digits, NARROW, {"factor": 2}),
        (digits, NARROW, {"augmentation": ["crop"]}),
        (colour, NARROW, {"init": "noise"}),
        (digits, NARROW, {"kernel": "linear"}),
        (iris, None, {"kernel": "laplace"}),
        (iris, None, {"optimizer": "sgd", "learning_rate": 0.5}),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_the_set_comes_nearer_to_the_data_on_networks_never_seen(data, network, settings):
    X, y = data()
    settings = {"network": network or "auto", "ipc": 3, "random_state": 0} | settings
    start = quick(**settings, max_iter=0).fit(X, y).condensed_
    end = quick(**settings, max_iter=60).fit(X, y).condensed_
    before, after = (fresh_mmd2(c, X, y, network) for c in (start, end))
    assert after < 0.9 * before


def test_one_row_a_class_under_the_linear_kernel_comes_to_the_mean():
    # With one feature map, linear in the row, the best single row is the class mean.
    X, y = iris()
    condensed = (
        quick(
            1,
            network=lambda: nn.Linear(4, 16),
            kernel="linear",
            max_iter=150,
            learning_rate=0.05,
        )
        .fit(X, y)
        .condensed_
    )
    means = np.stack([X[y == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(condensed.X, means, atol=0.02 * X.std())


def mean_accuracy(X_c, y_c, X_test, y_test):
    """Mean of a linear model, the nearest neighbour and an SVM."""
    flat = np.asarray(X_c, float).reshape(len(X_c), -1)
    test = np.asarray(X_test, float).reshape(len(X_test), -1)
    classifiers = [LogisticRegression(max_iter=1000), KNeighborsClassifier(1), SVC()]
    return np.mean([c.fit(flat, y_c).score(test, y_test) for c in classifiers])


@pytest.mark.parametrize("image_shape", [None, (8, 8)], ids=["table", "images"])
def test_one_made_digit_a_class_is_worth_far_more_than_a_random_one(image_shape):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, train_size=500, random_state=0, stratify=y)

    def nearest(condenser):
        X_c, y_c = condenser.fit(X, y).condensed_
        return KNeighborsClassifier(1).fit(X_c, y_c).score(X_test, y_test)

    settings = {"max_iter": 60, "batch_real": 32, "image_shape": image_shape}
    made = nearest(quick(1, network=NARROW if image_shape else "auto", **settings))
    random = np.mean([nearest(Random(ipc=1, random_state=seed)) for seed in range(10)])
    assert made > random + 0.15
    assert made > 0.75


def tinted(n_classes=4, per_class=30):
    """Digits in random colours: only the shape tells the class."""
    X, y = digits(n_classes, per_class)
    tint = np.random.default_rng(0).uniform(0.3, 1, (len(X), 1, 1, 3))
    return X[..., None] / 16 * tint, y


def small_digits():
    X, y = digits(5, 30)
    return X / 16, y


def flat_digits():
    X, y = small_digits()
    return X.reshape(len(X), -1), y


DATA = {"iris": iris, "flat digits": flat_digits, "digits": small_digits, "tinted": tinted}
SCALES = {"0 to 1": (1, 0), "0 to 255": (255, 0), "standardised": (3, -1.2)}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DATA)
def test_the_range_of_X_changes_the_range_of_the_set_and_nothing_else(name, scale):
    X, y = DATA[name]()
    factor, offset = SCALES[scale]
    settings = {"max_iter": 5, "network": "auto" if X.ndim == 2 else NARROW}
    plain = quick(**settings).fit(X, y).condensed_.X
    scaled = quick(**settings).fit(factor * X + offset, y).condensed_.X
    np.testing.assert_allclose((scaled - offset) / factor, plain, atol=0.02 * X.max())


@pytest.mark.parametrize("ipc", [1, 5])
@pytest.mark.parametrize("name", DATA)
def test_defaults_are_safe(name, ipc):
    """No worse than random rows, whatever the data; each seed with another range of X."""
    X, y = DATA[name]()
    gains, seeds = [], 6 if ipc == 1 else 3
    for seed in range(seeds):
        factor, offset = list(SCALES.values())[seed % 3]
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, train_size=0.6, random_state=seed, stratify=y
        )
        scores = []
        for condenser in (
            M3DCondenser(ipc, max_iter=30, batch_real=16, device="cpu", random_state=seed),
            Random(ipc, random_state=seed),
        ):
            X_c, y_c = condenser.fit(factor * X_train + offset, y_train).condensed_
            scores.append(mean_accuracy((X_c - offset) / factor, y_c, X_test, y_test))
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > -2 * np.std(gains, ddof=1) / np.sqrt(seeds), gains


# MNIST


@cache
def mnist():
    folder = Path(os.environ.get("M3D_DATA") or Path(__file__).parents[2] / "../shared/data")
    if not (folder / "mnist_train.npz").exists():
        pytest.skip(f"MNIST is not at {folder}; set M3D_DATA to the folder that holds it")
    with np.load(folder / "mnist_train.npz") as train, np.load(folder / "mnist_test.npz") as test:
        keep = np.random.default_rng(0).permutation(60_000)[:600]
        held = np.random.default_rng(1).permutation(10_000)[:500]
        return train["X"][keep], train["y"][keep], test["X"][held], test["y"][held]


def test_a_short_run_on_mnist_beats_random_rows_and_its_own_start():
    X, y, X_test, y_test = mnist()

    def score(condenser):
        """Accuracy of the nearest of the rows to train on."""
        X_c, y_c = condenser.fit(X, y).transform()
        nearest = KNeighborsClassifier(1).fit(X_c.reshape(len(X_c), -1), y_c)
        return nearest.score(X_test.reshape(len(X_test), -1), y_test)

    settings = {"network": NARROW, "batch_real": 32}
    made, start = quick(1, max_iter=30, **settings), quick(1, max_iter=0, **settings)
    end = score(made)
    assert made.condensed_.X.dtype == np.uint8
    assert made.params_["factor"] == 2
    assert end > score(start)
    assert end > np.mean([score(Random(ipc=1, random_state=seed)) for seed in range(5)]) + 0.1
