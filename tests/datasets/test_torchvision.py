import os
import pickle
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets
from scipy.io import savemat

from m3d_sklearn.datasets import load
from m3d_sklearn.datasets._torchvision import SETS

RNG = np.random.default_rng(0)
TRAIN, TEST = 12, 5


def pixels(n, *shape):
    return RNG.integers(0, 256, (n, *shape), np.uint8)


def write_idx(path, array):
    """The format of MNIST's files: a magic number, the sides, the bytes."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.tobytes())


def write_mnist(folder):
    folder.mkdir(parents=True)
    arrays = []
    for part, n in (("train", TRAIN), ("t10k", TEST)):
        X, y = pixels(n, 28, 28), (np.arange(n) % 10).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", X)
        write_idx(folder / f"{part}-labels-idx1-ubyte", y)
        arrays += [X, y]
    return arrays


def write_batches(folder, files, labels_key):
    folder.mkdir(parents=True)
    X = pixels(4 * len(files), 32, 32, 3)
    y = np.arange(len(X)) % 10
    for i, name in enumerate(files):
        rows = slice(4 * i, 4 * i + 4)
        flat = X[rows].transpose(0, 3, 1, 2).reshape(4, -1)
        batch = {"data": flat, labels_key: y[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    return [X[:-4], y[:-4], X[-4:], y[-4:]]


def write_svhn(folder):
    arrays = []
    for part, n in (("train", TRAIN), ("test", TEST)):
        X, y = pixels(n, 32, 32, 3), np.arange(n) % 10
        digits = np.where(y == 0, 10, y)[:, None]  # SVHN's files call the digit 0 a 10
        savemat(folder / f"{part}_32x32.mat", {"X": X.transpose(1, 2, 3, 0), "y": digits})
        arrays += [X, y]
    return arrays


CIFAR_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
NAMES = [f"thing {i}" for i in range(10)]


@pytest.fixture
def any_checksum(monkeypatch):
    """torchvision takes files of the right name for the right files."""
    for module in ("cifar", "svhn", "utils"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity",
            lambda path, md5=None: os.path.isfile(path),
        )


def write(name, root):
    """Small files of a data set; gives what must be read."""
    if name in ("mnist", "fashion_mnist"):
        return write_mnist(root / {"mnist": "MNIST"}.get(name, "FashionMNIST") / "raw")
    if name == "svhn":
        return write_svhn(root)
    if name == "cifar10":
        folder = root / "cifar-10-batches-py"
        arrays = write_batches(folder, CIFAR_FILES, "labels")
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
        return arrays
    folder = root / "cifar-100-python"
    arrays = write_batches(folder, ["train", "test"], "fine_labels")
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES}))
    return arrays


def listing(folder):
    return sorted((path, path.stat().st_size) for path in folder.rglob("*"))


@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("name", SETS)
def test_files_are_read_as_they_are(tmp_path, any_checksum, no_socket, capfd, name, download):
    expected = write(name, tmp_path)
    data = load(name, root=tmp_path, download=download)
    for got, wanted, dtype in zip(data, expected, ["uint8", "int64"] * 2, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == dtype
        assert got.flags.c_contiguous
    assert (data.name, data.source) == (name, "torchvision")
    assert capfd.readouterr() == ("", "")


def test_class_names(tmp_path, any_checksum):
    for name in SETS:
        write(name, tmp_path)
    assert load("mnist", root=tmp_path).class_names == tuple("0123456789")
    assert load("svhn", root=tmp_path).class_names == tuple("0123456789")
    assert load("fashion_mnist", root=tmp_path).class_names[:2] == ("T-shirt/top", "Trouser")
    assert load("cifar10", root=tmp_path).class_names == tuple(NAMES)
    assert load("cifar100", root=tmp_path).class_names == tuple(NAMES)


def test_nothing_is_written_beside_files_that_are_there(tmp_path, any_checksum):
    write("cifar10", tmp_path)
    write("mnist", tmp_path)
    before = listing(tmp_path)
    load("cifar10", root=tmp_path)
    load("mnist", root=tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("settings", [{"image_size": 16}, {"test_size": 0.2}])
def test_they_have_their_own_size_and_split(tmp_path, no_socket, name, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be None for {name}"):
        load(name, root=tmp_path, **settings)


@pytest.mark.parametrize("name", SETS)
def test_missing_files_are_named(tmp_path, no_socket, name):
    with pytest.raises(FileNotFoundError) as e:
        load(name, root=tmp_path, download=False)
    message = str(e.value)
    assert all(file in message for file in SETS[name].files)
    assert str(tmp_path / SETS[name].folder) in message
    for word in ("download=False", "download=True", "M3D_DATA", f"{name}_train.npz", f"{name}.npz"):
        assert word in message


def test_only_the_missing_file_is_named(tmp_path, no_socket):
    write("mnist", tmp_path)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs the files t10k-labels-idx1-ubyte in "):
        load("mnist", root=tmp_path, download=False)


@pytest.mark.parametrize(
    "error", [URLError("refused"), OSError("refused"), RuntimeError("refused")]
)
@pytest.mark.parametrize("name", SETS)
def test_a_refused_download_says_what_is_wanted(tmp_path, monkeypatch, capfd, name, error):
    def refuse(url, folder, *args, **kwargs):
        os.makedirs(folder, exist_ok=True)  # as torchvision does before it asks
        print("a bar")
        raise error

    for module in ("mnist.download_and_extract_archive", "cifar.download_and_extract_archive"):
        monkeypatch.setattr(f"torchvision.datasets.{module}", refuse)
    monkeypatch.setattr("torchvision.datasets.svhn.download_url", refuse)
    root = tmp_path / "deep" / "data"
    if name in ("mnist", "fashion_mnist") and type(error) is OSError:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["one"])
    with pytest.raises(FileNotFoundError, match="the download failed") as e:
        load(name, root=root)
    message = str(e.value)
    assert "refused" in message
    assert str(root / SETS[name].folder) in message
    assert all(file in message for file in SETS[name].files)
    assert "\n" not in message
    assert e.value.__cause__ is not None
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_download_cut_off_keeps_what_came(tmp_path, monkeypatch):
    def cut(url, folder, *args, **kwargs):
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half")
        raise URLError("cut off")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", cut)
    with pytest.raises(FileNotFoundError, match="cut off"):
        load("cifar10", root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


def test_what_is_downloaded_is_read(tmp_path, monkeypatch, any_checksum):
    expected = []

    def fetch(url, folder, *args, **kwargs):
        expected.extend(write("cifar10", tmp_path / "data"))

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    data = load("cifar10", root=tmp_path / "data")
    for got, wanted in zip(data, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08\x03", b"\x00\x00\xff\x09" + b"1" * 64])
def test_damaged_files_are_named(tmp_path, no_socket, content):
    write("mnist", tmp_path)
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist cannot be read from train-images.*Delete them"):
        load("mnist", root=tmp_path)


def test_half_a_file_is_damaged(tmp_path, no_socket):
    write("mnist", tmp_path)
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="mnist cannot be read"):
        load("mnist", root=tmp_path)


def test_a_wrong_checksum_is_damage(tmp_path, no_socket):
    write("cifar10", tmp_path)
    with pytest.raises(ValueError, match=r"cifar10 cannot be read from data_batch_1.*corrupted"):
        load("cifar10", root=tmp_path, download=False)
