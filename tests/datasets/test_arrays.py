import io

import numpy as np
import pytest
from PIL import Image

from m3d_sklearn.datasets import load


def images(n, seed=0, shape=(4, 4), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(dtype)


def four(**changes):
    arrays = {
        "x_train": images(8),
        "y_train": np.arange(8) % 2,
        "x_test": images(4, 1),
        "y_test": np.arange(4) % 2,
    }
    return arrays | changes


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("upper", [False, True])
def test_one_file_of_two_parts(tmp_path, no_socket, upper):
    arrays = four()
    named = {key.replace("x", "X") if upper else key: array for key, array in arrays.items()}
    data = load(saved(tmp_path / "mine.npz", **named))
    for got, wanted in zip(data, arrays.values(), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (data.name, data.source, data.class_names) == ("mine", "mine.npz", ("0", "1"))
    assert data.y_train.dtype == data.y_test.dtype == np.int64


def test_a_str_and_a_path_are_the_same(tmp_path):
    path = saved(tmp_path / "mine.npz", **four())
    assert load(path).fingerprint == load(str(path)).fingerprint


def test_a_file_in_root_goes_by_the_known_name(tmp_path, no_socket):
    arrays = four()
    saved(tmp_path / "cifar10.npz", **arrays)
    data = load("CIFAR-10", root=tmp_path)
    np.testing.assert_array_equal(data.X_test, arrays["x_test"])
    assert (data.name, data.source) == ("cifar10", "cifar10.npz")


def test_a_pair_comes_before_a_single_file(tmp_path):
    saved(tmp_path / "mnist.npz", **four())
    X = images(6, 7)
    saved(tmp_path / "mnist_train.npz", X=X, y=np.arange(6) % 2)
    assert load("mnist", root=tmp_path).source == "mnist.npz"
    saved(tmp_path / "mnist_test.npz", X=X, y=np.arange(6) % 2)
    np.testing.assert_array_equal(load("mnist", root=tmp_path).X_train, X)


@pytest.mark.parametrize(("there", "missing"), [("train", "test"), ("test", "train")])
def test_half_a_pair_is_an_error(tmp_path, no_socket, there, missing):
    saved(tmp_path / f"mnist_{there}.npz", X=images(4), y=np.arange(4) % 2)
    with pytest.raises(FileNotFoundError, match=rf"mnist needs .*mnist_{missing}.npz is missing"):
        load("mnist", root=tmp_path)


def test_one_part_is_split(tmp_path):
    X, y = images(50), np.repeat([0, 1], [20, 30])
    path = saved(tmp_path / "mine.npz", X=X, y=y)
    data = load(path)
    assert np.bincount(data.y_test).tolist() == [4, 6]
    rows = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
    assert len(rows) == 50
    for row, label in zip(
        [*data.X_train, *data.X_test], [*data.y_train, *data.y_test], strict=True
    ):
        assert rows.pop(row.tobytes()) == label
    assert rows == {}
    assert len(load(path, test_size=0.5).X_test) == 25
    assert load(path, random_state=1).fingerprint != data.fingerprint == load(path).fingerprint


def test_labels_become_places_and_name_their_classes(tmp_path):
    numbers = four(y_train=np.array([7, 3] * 4, np.uint8), y_test=np.array([3, 3, 7, 7]))
    data = load(saved(tmp_path / "a.npz", **numbers))
    assert data.class_names == ("3", "7")
    assert data.y_train.tolist() == [1, 0] * 4
    assert data.y_test.tolist() == [0, 0, 1, 1]
    words = four(y_train=np.array(["dog", "cat"] * 4), y_test=np.array(["cat"] * 4))
    data = load(saved(tmp_path / "b.npz", **words))
    assert data.class_names == ("cat", "dog")
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([1, 0] * 4, [0] * 4)


def test_labels_in_a_column_as_keras_keeps_them(tmp_path):
    arrays = four()
    columns = {key: a[:, None] if key[0] == "y" else a for key, a in arrays.items()}
    data = load(saved(tmp_path / "a.npz", **columns))
    np.testing.assert_array_equal(data.y_train, arrays["y_train"])
    part = saved(tmp_path / "b.npz", X=images(10), y=(np.arange(10) % 2)[:, None])
    assert load(part).y_train.shape == (8,)


def test_class_names_in_the_file_are_used(tmp_path):
    path = saved(tmp_path / "a.npz", class_names=np.array(["cat", "dog", "cow"]), **four())
    data = load(path)
    assert data.class_names == ("cat", "dog", "cow")
    assert data.y_train.tolist() == [0, 1] * 4


def test_reals_and_tables_stay_as_they_are(tmp_path):
    arrays = four(x_train=images(8, 0, (3,)) / 7, x_test=images(4, 1, (3,)) / 7)
    data = load(saved(tmp_path / "a.npz", **arrays))
    np.testing.assert_array_equal(data.X_train, arrays["x_train"])
    assert data.X_train.dtype == np.float64


# What is refused

BAD = {
    "fewer labels": (four(y_train=np.arange(7) % 2), "y_train must have a label per row, 8; got 7"),
    "more labels": (four(y_test=np.zeros(5, int)), "y_test must have a label per row, 4; got 5"),
    "text": (
        four(x_train=np.full((8, 4, 4), "a")),
        "X_train must hold real numbers; got dtype <U1",
    ),
    "NaN": (
        four(x_train=np.full((8, 4, 4), np.nan), x_test=np.zeros((4, 4, 4))),
        "X_train must be finite; got NaN",
    ),
    "other shape": (four(x_test=images(4, 0, (5, 5))), "must have rows of one shape and dtype"),
    "many channels": (
        four(x_train=images(8, 0, (5, 9, 9)), x_test=images(4, 0, (5, 9, 9))),
        "channels last or first",
    ),
    "real labels": (four(y_train=np.zeros(8)), "training labels must be one axis of whole numbers"),
    "one-hot": (four(y_test=np.eye(4, dtype=int)), r"test labels must be one axis.*\(4, 4\)"),
    "unknown label": (
        four(y_test=np.array([0, 1, 5, 9])),
        r"among the training labels; got \[5, 9",
    ),
    "other kind": (four(y_test=np.array(["0", "1"] * 2)), "test labels must be among the training"),
    "one class": (four(y_train=np.zeros(8, int), y_test=np.zeros(4, int)), "at least 2 classes"),
    "few names": (four(class_names=np.array(["cat", "dog"]), y_train=np.arange(8)), "got 0 to 7"),
    "words": (four(class_names=np.array(["a", "b"]), y_test=np.array(["a"] * 4)), "got strings"),
    "empty": (four(x_train=images(0), y_train=np.zeros(0, int)), "test labels must be among"),
    "one part": ({"X": images(8), "y": np.zeros(7, int)}, "X and y must have one length"),
    "small class": ({"X": images(4), "y": np.array([0, 0, 0, 1])}, "test_size=0.2 cannot split"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arrays_are_refused_with_the_files_name(tmp_path, case):
    arrays, message = BAD[case]
    path = saved(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message) as e:
        load(path)
    assert str(e.value).startswith(f"{path}: ")


@pytest.mark.parametrize("arrays", [{}, {"X": images(4)}, {"a": images(4), "x_train": images(4)}])
def test_missing_keys_are_named(tmp_path, arrays):
    path = saved(tmp_path / "mine.npz", **arrays)
    message = "mine.npz must have the keys X, y or x_train, y_train, x_test, y_test; got "
    with pytest.raises(ValueError, match=message + (", ".join(arrays) or "none")):
        load(path)


def test_each_of_a_pair_holds_one_part(tmp_path):
    saved(tmp_path / "mnist_train.npz", **four())
    saved(tmp_path / "mnist_test.npz", X=images(4), y=np.arange(4) % 2)
    with pytest.raises(ValueError, match=r"mnist_train.npz, .*each of the two files must have"):
        load("mnist", root=tmp_path)


def test_parameters_without_a_use_are_refused(tmp_path):
    path = saved(tmp_path / "mine.npz", **four())
    with pytest.raises(ValueError, match="image_size must be None for arrays"):
        load(path, image_size=8)
    with pytest.raises(ValueError, match="test_size must be None for data with their own test"):
        load(path, test_size=0.2)


def test_nothing_in_a_file_is_executed(tmp_path):
    arrays = four(x_train=np.array([object()] * 8))
    with pytest.raises(ValueError, match=r"mine.npz cannot be read as an .npz of plain arrays"):
        load(saved(tmp_path / "mine.npz", **arrays))


def test_damaged_files_are_named(tmp_path):
    whole = saved(tmp_path / "whole.npz", **four()).read_bytes()
    path = tmp_path / "mine.npz"
    spots = np.random.default_rng(0).integers(0, len(whole), 40)
    damaged = [b"", b"PK", b"not a zip", whole[: len(whole) // 2], whole[:-10]]
    damaged += [whole[:spot] + b"\xff\x00\xff" + whole[spot + 3 :] for spot in spots]
    answers = []
    for content in damaged:
        path.write_bytes(content)
        answers.append(refusal(path))
    assert all(answer is None or "mine.npz" in answer for answer in answers)
    assert all(answers[:5])
    assert sum(answer is not None for answer in answers) >= 30  # some bytes of a zip mean nothing


def refusal(path):
    """What load says against a file, or None where it reads it."""
    try:
        load(path)
    except ValueError as error:
        return str(error)
    return None


def test_an_npy_is_no_npz(tmp_path):
    with (tmp_path / "mine.npz").open("wb") as file:
        np.save(file, images(4))
    with pytest.raises(ValueError, match=r"mine.npz cannot be read"):
        load(tmp_path / "mine.npz")


# JPEG


def jpeg_bytes(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def packed_jpegs(n_train=5, n_test=3):
    """A file as cifar10_jpeg.npz, and what Pillow makes of each JPEG by itself."""
    X = images(n_train + n_test, 0, (16, 16, 3))
    files = [jpeg_bytes(image) for image in X]
    cut = len(files[0]) - len(files[0].split(b"\xff\xda", 1)[1])
    assert len({file[:cut] for file in files}) == 1
    packed = {"jpeg_header": np.frombuffer(files[0][:cut], np.uint8)}
    for part, group in (("train", files[:n_train]), ("test", files[n_train:])):
        scans = [file[cut:] for file in group]
        packed[f"{part}_scan"] = np.frombuffer(b"".join(scans), np.uint8)
        packed[f"{part}_length"] = np.array([len(scan) for scan in scans], np.uint16)
        packed[f"{part}_label"] = (np.arange(len(group)) % 2).astype(np.uint8)
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    return packed | {"class_names": np.array(["cat", "dog"])}, decoded


def test_jpegs_are_decoded(tmp_path, no_socket):
    packed, decoded = packed_jpegs()
    path = saved(tmp_path / "cifar10_jpeg.npz", **packed)
    data = load("cifar10_jpeg", root=tmp_path)
    np.testing.assert_array_equal(data.X_train, decoded[:5])
    np.testing.assert_array_equal(data.X_test, decoded[5:])
    assert data.y_train.tolist() == [0, 1, 0, 1, 0]
    assert data.class_names == ("cat", "dog")
    assert load(path).fingerprint == data.fingerprint


def test_damaged_jpegs_are_named(tmp_path):
    packed, _ = packed_jpegs()
    path = tmp_path / "cifar10_jpeg.npz"
    saved(path, **(packed | {"jpeg_header": np.zeros(100, np.uint8)}))
    with pytest.raises(ValueError, match=r"cifar10_jpeg.npz: train_scan must hold JPEG images"):
        load(path)
    saved(path, **(packed | {"test_scan": packed["test_scan"][:-1]}))
    with pytest.raises(ValueError, match=r"test_scan must have \d+ bytes; got \d+"):
        load(path)
    with pytest.raises(ValueError, match="test_size must be None"):
        load(path, test_size=0.5)
