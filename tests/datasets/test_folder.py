import numpy as np
import pytest
from PIL import Image

from m3d_sklearn.datasets import load


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def put(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


def two_classes(folder, n=5, shape=(6, 8, 3), seed=0, suffix=".png"):
    """Images of cat and dog in PNG, which loses nothing; gives them in the order of reading."""
    return np.stack(
        [
            put(folder / name / f"{i}{suffix}", pixels([seed, label, i], *shape))
            for label, name in enumerate(("cat", "dog"))
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("other", ["test", "val"])
def test_train_and_test_folders(tmp_path, no_socket, other):
    root = tmp_path / "pets"
    X_train, X_test = two_classes(root / "train"), two_classes(root / other, n=2, seed=1)
    data = load(root)
    np.testing.assert_array_equal(data.X_train, X_train)
    np.testing.assert_array_equal(data.X_test, X_test)
    assert data.X_train.dtype == np.uint8
    assert data.y_train.tolist() == [0] * 5 + [1] * 5
    assert data.y_test.tolist() == [0, 0, 1, 1]
    assert data.y_train.dtype == np.int64
    assert (data.name, data.class_names, data.source) == ("pets", ("cat", "dog"), "folder")


def test_test_comes_before_val(tmp_path):
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "val", seed=2)
    X_test = two_classes(tmp_path / "test", seed=1)
    np.testing.assert_array_equal(load(tmp_path).X_test, X_test)


def test_classes_alone_are_split(tmp_path):
    X = two_classes(tmp_path, n=10)
    data = load(tmp_path)
    assert np.bincount(data.y_test).tolist() == [2, 2]
    labels = {image.tobytes(): i // 10 for i, image in enumerate(X)}
    for image, label in [
        *zip(data.X_train, data.y_train, strict=True),
        *zip(data.X_test, data.y_test, strict=True),
    ]:
        assert labels.pop(image.tobytes()) == label
    assert labels == {}
    assert load(tmp_path).fingerprint == data.fingerprint
    assert load(tmp_path, random_state=1).fingerprint != data.fingerprint
    assert len(load(tmp_path, test_size=0.5).X_test) == 10
    assert len(load(str(tmp_path), test_size=4).X_test) == 4


def test_grey_where_every_file_is_grey(tmp_path):
    X = two_classes(tmp_path / "train", shape=(6, 6))
    two_classes(tmp_path / "test", shape=(6, 6))
    np.testing.assert_array_equal(load(tmp_path).X_train, X)
    # One image in colour, though it is a test image, and all have three channels.
    put(tmp_path / "test" / "cat" / "0.png", pixels(9, 6, 6, 3))
    data = load(tmp_path)
    assert data.X_train.shape == (10, 6, 6, 3)
    np.testing.assert_array_equal(data.X_train, X[..., None].repeat(3, axis=-1))


def test_black_and_white_is_grey(tmp_path):
    for name in ("cat", "dog"):
        for i in range(5):
            put(tmp_path / name / f"{i}.png", np.array([[True, False]]))
    np.testing.assert_array_equal(load(tmp_path).X_train, [[[255, 0]]] * 8)


def test_transparency_and_palettes_become_rgb(tmp_path):
    two_classes(tmp_path, n=4, shape=(6, 6, 4))
    X = pixels(3, 6, 6, 3) // 128 * 255  # 8 colours, which a palette holds exactly
    Image.fromarray(X).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "cat" / "p.png")
    data = load(tmp_path, test_size=2)
    images = [*data.X_train, *data.X_test]
    assert data.X_train.shape[1:] == (6, 6, 3)
    assert any((image == X).all() for image in images)
    assert any((image == pixels([0, 0, 0], 6, 6, 4)[..., :3]).all() for image in images)


def test_usual_suffixes_in_any_case_and_nothing_else(tmp_path):
    for i, suffix in enumerate([".png", ".PNG", ".jpg", ".JPEG", ".bmp", ".gif", ".tif", ".webp"]):
        for name in ("cat", "dog"):
            put(tmp_path / name / f"{i}{suffix}", pixels(i, 6, 6, 3))
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / ".hidden.png").write_text("not an image")
    (tmp_path / "cat" / "folder.png").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.md").write_text("not a class")
    data = load(tmp_path)
    assert len(data.X_train) + len(data.X_test) == 16
    assert data.class_names == ("cat", "dog")


# Sizes


def test_images_of_one_size_stay_as_they_are(tmp_path):
    two_classes(tmp_path, shape=(5, 9, 3))
    assert load(tmp_path).X_train.shape == (8, 5, 9, 3)


def test_images_of_several_sizes_need_one(tmp_path):
    two_classes(tmp_path)
    put(tmp_path / "dog" / "large.png", pixels(0, 9, 12, 3))
    with pytest.raises(ValueError, match=r"image_size=64.*0.png has 8×6 pixels.*large.png 12×9"):
        load(tmp_path)
    assert load(tmp_path, image_size=4).X_train.shape[1:] == (4, 4, 3)


def test_the_centre_is_cut_out(tmp_path):
    """The shorter side has the size asked for, so the pixels of the centre stay as they are."""
    X = two_classes(tmp_path / "train", shape=(6, 10, 3))
    tall = two_classes(tmp_path / "test", shape=(10, 6, 3))
    data = load(tmp_path, image_size=6)
    np.testing.assert_array_equal(data.X_train, X[:, :, 2:8])
    np.testing.assert_array_equal(data.X_test, tall[:, 2:8])


def test_the_shorter_side_is_resized(tmp_path):
    """An image of two colours, left and right, is the same at half the size, but for the seam."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 200
    for name in ("cat", "dog"):
        for i in range(5):
            put(tmp_path / name / f"{i}.png", image)
    small = load(tmp_path, image_size=8).X_train[0]
    assert small.shape == (8, 8, 3)
    assert (small[:, :3] == 0).all()
    assert (small[:, 5:] == 200).all()
    assert load(tmp_path, image_size=32).X_train.shape[1:] == (32, 32, 3)


def test_fine_stripes_average_where_they_are_made_small(tmp_path):
    """Every other pixel is white: without antialiasing all would come out black or white."""
    image = np.zeros((32, 32), np.uint8)
    image[:, ::2] = 200
    for name in ("cat", "dog"):
        for i in range(5):
            put(tmp_path / name / f"{i}.png", image)
    inner = load(tmp_path, image_size=8).X_train[0][:, 1:-1]
    assert (abs(inner.astype(int) - 100) <= 2).all()


# What is refused


def test_own_test_rows_are_not_split_again(tmp_path):
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "val")
    with pytest.raises(ValueError, match=r"test_size must be None.*own test rows in val"):
        load(tmp_path, test_size=0.2)


def test_train_alone(tmp_path):
    two_classes(tmp_path / "train")
    with pytest.raises(ValueError, match="must have test or val beside train; got neither"):
        load(tmp_path)


def test_class_folders_must_agree(tmp_path):
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "test")
    put(tmp_path / "test" / "cow" / "0.png", pixels(0, 6, 8, 3))
    with pytest.raises(ValueError, match="same class folders; only one of them has cow"):
        load(tmp_path)


def test_an_empty_class_folder(tmp_path):
    two_classes(tmp_path)
    (tmp_path / "cow").mkdir()
    with pytest.raises(ValueError, match=r"cow must hold images \(.bmp, .*\); got none"):
        load(tmp_path)


def test_one_class_or_none(tmp_path):
    with pytest.raises(ValueError, match="2 or more classes; got none"):
        load(tmp_path)
    put(tmp_path / "cat" / "0.png", pixels(0, 6, 6, 3))
    with pytest.raises(ValueError, match=r"2 or more classes; got \['cat'\]"):
        load(tmp_path)


def test_a_class_too_small_to_split(tmp_path):
    two_classes(tmp_path)
    put(tmp_path / "cow" / "0.png", pixels(0, 6, 8, 3))
    with pytest.raises(ValueError, match=r"test_size=0.2 cannot split 11 rows of 3 classes"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp"])
def test_a_damaged_image_is_named(tmp_path, suffix):
    """Cut anywhere: in the header, which is read first, or in the pixels."""
    two_classes(tmp_path, shape=(64, 64, 3))
    path = tmp_path / "dog" / f"damaged{suffix}"
    put(path, pixels(5, 64, 64, 3))
    whole = path.read_bytes()
    for kept in (0, 10, len(whole) // 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=f"damaged{suffix} cannot be read as an image"):
            load(tmp_path)


def test_sixteen_bits_are_refused(tmp_path):
    two_classes(tmp_path, shape=(6, 6))
    put(tmp_path / "dog" / "deep.png", np.full((6, 6), 40000, np.uint16))
    with pytest.raises(ValueError, match=r"deep.png must have 8 bits a channel; got.*'I;16'"):
        load(tmp_path)


def test_nothing_is_written(tmp_path):
    two_classes(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    load(tmp_path, image_size=4)
    assert sorted(tmp_path.rglob("*")) == before
