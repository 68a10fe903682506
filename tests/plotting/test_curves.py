import numpy as np
import pytest

from m3d_sklearn.plotting import plot_ipc, plot_steps

plt = pytest.importorskip("matplotlib.pyplot")


def run(*accuracies, std=0.0, pace=0.5):
    """A curve with points at iterations 1, 11, 21 and so on."""
    return [
        {"iteration": 10 * i + 1, "seconds": pace * i, "accuracy": accuracy, "std": std}
        for i, accuracy in enumerate(accuracies)
    ]


def row(method, ipc, accuracy, **others):
    known = {"dataset": "digits", "model": "convnet", "protocol": "m3d", "augmentation": "auto"}
    return known | {"method": method, "ipc": ipc, "accuracy": accuracy} | others


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def looks(line):
    return line.get_color(), line.get_marker(), line.get_linestyle()


# Steps


def test_a_run_is_a_line_in_percent():
    ax = plot_steps({"M3D": run(0.5, 0.75, 0.8)})
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xydata(), [[1, 50], [11, 75], [21, 80]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training iterations", "accuracy (%)")
    assert ax.get_legend() is None
    assert len(ax.collections) == 0  # no deviation, no band


def test_against_seconds():
    ax = plot_steps({"M3D": run(0.5, 0.75, pace=2.0)}, against="seconds")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 50], [2, 75]])
    assert "seconds" in ax.get_xlabel()


def band(ax):
    """Lower and upper edge of the band, by place along x."""
    (collection,) = ax.collections
    corners = collection.get_paths()[0].vertices
    edges = {x: corners[corners[:, 0] == x, 1] for x in np.unique(corners[:, 0])}
    return {x: (y.min(), y.max()) for x, y in edges.items()}


def test_runs_are_averaged_with_a_band_of_their_deviation():
    ax = plot_steps({"M3D": [run(0.5, 0.7, std=0.3), run(0.7, 0.7, 0.9, std=0.3)]})
    # The third point, which one run has alone, is left out.
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 60], [11, 70]])
    deviation = np.std([50, 70], ddof=1)
    edges = band(ax)
    np.testing.assert_allclose(edges[1], (60 - deviation, 60 + deviation))
    np.testing.assert_allclose(edges[11], (70, 70))


def test_seconds_are_averaged_over_runs():
    runs = [run(0.5, 0.7, pace=1.0), run(0.5, 0.7, pace=3.0)]
    ax = plot_steps({"M3D": runs}, against="seconds")
    assert ax.lines[0].get_xdata().tolist() == [0, 2]


def test_one_run_has_the_band_of_its_networks():
    np.testing.assert_allclose(band(plot_steps({"M3D": run(0.5, std=0.02)}))[1], (48, 52))


def test_methods_differ_in_colour_marker_and_dashes():
    names = [f"method {i}" for i in range(10)]
    ax = plot_steps({name: run(0.5, 0.6) for name in names})
    assert texts(ax.get_legend()) == names
    assert len({looks(line) for line in ax.lines}) == 10
    first = [looks(line) for line in ax.lines[:4]]
    assert all(len(set(kind)) == 4 for kind in zip(*first, strict=True))


@pytest.mark.parametrize(
    ("curves", "settings", "words"),
    [
        ({"a": run(0.5)}, {"against": "epochs"}, r"against must be one of.*got 'epochs'"),
        ({}, {}, "curves must hold a curve"),
        ({"a": []}, {}, r"curves\['a'\] must have a point"),
        ({"a": run(0.5), "b": [run(0.5), []]}, {}, r"curves\['b'\].*\[\[1\], \[\]\]"),
    ],
)
def test_curves_that_cannot_be_drawn(curves, settings, words):
    with pytest.raises(ValueError, match=words):
        plot_steps(curves, **settings)
    assert plt.get_fignums() == []


# ipc

ROWS = [
    row("M3D", 10, 0.9, seed=0),
    row("M3D", 10, 0.8, seed=1),
    row("M3D", 1, 0.6, seed=0),
    row("M3D", 50, None, seed=0, error="out of memory"),
    row("Random", 1, 0.5, seed=0),
    row("whole set", None, 0.97, seed=0),
]


def errorbars(ax):
    """By label: points, and the ends of their bars."""
    drawn = {}
    for bars in ax.containers:
        line, _, (whiskers,) = bars.lines
        ends = [segment[:, 1] for segment in whiskers.get_segments()]
        drawn[bars.get_label()] = line.get_xydata(), ends
    return drawn


def test_a_method_is_a_line_of_means_with_bars_over_seeds():
    ax = plot_ipc(ROWS)
    drawn = errorbars(ax)
    assert list(drawn) == ["M3D", "Random"]
    points, bars = drawn["M3D"]
    np.testing.assert_allclose(points, [[1, 60], [10, 85]], rtol=0.02)  # nudged a little
    np.testing.assert_allclose(points[:, 1], [60, 85])
    deviation = np.std([80, 90], ddof=1)
    np.testing.assert_allclose(bars, [[60, 60], [85 - deviation, 85 + deviation]])


def test_methods_stand_side_by_side():
    drawn = errorbars(plot_ipc(ROWS))
    assert drawn["M3D"][0][0, 0] < 1 < drawn["Random"][0][0, 0]
    lone = errorbars(plot_ipc(ROWS[:4]))["M3D"][0]
    assert lone[:, 0].tolist() == [1, 10]


def test_the_whole_set_is_a_dashed_line_and_comes_last():
    ax = plot_ipc(ROWS)
    (line,) = [line for line in ax.lines if line.get_label() == "whole set"]
    assert line.get_linestyle() == "--"
    np.testing.assert_allclose(line.get_ydata(), [97, 97])
    assert texts(ax.get_legend()) == ["M3D", "Random", "whole set"]


def test_ipcs_are_the_ticks_of_a_log_axis():
    ax = plot_ipc(ROWS)
    assert ax.get_xscale() == "log"
    assert ax.get_xticks().tolist() == [1, 10]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "10"]
    assert len(ax.get_xticks(minor=True)) == 0
    assert ax.get_ylabel() == "accuracy (%)"
    assert ax.get_title() == "digits, convnet"


def test_a_data_frame_draws_the_same():
    pd = pytest.importorskip("pandas")
    drawn = errorbars(plot_ipc(pd.DataFrame(ROWS)))
    for label, (points, bars) in errorbars(plot_ipc(ROWS)).items():
        np.testing.assert_array_equal(drawn[label][0], points)
        np.testing.assert_array_equal(drawn[label][1], bars)


@pytest.mark.parametrize("column", ["dataset", "model", "protocol"])
def test_several_values_ask_for_a_choice(column):
    given = ROWS[0][column]
    rows = [*ROWS, row("M3D", 1, 0.1, **{column: "other"})]
    with pytest.raises(ValueError, match=rf"{column} must be one of \['{given}', 'other'\]"):
        plot_ipc(rows)
    assert plt.get_fignums() == []
    points, _ = errorbars(plot_ipc(rows, **{column: "other"}))["M3D"]
    assert points.tolist() == [[1, 10]]
    points, _ = errorbars(plot_ipc(rows, **{column: given}))["M3D"]
    np.testing.assert_allclose(points[:, 1], [60, 85])


def test_no_mean_over_augmentations():
    with pytest.raises(ValueError, match=r"one augmentation.*\['auto', 'none'\]"):
        plot_ipc([*ROWS, row("M3D", 1, 0.1, augmentation="none")])


def test_the_whole_set_alone_is_no_line():
    with pytest.raises(ValueError, match="whole set alone"):
        plot_ipc(ROWS[-1:])


# Axes


@pytest.mark.parametrize(
    "draw", [lambda ax: plot_steps({"a": run(0.5)}, ax), lambda ax: plot_ipc(ROWS, ax)]
)
def test_draws_into_the_axes_given_or_makes_a_figure(draw, tmp_path):
    ax = draw(None)
    assert plt.get_fignums() == [ax.figure.number]
    assert ax.figure.get_layout_engine() is not None
    ax.figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 2000
    plt.close("all")
    _, given = plt.subplots()
    assert draw(given) is given
    assert len(plt.get_fignums()) == 1
