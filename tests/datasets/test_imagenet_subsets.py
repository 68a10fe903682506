import re

import numpy as np
import pytest
from PIL import Image

from m3d_sklearn.datasets import load
from m3d_sklearn.datasets._imagenet_subsets import SUBSETS


def make(base, name, sizes=(("train", 2), ("val", 1)), side=6):
    """A folder of ImageNet's layout whose image i of class c has the colour (c, i, 0)."""
    for part, n in sizes:
        for label, wnid in enumerate(SUBSETS[name]):
            folder = base / part / wnid
            folder.mkdir(parents=True)
            for i in range(n):
                colour = np.array([label, i, 0], np.uint8)
                Image.fromarray(np.full((side, side, 3), colour)).save(folder / f"{i}.png")


@pytest.mark.parametrize("name", SUBSETS)
def test_lists_hold_distinct_classes(name):
    classes = SUBSETS[name]
    assert len(classes) == len(set(classes.values())) == (100 if name == "imagenet100" else 10)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in classes)


def test_one_id_has_one_name():
    named = [
        item for name, classes in SUBSETS.items() if "net1" not in name for item in classes.items()
    ]
    assert len({wnid for wnid, _ in named}) == len(set(named))


def test_imagenet10_is_the_beginning_of_imagenet100():
    assert list(SUBSETS["imagenet10"]) == list(SUBSETS["imagenet100"])[:10]


@pytest.mark.parametrize("folder", ["imagenet", "imagewoof", "imagewoof2", "imagewoof2-160"])
def test_only_the_subsets_classes_are_read_in_its_order(tmp_path, no_socket, folder):
    make(tmp_path / folder, "imagewoof")
    other = tmp_path / folder / "train" / "n00000001"
    other.mkdir()
    (other / "0.png").write_text("no image, and not of this subset")
    data = load("ImageWoof", root=tmp_path, image_size=6)
    # Sorted by id, dingo and the others would change places.
    assert list(SUBSETS["imagewoof"]) != sorted(SUBSETS["imagewoof"])
    assert data.y_train.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert data.y_test.tolist() == list(range(10))
    np.testing.assert_array_equal(data.X_train[:, 3, 3, 0], data.y_train)
    np.testing.assert_array_equal(data.X_train[:, 3, 3, 1], [0, 1] * 10)
    np.testing.assert_array_equal(data.X_test[:, 0, 0, 0], data.y_test)
    assert data.class_names[7] == "dingo"
    assert (data.name, data.source) == ("imagewoof", f"folder {folder}")


def test_images_are_128_pixels_by_default(tmp_path):
    make(tmp_path / "imagenet", "imagenet10", sizes=(("train", 1), ("val", 1)))
    data = load("imagenet10", root=tmp_path)
    assert data.X_train.shape == data.X_test.shape == (10, 128, 128, 3)
    assert data.class_names == tuple(SUBSETS["imagenet10"])


def test_the_whole_imagenet_comes_first_where_it_has_the_classes(tmp_path):
    make(tmp_path / "imagenette2", "imagenette")
    make(tmp_path / "imagenet", "imagewoof")
    assert load("imagenette", root=tmp_path, image_size=6).source == "folder imagenette2"
    make(tmp_path / "imagenet", "imagenette")
    assert load("imagenette", root=tmp_path, image_size=6).source == "folder imagenet"


def test_what_is_missing_is_named(tmp_path, no_socket):
    make(tmp_path / "imagefruit", "imagefruit")
    fig = tmp_path / "imagefruit" / "val" / "n07753113"
    for image in fig.iterdir():
        image.unlink()
    fig.rmdir()
    with pytest.raises(FileNotFoundError, match=r"imagefruit lacks val/n07753113\. They are not"):
        load("imagefruit", root=tmp_path)
    fig.mkdir()
    with pytest.raises(ValueError, match="n07753113 must hold images"):
        load("imagefruit", root=tmp_path)


def test_nothing_there(tmp_path, no_socket):
    with pytest.raises(FileNotFoundError) as e:
        load("imagenette", root=tmp_path)
    for word in (
        "imagenette needs",
        str(tmp_path / "imagenet"),
        "train/n01440764",
        "image-net.org",
    ):
        assert word in str(e.value)


def test_they_have_their_own_test_rows(tmp_path):
    with pytest.raises(ValueError, match="test_size must be None for imagemeow"):
        load("imagemeow", root=tmp_path, test_size=0.1)
