import sys
import warnings

import numpy as np
import pytest
from common import colour, digits, iris

from m3d_sklearn import Herding, M3DCondenser, Random
from m3d_sklearn.plotting import (
    plot_ablation,
    plot_condensed,
    plot_embedding,
    plot_ipc,
    plot_steps,
    plot_transfer,
    to_bytes,
)

plt = pytest.importorskip("matplotlib.pyplot")


def sheet(ax):
    """The picture that an axes shows."""
    (image,) = ax.images
    return np.asarray(image.get_array())


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# Bytes


@pytest.mark.parametrize("axis", [1, 3])
def test_colour_images_of_bytes_are_shown_as_they_are(axis):
    X, y = colour()
    X = X // 2 + 3
    X.flat[:2] = 0, 255
    given = X if axis == 3 else np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    selector = Random(ipc=2, random_state=0).fit(given, y)
    np.testing.assert_array_equal(to_bytes(selector.condensed_), X[selector.sample_indices_])


def test_the_range_of_X_becomes_black_to_white():
    X, y = digits()  # 0 to 16
    selector = Herding(ipc=2).fit(X, y)
    expected = np.rint(X[selector.sample_indices_] / 16 * 255)
    np.testing.assert_array_equal(to_bytes(selector.condensed_), expected)
    moved = Herding(ipc=2).fit(X - 40, y)
    np.testing.assert_array_equal(to_bytes(moved.condensed_), expected)


def test_decoded_bytes_are_those_of_the_decoded_rows():
    X, y = colour()
    condensed = M3DCondenser(ipc=1, factor=2, max_iter=0, random_state=0).fit(X, y).condensed_
    rows = condensed.decode()[0].astype(float)
    low, high = condensed.value_range
    expected = np.rint((rows - low) / (high - low) * 255)
    np.testing.assert_array_equal(to_bytes(condensed, decoded=True), expected)


def test_constant_images_can_be_shown():
    X = np.full((4, 3, 3), 7.0)
    assert to_bytes(Random(ipc=1).fit(X, [0, 1, 0, 1]).condensed_).max() == 0


def test_tables_and_odd_channels_are_no_pictures():
    X, y = iris()
    with pytest.raises(ValueError, match=r"table of rows \(4,\).*image_shape"):
        to_bytes(Herding(ipc=1).fit(X, y).condensed_)
    X, y = colour()
    with pytest.raises(ValueError, match="1, 3 or 4 channels; got 2"):
        to_bytes(Herding(ipc=1).fit(X[..., :2], y).condensed_)


# Contact sheets


def test_draws_into_the_axes_given_and_gives_them_back():
    condensed = Herding(ipc=2).fit(*digits()).condensed_
    _, axes = plt.subplots(1, 2)
    assert condensed.plot(axes[1]) is axes[1]
    assert condensed.plot(ax=axes[0]) is axes[0]
    assert len(plt.get_fignums()) == 1


def test_without_axes_it_makes_a_figure():
    ax = Herding(ipc=2).fit(*digits()).condensed_.plot()
    assert plt.get_fignums() == [ax.figure.number]


def test_a_contact_sheet_has_a_class_a_row_and_a_gap_of_one_pixel():
    X, y = digits()
    condensed = Herding(ipc=4).fit(X, y).condensed_
    shown = sheet(condensed.plot())
    assert shown.shape == (3 * 8 + 2, 4 * 8 + 3)
    images = to_bytes(condensed).reshape(3, 4, 8, 8)
    for row in range(3):
        for column in range(4):
            cell = shown[row * 9 : row * 9 + 8, column * 9 : column * 9 + 8]
            np.testing.assert_array_equal(cell, images[row, column])
    assert (shown[[8, 17]] == 255).all()
    assert (shown[:, [8, 17, 26]] == 255).all()


def test_ragged_sets_leave_white_at_the_end_of_short_rows():
    X, y = colour()
    condensed = Random(ipc={0: 3, 1: 1, 2: 2}, random_state=0).fit(X, y).condensed_
    shown = sheet(condensed.plot())
    assert shown.shape == (3 * 8 + 2, 3 * 6 + 2, 3)
    np.testing.assert_array_equal(shown[9:17, :6], to_bytes(condensed)[3])
    assert (shown[9:17, 6:] == 255).all()
    assert (shown[18:, 13:] == 255).all()


def test_mosaics_are_drawn_whole_or_decoded():
    condensed = M3DCondenser(ipc=2, factor=2, max_iter=0).fit(*digits()).condensed_
    assert sheet(condensed.plot()).shape == (3 * 8 + 2, 2 * 8 + 1)
    decoded = sheet(condensed.plot(decoded=True))
    assert decoded.shape == (3 * 8 + 2, 8 * 8 + 7)
    np.testing.assert_array_equal(decoded[:8, :8], to_bytes(condensed, decoded=True)[0])


def test_rows_are_named_after_their_classes_in_the_middle():
    X, y = digits()
    names = np.array(["nought", "one", "two"])
    ax = Herding(ipc=1).fit(X, names[y]).condensed_.plot()
    assert labels(ax.yaxis) == names.tolist()
    assert ax.get_yticks().tolist() == [4, 13, 22]


BREEDS = np.array(["English springer", "German short-haired pointer", "Rhodesian ridgeback"])


def drawn_whole(ax):
    """Whether the figure holds all labels, and its layout did not give up."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()
    found = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    boxes = [label.get_window_extent() for label in found if label.get_text()]
    return all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)


@pytest.mark.parametrize("ipc", [1, 2, 5])
@pytest.mark.parametrize("side", [8, 32])
def test_long_names_have_room_beside_the_images(ipc, side):
    X = np.random.default_rng(0).random((30, side, side))
    widths = []
    for names in (BREEDS, np.array(["a", "b", "c"])):
        ax = Random(ipc, random_state=0).fit(X, names[np.arange(30) % 3]).condensed_.plot()
        assert drawn_whole(ax)
        widths.append(ax.get_window_extent().width)
    assert widths[0] == pytest.approx(widths[1], rel=0.02)


def test_long_names_have_room_beside_a_table():
    pd = pytest.importorskip("pandas")
    X, y = iris()
    frame = pd.DataFrame(
        X[:, :2], columns=["length of the sepals in cm", "width of the sepals in cm"]
    )
    ax = Herding(1).fit(frame, BREEDS[y]).condensed_.plot()
    assert drawn_whole(ax)
    assert ax.get_window_extent().width > 150
    assert ax.get_window_extent().height > 150


def test_grey_is_grey_and_not_stretched_again():
    X, y = digits()
    ax = Herding(ipc=1).fit(X, y).condensed_.plot()
    (image,) = ax.images
    assert image.get_cmap().name == "gray"
    assert image.get_clim() == (0, 255)


# Tables


def test_a_table_is_a_heat_map_in_standard_deviations():
    X, y = iris()
    selector = Herding(ipc=2).fit(X, y)
    ax = selector.condensed_.plot()
    expected = ((X - X.mean(0)) / X.std(0))[selector.sample_indices_]
    np.testing.assert_allclose(sheet(ax), expected, rtol=1e-5, atol=1e-6)
    (image,) = ax.images
    low, high = image.get_clim()
    assert low == -high
    assert high >= np.abs(expected).max() - 1e-6
    assert labels(ax.yaxis) == ["0", "1", "2"]
    assert ax.get_yticks().tolist() == [0.5, 2.5, 4.5]


def test_a_table_draws_into_the_axes_given():
    _, ax = plt.subplots()
    assert Herding(ipc=2).fit(*iris()).condensed_.plot(ax) is ax


def test_columns_of_a_data_frame_are_named():
    pd = pytest.importorskip("pandas")
    X, y = iris()
    frame = pd.DataFrame(X, columns=["w", "x", "y", "z"])
    ax = Herding(ipc=1).fit(frame, y).condensed_.plot()
    assert labels(ax.xaxis) == ["w", "x", "y", "z"]


def test_a_picture_can_be_saved(tmp_path):
    for data in (digits(), iris()):
        ax = Herding(ipc=2).fit(*data).condensed_.plot()
        ax.figure.savefig(tmp_path / "out.png")
        assert (tmp_path / "out.png").stat().st_size > 500


def test_a_heat_map_has_sharp_cells_and_whole_columns():
    X, y = np.random.default_rng(0).random((40, 60)), np.arange(40) % 2
    ax = Random(ipc=3, random_state=0).fit(X, y).condensed_.plot()
    assert ax.images[0].get_interpolation() == "nearest"
    assert all(tick == int(tick) for tick in ax.get_xticks())
    narrow = Random(ipc=1, random_state=0).fit(X[:, :2], y).condensed_.plot()
    assert all(tick == int(tick) for tick in narrow.get_xticks())


# What is refused


def test_what_is_no_set_is_named():
    X, y = iris()
    fitted = Herding(ipc=2).fit(X, y)
    with pytest.raises(TypeError, match="condensed must be a CondensedSet; got tuple"):
        plot_condensed((X, y))
    with pytest.raises(TypeError, match="got Herding; give its condensed_"):
        plot_condensed(fitted)
    with pytest.raises(TypeError, match="condensed must be a CondensedSet; got tuple"):
        to_bytes((X, y))
    with pytest.raises(TypeError, match=r"sets\['a'\] must be a CondensedSet; got tuple"):
        plot_embedding(X, y, {"a": (X, y)})
    with pytest.raises(TypeError, match="sets must be a dict of label to CondensedSet; got"):
        plot_embedding(X, y, fitted.condensed_)


@pytest.mark.parametrize(
    "draw", [plot_condensed, plot_ipc, plot_steps, plot_ablation, plot_transfer]
)
def test_matplotlib_is_asked_for_by_name(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = rf"{draw.__name__} needs matplotlib: pip install matplotlib$"
    with pytest.raises(ImportError, match=said):
        draw([])
    with pytest.raises(ImportError, match="plot_embedding needs matplotlib"):
        plot_embedding([], [], {})
