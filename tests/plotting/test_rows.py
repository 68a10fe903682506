import math

import pytest

from m3d_sklearn.plotting._rows import (
    as_rows,
    choose,
    distinct,
    mean_and_std,
    need_one,
    title_of,
)

ROWS = [
    {"dataset": "digits", "ipc": 10, "accuracy": 0.9, "protocol": "m3d"},
    {"dataset": "mnist", "ipc": 1, "accuracy": None, "protocol": "m3d"},
    {"dataset": "iris", "ipc": None, "accuracy": 0.7, "protocol": None},
    {"dataset": "digits", "ipc": 10, "accuracy": 0.8, "protocol": "dc"},
]


def test_rows_without_an_accuracy_are_left_out():
    assert [row["dataset"] for row in as_rows(ROWS)] == ["digits", "iris", "digits"]


def test_a_data_frame_is_the_same_rows():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS)
    assert math.isnan(frame["ipc"][2])  # and 10.0 in the place of 10
    assert as_rows(frame) == as_rows(ROWS)
    assert all(isinstance(row["ipc"], int | None) for row in as_rows(frame))
    assert as_rows(frame.convert_dtypes()) == as_rows(ROWS)


def test_rows_given_stay_as_they_were():
    row = {"ipc": 10.0, "accuracy": 0.5}
    assert as_rows([row]) == [{"ipc": 10, "accuracy": 0.5}]
    assert isinstance(row["ipc"], float)


def test_missing_columns_and_accuracies_are_named():
    with pytest.raises(ValueError, match=r"column 'model'; got one with \['dataset'"):
        as_rows(ROWS, "dataset", "model")
    with pytest.raises(ValueError, match="accuracy; got 1 rows"):
        as_rows(ROWS[1:2])
    with pytest.raises(ValueError, match="accuracy; got 0 rows"):
        as_rows([])


def test_distinct_values_keep_their_order():
    assert distinct(ROWS, "dataset") == ["digits", "mnist", "iris"]
    assert distinct(ROWS, "ipc") == [10, 1]
    assert distinct(ROWS, "no such column") == []


def test_a_choice_is_needed_where_rows_differ():
    with pytest.raises(ValueError, match=r"dataset must be one of \['digits', 'mnist', 'iris'\]"):
        choose(ROWS, "dataset")
    with pytest.raises(ValueError, match=r"one of \['digits', 'mnist', 'iris'\].*got 'svhn'"):
        choose(ROWS, "dataset", "svhn")
    assert choose(ROWS, "dataset", "digits") == [ROWS[0], ROWS[3]]
    assert choose(ROWS[::3], "dataset") == ROWS[::3]
    assert choose(ROWS, "no such column") == ROWS


def test_rows_without_a_value_go_along_where_asked():
    assert choose(ROWS, "protocol", "dc") == [ROWS[3]]
    assert choose(ROWS, "protocol", "dc", open_too=True) == ROWS[2:]


def test_means_are_over_seeds_alone():
    need_one(ROWS[:2], "protocol")
    with pytest.raises(ValueError, match=r"one protocol.*\['m3d', 'dc'\]"):
        need_one(ROWS, "augmentation", "protocol")


def test_means_and_deviations_are_in_percent():
    assert mean_and_std(ROWS[:1]) == (90.0, 0.0)
    mean, std = mean_and_std(ROWS[::3])
    assert (mean, std) == (pytest.approx(85), pytest.approx(math.sqrt(50)))


def test_a_title_is_what_rows_have_in_common():
    assert title_of(ROWS[::3], "dataset", "ipc", "model") == "digits, ipc 10"
