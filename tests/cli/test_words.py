import argparse

import pytest

from m3d_sklearn import Herding, M3DCondenser
from m3d_sklearn.cli._words import as_flags, names, numbers, set_parameters, settings

WRONG = argparse.ArgumentTypeError


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b,", ["a", "b"]),
        ("none", []),
        ("none,a", ["none", "a"]),
        ("data/my photos", ["data/my photos"]),
    ],
)
def test_names(text, listed):
    assert names(text) == listed


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_no_names(text):
    with pytest.raises(WRONG, match="names separated by commas"):
        names(text)


def test_numbers():
    assert numbers("1") == [1]
    assert numbers("1, 10,-3") == [1, 10, -3]


@pytest.mark.parametrize("text", ["", "a", "1,", "1.5", "1;2"])
def test_no_numbers(text):
    with pytest.raises(WRONG, match=r"whole numbers separated by commas.*got"):
        numbers(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1.5e-3", -0.0015),
        ("rbf", "rbf"),
        ("'rbf'", "rbf"),
        ('"rbf"', "rbf"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ("[1.0, 2.0]", [1.0, 2.0]),
        ('["flip", ("crop", "scale")]', ["flip", ("crop", "scale")]),
        ("(2, 2)", (2, 2)),
        ("{0: 5}", {0: 5}),
        ("a=b", "a=b"),
        ("", ""),
        ("1e400x", "1e400x"),
        ("__import__('os')", "__import__('os')"),  # nothing is executed
    ],
)
def test_a_value_is_a_literal_or_a_word(text, value):
    name, found = settings(f"name={text}")
    assert (name, found, type(found)) == ("name", value, type(value))


@pytest.mark.parametrize("text", ["", "name", "=3"])
def test_no_setting(text):
    with pytest.raises(WRONG, match="NAME=VALUE"):
        settings(text)


@pytest.mark.parametrize("value", ["[" * 500, "((((" * 5000, "\0"])
def test_a_strange_value_is_a_word(value):
    assert settings(f"name={value}") == ("name", value)


def test_parameters_are_set():
    condenser = M3DCondenser()
    set_parameters(condenser, {"max_iter": 3, "kernel": "linear"}, "m3d")
    assert (condenser.max_iter, condenser.kernel) == (3, "linear")


@pytest.mark.parametrize("name", ["best", "memory__x", "Features"])
def test_an_unknown_parameter_is_named(name):
    with pytest.raises(ValueError, match=rf"--set must name parameters of herding.*got '{name}'"):
        set_parameters(Herding(), {"verbose": 1, name: 3}, "herding")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_size must be 3: image_size=3", "--image-size must be 3: --image-size=3"),
        ("a/image_size/b.png and my_image_sizes", "a/image_size/b.png and my_image_sizes"),
    ],
)
def test_the_librarys_words_as_flags(text, said):
    assert as_flags(text) == said
