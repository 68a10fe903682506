import dataclasses

import numpy as np
import pytest
import torch
from common import colour, digits, iris
from torch import nn

from m3d_sklearn import Herding, M3DCondenser, Random
from m3d_sklearn.plotting import plot_embedding

plt = pytest.importorskip("matplotlib.pyplot")


class Plain(nn.Module):
    """A network whose features are the rows it is given."""

    def forward(self, x):
        return x.flatten(1)


def rows_and_sets(**changes):
    """A table whose classes are stretched along its axes, and a set with rows of class 0."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) * [5, 2, 0.1]
    y = np.arange(60) % 2
    condensed = Random(ipc=5, random_state=0).fit(X, y).condensed_
    return X, y, dataclasses.replace(condensed, **changes)


def in_plane(X, rows):
    """What networks see of rows, and their places in the plane of the first two components."""
    Z, rows = ((values - X.mean(0)) / X.std(0) for values in (X[::2], rows))
    directions = np.linalg.svd(Z - Z.mean(0), full_matrices=False)[2][:2]
    return (rows - Z.mean(0)) @ directions.T


def clouds(ax):
    return [np.asarray(c.get_offsets()) for c in ax.collections]


def means(ax):
    return [line.get_xydata()[0] for line in ax.lines]


def covariance(ellipse):
    """Of a 2-standard-deviation ellipse."""
    turn = np.radians(ellipse.angle)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return axes @ np.diag([(ellipse.width / 4) ** 2, (ellipse.height / 4) ** 2]) @ axes.T


def ellipses(ax):
    return [covariance(patch) for patch in ax.patches]


def same_but_for_signs(drawn, expected):
    for column in range(2):
        a, b = drawn[:, column], expected[:, column]
        np.testing.assert_allclose(a * np.sign(a[0]), b * np.sign(b[0]), rtol=1e-4, atol=1e-5)


def test_rows_means_and_covariances_are_those_of_the_plane():
    X, y, condensed = rows_and_sets()
    ax = plot_embedding(X, y, {"Random": condensed}, network=lambda: Plain())
    chosen = np.asarray(condensed.X)[:5]
    for place, rows in enumerate((X[::2], chosen)):
        same_but_for_signs(clouds(ax)[place], in_plane(X, rows))
        np.testing.assert_allclose(means(ax)[place], clouds(ax)[place].mean(0), atol=1e-6)
        expected = np.cov(clouds(ax)[place].T, ddof=0)
        np.testing.assert_allclose(ellipses(ax)[place], expected, rtol=1e-6, atol=1e-8)


def test_the_first_class_is_drawn_unless_another_is_asked_for():
    X, y, condensed = rows_and_sets()
    names = np.array(["b", "a"])[y]
    condensed = Random(ipc=5, random_state=0).fit(X, names).condensed_
    ax = plot_embedding(X, names, {"Random": condensed})
    assert ax.get_title() == "class a"
    assert ax.get_legend().get_texts()[0].get_text() == "real rows (30)"
    assert plot_embedding(X, names, {"Random": condensed}, label="b").get_title() == "class b"


def test_a_set_that_matches_the_mean_alone_has_a_smaller_ellipse():
    X, y = digits(n_classes=2, per_class=60)
    settings = {"ipc": 10, "max_iter": 100, "init": "noise", "random_state": 0}
    sets = {
        "rbf": M3DCondenser(**settings).fit(X, y).condensed_,
        "linear": M3DCondenser(kernel="linear", **settings).fit(X, y).condensed_,
    }
    real, rbf, linear = ellipses(plot_embedding(X, y, sets))
    assert np.abs(rbf - real).sum() < 0.3 * np.abs(linear - real).sum()
    assert np.linalg.det(linear) < 0.5 * np.linalg.det(rbf)


def test_all_rows_have_the_units_of_the_first_set():
    X, y = colour()
    condensed = Herding(ipc=8).fit(X, y).condensed_  # all there are
    ax = plot_embedding(X, y, {"Herding": condensed})
    real, chosen = (cloud[np.lexsort(cloud.T)] for cloud in clouds(ax))
    np.testing.assert_allclose(chosen, real, rtol=1e-5, atol=1e-5)
    other = Herding(ipc=8).fit(X, (y + 1) % 3).condensed_
    moved = dataclasses.replace(
        other, units=dataclasses.replace(other.units, mean=other.units.mean + 5)
    )
    both = plot_embedding(X, y, {"Herding": condensed, "moved": moved}, label=0)
    np.testing.assert_array_equal(clouds(both)[0], clouds(ax)[0])
    assert np.abs(clouds(both)[2]).max() < 3 * np.abs(clouds(both)[0]).max()


def test_channels_first_and_flat_rows_are_the_same_picture():
    X, y = colour()
    flat, first = X.reshape(len(X), -1), np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    drawn = []
    for given, image_shape in ((X, None), (first, None), (flat, X.shape[1:])):
        condensed = Herding(ipc=2, image_shape=image_shape).fit(given, y).condensed_
        drawn.append(clouds(plot_embedding(given, y, {"Herding": condensed})))
    for others in drawn[1:]:
        for one, other in zip(drawn[0], others, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_mosaics_are_decoded():
    X, y = digits()
    condensed = M3DCondenser(ipc=1, factor=2, max_iter=0, random_state=0).fit(X, y).condensed_
    ax = plot_embedding(X, y, {"M3D": condensed})
    assert [len(cloud) for cloud in clouds(ax)] == [20, 4]
    assert ax.get_legend().get_texts()[1].get_text() == "M3D (4)"


def test_one_row_is_a_mean_without_spread():
    X, y = iris()
    ax = plot_embedding(X, y, {"Herding": Herding(ipc=1).fit(X, y).condensed_})
    np.testing.assert_allclose(ellipses(ax)[1], np.zeros((2, 2)), atol=1e-12)


def test_weights_are_a_function_of_the_seed_and_no_global_generator_moves():
    X, y = digits()
    sets = {"Herding": Herding(ipc=2).fit(X, y).condensed_}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (plot_embedding(X, y, sets, random_state=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    np.testing.assert_array_equal(clouds(one)[0], clouds(same)[0])
    assert not np.allclose(clouds(one)[0], clouds(other)[0])


def test_data_frames_and_tensors():
    pd = pytest.importorskip("pandas")
    X, y = iris()
    condensed = Herding(ipc=2).fit(X, y).condensed_
    expected = clouds(plot_embedding(X, y, {"Herding": condensed}))
    frame, series = pd.DataFrame(X, columns=list("abcd")), pd.Series(y)
    framed = Herding(ipc=2).fit(frame, series).condensed_
    for rows, labels, given in (
        (frame, series, framed),
        (torch.tensor(X), torch.tensor(y), condensed),
    ):
        drawn = clouds(plot_embedding(rows, labels, {"Herding": given}))
        np.testing.assert_allclose(drawn[1], expected[1], rtol=1e-6)


def test_columns_in_another_order_are_refused():
    pd = pytest.importorskip("pandas")
    X, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd"))
    turned = frame[list("dcba")]
    named, plain = Herding(ipc=2).fit(frame, y).condensed_, Herding(ipc=2).fit(X, y).condensed_
    said = r"sets\['named'\] must have the columns of {} in their order, \['d', 'c', 'b', 'a'\]"
    with pytest.raises(ValueError, match=said.format("X") + ".* got .'a', 'b', 'c', 'd'"):
        plot_embedding(turned, y, {"plain": plain, "named": named})
    other = Herding(ipc=2).fit(turned, y).condensed_
    with pytest.raises(ValueError, match=said.format("the other sets")):
        plot_embedding(X, y, {"plain": plain, "other": other, "named": named})
    assert plt.get_fignums() == []
    plot_embedding(frame, y, {"plain": plain, "named": named})
    plot_embedding(X, y, {"named": named})


def test_sets_look_different_and_are_named():
    X, y = iris()
    sets = {f"set {i}": Random(ipc=3, random_state=i).fit(X, y).condensed_ for i in range(3)}
    ax = plot_embedding(X, y, sets)
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == 4
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["real rows (25)", "set 0 (3)", "set 1 (3)", "set 2 (3)"]
    assert "first principal component (" in ax.get_xlabel()
    assert "% of variance)" in ax.get_ylabel()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sets": {}}, "sets must hold a condensed set"),
        ({"label": 7}, r"label must be a class of y and of every set, \[0, 1, 2\]; got 7"),
        ({"X": np.zeros((75, 3))}, r"rows of X's shape, \(3,\); got \{'Herding': \(4,\)\}"),
        ({"y": np.zeros(3)}, "as many rows; got 75 and 3"),
        ({"network": "lenet"}, "network must be"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_figure_is_made(change, words):
    X, y = iris()
    sets = {"Herding": Herding(ipc=2).fit(X, y).condensed_}
    with pytest.raises(ValueError, match=words):
        plot_embedding(**({"X": X, "y": y, "sets": sets} | change))
    assert plt.get_fignums() == []


def test_draws_into_the_axes_given_or_makes_a_figure(tmp_path):
    X, y = iris()
    sets = {"Herding": Herding(ipc=2).fit(X, y).condensed_}
    ax = plot_embedding(X, y, sets)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 2000
    plt.close("all")
    _, given = plt.subplots()
    assert plot_embedding(X, y, sets, given) is given
    assert len(plt.get_fignums()) == 1
