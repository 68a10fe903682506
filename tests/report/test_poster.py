import csv
from importlib.resources import files

import pytest

from m3d_sklearn.report._poster import MEANINGS, Published, Setting, published


def caveats(dataset, ipc, method, model="convnet", protocol="m3d", **more):
    return published(Setting(dataset, ipc, method, model, protocol, **more)).caveats


@pytest.mark.parametrize(
    ("dataset", "ipc", "method", "protocol", "accuracy", "std"),
    [
        ("mnist", 1, "M3D", "m3d", 94.4, 0.2),
        ("fashion_mnist", 50, "DSA", "dc", 88.7, 0.2),
        ("svhn", 10, "Random", "dc", 35.1, 4.1),
        ("cifar10", 50, "IDM", "dc", 67.5, 0.1),
        ("cifar100", 10, "CAFE+DSA", "dc", 31.5, 0.2),
        ("cifar10", None, "whole set", "dc", 84.8, 0.1),
    ],
)
def test_the_figure_of_the_table_under_its_own_protocol(
    dataset, ipc, method, protocol, accuracy, std
):
    found = published(Setting(dataset, ipc, method, "convnet", protocol))
    assert found == Published(accuracy, std, ())
    assert found.compares


@pytest.mark.parametrize(
    ("dataset", "ipc", "method", "model"),
    [
        ("digits", 1, "M3D", "convnet"),
        ("mnist", 20, "M3D", "convnet"),
        ("mnist", 10, "k-means", "convnet"),
        ("mnist", 10, "M3D start", "convnet"),
        ("mnist", 10, "whole", "convnet"),
        ("mnist", 10, "M3D", "resnet18"),
        ("mnist", 10, "M3D", "knn"),
        ("mnist", 10, "IDM", "convnet"),  # "–" in the table
        ("MNIST", 10, "M3D", "convnet"),
    ],
)
def test_what_the_table_does_not_have_gets_no_figure(dataset, ipc, method, model):
    assert published(Setting(dataset, ipc, method, model, "m3d")) is None


@pytest.mark.parametrize("protocol", ["m3d", "dc"])
def test_only_the_column_of_m3d_is_of_its_protocol(protocol):
    other = ("other protocol",)
    assert caveats("mnist", 1, "M3D", protocol=protocol) == (() if protocol == "m3d" else other)
    for method in ("Random", "DC", "DSA", "CAFE", "CAFE+DSA", "DM", "whole set"):
        ipc = None if method == "whole set" else 1
        expected = other if protocol == "m3d" else ()
        assert caveats("mnist", ipc, method, protocol=protocol) == expected


def test_a_copy_or_another_size_has_other_pixels():
    found = published(Setting("cifar10_jpeg", 1, "M3D", "convnet", "m3d"))
    assert (found.accuracy, found.caveats) == (45.3, ("other pixels",))
    assert not found.compares
    assert caveats("cifar10", 1, "M3D", shape=(32, 32, 3)) == ()
    assert caveats("cifar10", 1, "M3D", shape=(16, 16, 3)) == ("other pixels",)
    assert caveats("mnist", 1, "M3D", shape=(28, 28)) == ()


def test_other_rows_augmentation_and_width():
    assert caveats("svhn", 1, "M3D", n_rows=73257) == ()
    assert caveats("svhn", 1, "M3D", n_rows=1000) == ("other rows",)
    assert caveats("svhn", 1, "M3D", augmentation="none") == ("other augmentation",)
    assert caveats("svhn", 1, "M3D", width=64) == ("other width",)
    assert caveats("svhn", 1, "M3D", width=None) == ("other width",)


@pytest.mark.parametrize(
    ("dataset", "protocol", "least"),
    [("mnist", "m3d", 1000), ("svhn", "m3d", 1000), ("mnist", "dc", 1000), ("svhn", "dc", 300)],
)
def test_fewer_epochs_are_said_and_do_not_make_it_grey(dataset, protocol, least):
    method = "M3D" if protocol == "m3d" else "DM"
    assert caveats(dataset, 1, method, protocol=protocol, epochs=least) == ()
    found = published(Setting(dataset, 1, method, "convnet", protocol, epochs=least - 1))
    assert found.caveats == ("fewer epochs",)
    assert found.compares


@pytest.mark.parametrize("method", ["Herding", "KCenter"])
def test_coresets_of_pixels_are_not_those_of_features(method):
    found = published(Setting("mnist", 1, method, "convnet", "dc", features="pixels"))
    assert found.caveats == ("on pixels",)
    assert found.compares
    assert caveats("mnist", 1, method, protocol="dc", features="convnet") == ()


def test_every_caveat_is_told_in_one_order():
    found = caveats(
        "cifar10_jpeg",
        1,
        "KCenter",
        epochs=1,
        width=1,
        n_rows=1,
        augmentation="none",
        features="pixels",
    )
    assert found == tuple(MEANINGS)


def test_the_shipped_table_is_whole():
    text = files("m3d_sklearn.report").joinpath("poster.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 145
    assert all(0 < float(row["accuracy"]) < 100 for row in rows)
    # 3 data sets without IDM, 2 with it; DC has no figure for CIFAR-100 at 50; 5 whole sets.
    assert len(rows) == 3 * 3 * 9 + 2 * 3 * 10 - 1 + 5
