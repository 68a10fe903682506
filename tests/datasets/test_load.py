import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import m3d_sklearn.datasets
from m3d_sklearn.datasets import Dataset, available, load
from m3d_sklearn.datasets._load import takes_image_size

REAL = Path(os.environ.get("M3D_DATA", Path(__file__).parents[3] / "shared" / "data"))


def save(path, n=10, size=4, **more):
    X = np.random.default_rng(n).integers(0, 256, (n, size, size), np.uint8)
    np.savez(path, X=X, y=np.arange(n) % 2, **more)
    return X


def test_public_names():
    assert m3d_sklearn.datasets.__all__ == ["Dataset", "available", "load"]
    expected = """cifar10 cifar100 cifar10_jpeg digits fashion_mnist imagefruit imagemeow imagenet10
    imagenet100 imagenette imagesquawk imagewoof imageyellow mnist svhn"""
    assert available() == expected.split()
    available().clear()
    assert available()


# digits


def test_digits_are_scikit_learns_in_a_stratified_split(no_socket):
    digits = load("digits")
    X, y = load_digits().images, load_digits().target
    expected = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    for got, wanted in zip(digits, [expected[i] for i in (0, 2, 1, 3)], strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert digits.X_train.shape == (1257, 8, 8)
    assert (digits.X_train.dtype, digits.y_train.dtype) == (np.float64, np.int64)
    assert (digits.X_train.min(), digits.X_train.max()) == (0, 16)
    assert digits.class_names == tuple("0123456789")
    assert (digits.name, digits.source) == ("digits", "scikit-learn")


def test_digits_take_another_split():
    assert len(load("digits", test_size=0.5).X_test) == 899
    assert load("digits").fingerprint == load("digits").fingerprint
    assert load("digits").fingerprint != load("digits", random_state=1).fingerprint


def test_digits_take_no_size():
    with pytest.raises(ValueError, match="image_size must be None for digits, which are 8×8"):
        load("digits", image_size=16)


# Names and paths


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("mnist", "mnist"),
        ("MNIST", "mnist"),
        ("FashionMNIST", "fashion_mnist"),
        ("fashion-mnist", "fashion_mnist"),
        ("Fashion MNIST", "fashion_mnist"),
        ("F-MNIST", "fashion_mnist"),
        ("CIFAR-10", "cifar10"),
        ("cifar_100", "cifar100"),
        ("CIFAR10-JPEG", "cifar10_jpeg"),
        ("ImageNet-10", "imagenet10"),
        ("SVHN", "svhn"),
    ],
)
def test_spelling(tmp_path, spelling, name):
    save(tmp_path / f"{name}.npz")
    assert load(spelling, root=tmp_path).name == name


@pytest.mark.parametrize("name", ["minst", "", "cifar 11", None, 3, ("mnist",)])
def test_an_unknown_name_gets_the_list(name):
    with pytest.raises(ValueError, match=r"name must be one of cifar10, .*svhn, or a path") as e:
        load(name)
    assert f"got {name!r}" in str(e.value)


def test_a_known_name_is_no_path_but_a_path_of_that_name_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(load("digits").X_train) == 1257
    for path in (Path("digits"), "./digits"):
        with pytest.raises(ValueError, match="digits must hold a folder of images for each of 2"):
            load(path)


def test_a_folder_that_exists_needs_no_separator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine must hold a folder of images"):
        load("mine")


def test_a_path_may_begin_at_the_home(tmp_path):
    (tmp_path / "home").mkdir()
    X = save(tmp_path / "home" / "mine.npz")
    assert len(load("~/mine.npz").X_train) + len(load("~/mine.npz").X_test) == len(X)


@pytest.mark.parametrize("path", ["nowhere/at/all", Path("nowhere"), "nowhere.npz"])
def test_a_path_that_is_not_there(path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(path)


# root


def test_arrays_in_root_come_before_torchvision(tmp_path, no_socket):
    X_train, X_test = save(tmp_path / "mnist_train.npz", 10), save(tmp_path / "mnist_test.npz", 6)
    mnist = load("mnist", root=tmp_path)
    np.testing.assert_array_equal(mnist.X_train, X_train)
    np.testing.assert_array_equal(mnist.X_test, X_test)


def test_root_comes_from_the_environment(tmp_path, monkeypatch):
    save(tmp_path / "svhn_train.npz")
    save(tmp_path / "svhn_test.npz")
    monkeypatch.setenv("M3D_DATA", str(tmp_path))
    assert load("svhn").source == "svhn_train.npz, svhn_test.npz"


@pytest.mark.parametrize("name", sorted(set(available()) - {"digits"}))
def test_what_is_missing_is_named_and_nothing_is_written(tmp_path, no_socket, name):
    with pytest.raises(FileNotFoundError) as e:
        load(name, root=tmp_path / "data", download=False)
    message = str(e.value)
    assert message.startswith(f"{name} needs ")
    assert str(tmp_path / "data") in message
    assert "M3D_DATA" in message
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_is_not_made_for_nothing(tmp_path, no_socket):
    with pytest.raises(FileNotFoundError, match="m3d_sklearn_data"):
        load("cifar10", download=False)
    load("digits")
    assert list(tmp_path.iterdir()) == []


# Real files


def real(name, *files):
    if not all((REAL / file).exists() for file in files):
        pytest.skip(f"{', '.join(files)} is neither in M3D_DATA nor in ../shared/data")
    return load(name, root=REAL, download=False)


def test_real_mnist(no_socket):
    mnist = real("mnist", "mnist_train.npz", "mnist_test.npz")
    assert (mnist.X_train.shape, mnist.X_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_train).tolist() == counts
    assert mnist.class_names == tuple("0123456789")
    np.testing.assert_allclose((mnist.mean, mnist.std), ([0.1307], [0.3081]), atol=5e-5)


@pytest.mark.slow
def test_real_jpeg_copy(no_socket):
    cifar = real("cifar10_jpeg", "cifar10_jpeg.npz")
    assert (cifar.X_train.shape, cifar.X_test.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    assert np.bincount(cifar.y_train).tolist() == [5000] * 10
    assert cifar.class_names[:3] == ("airplane", "automobile", "bird")
    np.testing.assert_allclose(cifar.mean, (0.4914, 0.4822, 0.4465), atol=5e-4)


def test_type_of_the_answer():
    assert type(load("digits")) is Dataset


# Images of folders


def test_a_size_is_for_folders_of_images(tmp_path):
    (tmp_path / "photos").mkdir()
    takes = [tmp_path / "photos", f"{tmp_path}/photos", "imagenette", "ImageWoof"]
    assert all(takes_image_size(name, tmp_path) for name in takes)
    others = ["digits", "mnist", "cifar10_jpeg", tmp_path / "a.npz", f"{tmp_path}/a.NPZ"]
    assert not any(takes_image_size(name, tmp_path) for name in others)
    save(tmp_path / "imagenette.npz")
    assert not takes_image_size("imagenette", tmp_path)
    with pytest.raises(ValueError, match=r"name must be one of .*got 'best'"):
        takes_image_size("best", tmp_path)
