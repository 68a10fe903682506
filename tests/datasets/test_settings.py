from pathlib import Path

import numpy as np
import pytest

from m3d_sklearn.datasets._settings import Settings


def settings(root=None, download=True, image_size=None, test_size=None, random_state=0):
    return Settings.checked(root, download, image_size, test_size, random_state)


def test_root_is_the_parameter_then_the_environment_then_the_home(monkeypatch, tmp_path):
    assert settings().root == tmp_path / "home" / "m3d_sklearn_data"
    monkeypatch.setenv("M3D_DATA", "~/elsewhere")
    assert settings().root == tmp_path / "home" / "elsewhere"
    assert settings("here").root == Path("here")
    monkeypatch.setenv("M3D_DATA", "")
    assert settings().root == tmp_path / "home" / "m3d_sklearn_data"


@pytest.mark.parametrize("size", [0, -1, 1.5, "64", True, (32, 32)])
def test_image_size_is_a_whole_number(size):
    with pytest.raises(ValueError, match="image_size must be a whole number of pixels"):
        settings(image_size=size)


@pytest.mark.parametrize("size", [0, 0.0, 1.0, 1.5, -0.2, -3, float("nan"), "0.2", True])
def test_test_size_is_a_part(size):
    with pytest.raises(ValueError, match="test_size must be a fraction between 0 and 1"):
        settings(test_size=size)


def test_numbers_of_numpy_are_numbers():
    given = settings(image_size=np.int64(8), test_size=np.float32(0.5))
    assert (given.image_size, given.test_size) == (8, 0.5)


def test_refuse_names_the_parameter_and_its_value():
    settings().refuse("test_size", "this")
    with pytest.raises(ValueError, match=r"test_size must be None for this; got test_size=0.3"):
        settings(test_size=0.3).refuse("test_size", "this")


def test_a_split_takes_each_class_in_proportion_and_every_row_once():
    y = np.repeat([0, 1, 2], [10, 20, 30])
    train, test = settings().split(y)
    assert sorted([*train, *test]) == list(range(60))
    assert np.bincount(y[test]).tolist() == [2, 4, 6]
    assert np.bincount(y[settings(test_size=0.5).split(y)[1]]).tolist() == [5, 10, 15]
    assert len(settings(test_size=30).split(y)[1]) == 30
    assert len(settings().split(y, default=0.1)[1]) == 6


def test_a_split_follows_its_seed():
    y = np.repeat([0, 1], 20)
    one, again, other = (settings(random_state=seed).split(y)[1].tolist() for seed in (0, 0, 1))
    assert one == again != other


def test_a_class_of_one_row_cannot_be_split():
    with pytest.raises(ValueError, match=r"test_size=0.2 cannot split 4 rows of 2 classes"):
        settings().split(np.array([0, 0, 0, 1]))
