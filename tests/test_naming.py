import pytest

from m3d_sklearn.naming import check_columns, few


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
