import numpy as np
import pytest

from m3d_sklearn.plotting import plot_ablation, plot_transfer

plt = pytest.importorskip("matplotlib.pyplot")


def row(method, model, accuracy, **others):
    known = {"dataset": "digits", "ipc": 10, "protocol": "m3d", "augmentation": "auto"}
    return known | {"method": method, "model": model, "accuracy": accuracy} | others


def texts(things):
    return [thing.get_text() for thing in things]


# Transfer

TRANSFER = [
    row("M3D", "convnet", 0.9),
    row("M3D", "convnet", 0.8, seed=1),
    row("M3D", "knn", 0.75, protocol=None, augmentation=None),
    row("Random", "convnet", 0.6),
    row("Random", "knn", None, protocol=None, augmentation=None),
    row("whole set", "convnet", 0.99, ipc=None),
]


def cells(ax):
    """Colours' values and the numbers written, (methods, models)."""
    (image,) = ax.images
    values = np.ma.filled(image.get_array(), np.nan)
    written = {(int(t.get_position()[1]), int(t.get_position()[0])): t for t in ax.texts}
    return values, written


def test_a_row_a_method_a_column_a_model():
    ax = plot_transfer(TRANSFER)
    values, written = cells(ax)
    np.testing.assert_allclose(values, [[85, 75], [60, np.nan], [99, np.nan]])
    assert texts(ax.get_yticklabels()) == ["M3D", "Random", "whole set"]
    assert texts(ax.get_xticklabels()) == ["convnet", "knn"]
    numbers = [[written[i, j].get_text() for j in range(2)] for i in range(3)]
    assert numbers == [["85.0", "75.0"], ["60.0", "–"], ["99.0", "–"]]
    assert ax.get_title() == "digits, ipc 10"


def test_numbers_are_white_on_the_darker_colours():
    _, written = cells(plot_transfer(TRANSFER))
    assert written[1, 0].get_color() == "w"
    assert written[2, 0].get_color() == "k"


def test_a_bar_tells_the_colours():
    ax = plot_transfer(TRANSFER)
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "accuracy (%)"


def test_the_whole_set_stands_beside_the_ipc_that_was_chosen():
    rows = [*TRANSFER, row("M3D", "convnet", 0.5, ipc=1)]
    with pytest.raises(ValueError, match=r"ipc must be one of \[10, 1\]"):
        plot_transfer(rows)
    ax = plot_transfer(rows, ipc=1)
    assert texts(ax.get_yticklabels()) == ["whole set", "M3D"]  # in the order of the rows
    np.testing.assert_allclose(cells(ax)[0], [[99], [50]])


def test_models_without_a_protocol_go_along_with_any():
    rows = [*TRANSFER, row("M3D", "convnet", 0.5, protocol="dc")]
    with pytest.raises(ValueError, match=r"protocol must be one of \['m3d', 'dc'\]"):
        plot_transfer(rows)
    np.testing.assert_allclose(cells(plot_transfer(rows, protocol="dc"))[0], [[75, 50]])


def test_several_data_sets_ask_for_a_choice():
    rows = [*TRANSFER, row("M3D", "knn", 0.5, dataset="iris")]
    with pytest.raises(ValueError, match=r"dataset must be one of \['digits', 'iris'\]"):
        plot_transfer(rows)
    assert cells(plot_transfer(rows, dataset="iris"))[0].tolist() == [[50]]


# Ablation

ABLATION = [
    row("rbf", "knn", 0.9),
    row("rbf", "knn", 0.8, seed=1),
    row("rbf", "knn", 0.7, ipc=1),
    row("linear", "knn", 0.6, ipc=1),
    row("linear", "knn", None),
    row("whole set", "knn", 0.99, ipc=None),
]


def bars(ax):
    """By label: middle and height of each bar."""
    return {
        group.get_label(): [(b.get_x() + b.get_width() / 2, b.get_height()) for b in group.patches]
        for group in ax.containers
        if hasattr(group, "patches")
    }


def test_bars_are_grouped_by_ipc():
    ax = plot_ablation(ABLATION)
    drawn = bars(ax)
    assert list(drawn) == ["rbf", "linear"]
    np.testing.assert_allclose([height for _, height in drawn["rbf"]], [70, 85])
    np.testing.assert_allclose([height for _, height in drawn["linear"]], [60])
    (first, _), (second, _) = drawn["rbf"]
    assert second - first == pytest.approx(1)
    assert first < 0 < drawn["linear"][0][0]
    assert texts(ax.get_xticklabels()) == ["ipc 1", "ipc 10"]
    assert texts(ax.get_legend().get_texts()) == ["rbf", "linear"]
    assert ax.get_ylabel() == "accuracy (%)"
    assert ax.get_title() == "digits, knn"


def test_whiskers_are_deviations_over_seeds():
    ax = plot_ablation(ABLATION)
    (rbf,) = [group for group in ax.containers if group.get_label() == "rbf"]
    (whiskers,) = rbf.errorbar.lines[2]
    deviation = np.std([90, 80], ddof=1)
    ends = [segment[:, 1] for segment in whiskers.get_segments()]
    np.testing.assert_allclose(ends, [[70, 70], [85 - deviation, 85 + deviation]])


def test_all_bars_and_whiskers_are_within_the_axis():
    low, high = plot_ablation(ABLATION).get_ylim()
    assert 0 <= low < 60
    assert 85 + np.std([90, 80], ddof=1) < high <= 100


def test_equal_bars_have_an_axis_too():
    low, high = plot_ablation([row("a", "knn", 0.999), row("b", "knn", 0.999)]).get_ylim()
    assert low < 99.9 < high <= 100


def test_bars_differ_in_colour_and_hatching():
    ax = plot_ablation([row(name, "knn", 0.5) for name in "abcdefgh"])
    patches = [group.patches[0] for group in ax.containers if hasattr(group, "patches")]
    assert len({(p.get_facecolor(), p.get_hatch()) for p in patches}) == 8
    assert len({p.get_hatch() for p in patches[:4]}) == 4


def test_another_column_can_be_the_bars():
    rows = [row("M3D", "knn", 0.8, factor=1), row("M3D", "knn", 0.9, factor=2)]
    ax = plot_ablation(rows, by="factor")
    assert texts(ax.get_legend().get_texts()) == ["1", "2"]
    assert ax.get_legend().get_title().get_text() == "factor"
    with pytest.raises(ValueError, match=r"one method.*\['M3D', 'Random'\]"):
        plot_ablation([*rows, row("Random", "knn", 0.5, factor=1)], by="factor")


@pytest.mark.parametrize("column", ["dataset", "model", "protocol"])
def test_an_ablation_of_several_asks_for_a_choice(column):
    rows = [*ABLATION, row("rbf", "knn", 0.5) | {column: "other"}]
    with pytest.raises(ValueError, match=rf"{column} must be one of .*'other'\]"):
        plot_ablation(rows)
    assert [height for _, height in bars(plot_ablation(rows, **{column: "other"}))["rbf"]] == [50]


def test_rows_that_make_no_bar():
    with pytest.raises(ValueError, match="column 'factor'"):
        plot_ablation(ABLATION, by="factor")
    with pytest.raises(ValueError, match="ipc and a value of 'method'"):
        plot_ablation(ABLATION[-1:])
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "draw", [lambda ax: plot_transfer(TRANSFER, ax), lambda ax: plot_ablation(ABLATION, ax)]
)
def test_draws_into_the_axes_given_or_makes_a_figure(draw, tmp_path):
    ax = draw(None)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 2000
    plt.close("all")
    _, given = plt.subplots()
    assert draw(given) is given
    assert len(plt.get_fignums()) == 1
