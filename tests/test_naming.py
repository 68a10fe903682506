import pandas as pd
import pytest

from m3d_sklearn.naming import check_columns, check_numbers, few


def test_few_names_are_shown_and_the_rest_counted():
    assert few([]) == "[]"
    assert few(range(5)) == "[0, 1, 2, 3, 4]"
    assert few(range(7)) == "[0, 1, 2, 3, 4] and 2 more"


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, "ab"), ("ab", None), (None, None), (["a", "b"], ("a", "b"))]
)
def test_the_same_columns_and_missing_ones_pass(given, wanted):
    check_columns(given, wanted, "X", "y")


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        ("ba", "ab", "in their order, ['a', 'b'] from column 0 on; got ['b', 'a']."),
        ("abdc", "abcd", "in their order, ['c', 'd'] from column 2 on; got ['d', 'c']."),
        ("ab", "abc", "in their order, ['c'] from column 2 on; got []."),
        ([0, 1], ["a", "b"], "in their order, ['a', 'b'] from column 0 on; got [0, 1]."),
    ],
)
def test_others_are_shown_from_the_first_difference_on(given, wanted, said):
    with pytest.raises(ValueError, match="init must have the columns of X") as caught:
        check_columns(given, wanted, "init", "X")
    assert str(caught.value) == f"init must have the columns of X {said}"


# Columns without numbers

NUMBERS = pd.DataFrame({"real": [1.5, 2.5, 3.5], "whole": [1, 2, 3], "truth": [True, False, True]})
DAYS = pd.to_datetime(["2020-01-01"] * 3)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"a": pd.Categorical([1, 2, 1])},
        {"a": pd.Series(["1", 2.0, None], dtype=object)},
        {"a": pd.array([1, None, 2], dtype="Int64")},
        {"a": [1j, 2, 3]},  # which scikit-learn has its own words for
    ],
)
def test_numbers_in_any_dtype_pass(more):
    check_numbers(NUMBERS.assign(**more))
    check_numbers(NUMBERS.assign(**more).to_numpy())
    check_numbers([[1, "x"]])


def test_columns_without_numbers_are_named_with_their_dtype():
    frame = NUMBERS.assign(
        kind=pd.Categorical(list("121")), day=DAYS, note=pd.Series([1, "x", {}], dtype=object)
    )
    with pytest.raises(ValueError, match="X must hold real numbers") as caught:
        check_numbers(frame)
    assert str(caught.value) == (
        f"X must hold real numbers; got the columns 'kind' of category, 'day' of {DAYS.dtype}, "
        "'note' of object (could not convert string to float: 'x'). Encode such columns as numbers "
        "first, with OrdinalEncoder or OneHotEncoder say."
    )


def test_many_columns_and_long_texts_are_shortened():
    frame = pd.DataFrame({place: ["long " * 100] * 3 for place in range(8)})
    with pytest.raises(ValueError, match=r"columns 0 of .*, 4 of .* and 3 more\. Encode") as caught:
        check_numbers(frame)
    assert len(str(caught.value)) < 800
