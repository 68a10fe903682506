import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from common import colour, digits, iris
from PIL import Image

from m3d_sklearn import Herding, Random
from m3d_sklearn.plotting import to_bytes
from m3d_sklearn.report._images import Gallery, gallery, png_uri, sheets


def pixels(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def sets(*pairs):
    """Records, and what reads their condensed sets."""
    by_name = {record["name"]: condensed for record, condensed in pairs}
    return [record for record, _ in pairs], lambda record: by_name[record["name"]]


def test_every_image_is_there_pixel_for_pixel(record):
    condensed = Random(ipc=3, random_state=0).fit(*colour()).condensed_
    condensed = replace(condensed, soft_labels=np.eye(3)[condensed.labels])
    found = gallery(*sets((record(method="Random", ipc=3), condensed)))
    (album,) = found.albums
    shown = [pixels(uri) for uris in album.images for uri in uris]
    np.testing.assert_array_equal(shown, to_bytes(condensed))
    assert (album.counts, album.shown, found.left_out) == ([3, 3, 3], 9, 0)


def test_ragged_classes_have_what_they_have(record):
    condensed = Random(ipc={0: 3, 1: 1, 2: 2}, random_state=0).fit(*digits()).condensed_
    (album,) = gallery(*sets((record(method="Random"), condensed))).albums
    assert [len(uris) for uris in album.images] == album.counts == [3, 1, 2]
    np.testing.assert_array_equal(pixels(album.images[2][1]), to_bytes(condensed)[5])


def test_the_first_seed_of_each_set_in_the_order_of_the_table(record):
    condensed = Herding(ipc=1).fit(*digits()).condensed_
    cells = [("M3D", 10, 1), ("M3D", 10, 0), ("M3D", 2, 3), ("Random", 10, 4)]
    records = [record(method=m, ipc=ipc, seed=seed) for m, ipc, seed in cells]
    found = gallery(*sets(*((r, condensed) for r in records))).albums
    expected = [("Random", 10, 4), ("M3D", 2, 3), ("M3D", 10, 0)]
    assert [(album.method, album.ipc, album.seed) for album in found] == expected


def flat(n, n_classes):
    """Images of one grey each, whose PNGs have the same length; and labels."""
    return np.arange(n, dtype=np.uint8).repeat(4).reshape(n, 2, 2), np.arange(n) % n_classes


@pytest.mark.parametrize(("room", "shown"), [(6, [3, 3]), (7, [4, 3]), (13, [10, 3]), (2, [1, 1])])
def test_room_is_shared_and_what_one_set_leaves_goes_to_the_other(record, room, shown):
    X, y = flat(60, 3)
    many, few = (Random(ipc=ipc, random_state=0).fit(X, y).condensed_ for ipc in (9, 1))
    cells = sets((record("a", ipc=9), many), (record("b", ipc=1), few))
    length = len(png_uri(X[0]))
    found = gallery(*cells, room=room * length)
    assert [album.shown for album in found.albums] == shown
    assert found.left_out == 30 - sum(shown)
    lengths = [len(uris) for uris in found.albums[0].images]
    assert sorted(lengths, reverse=True) == lengths  # classes take turns
    assert max(lengths) - min(lengths) <= 1


def test_sets_that_found_no_room_have_no_album(record):
    X, y = flat(60, 3)
    condensed = Random(ipc=1, random_state=0).fit(X, y).condensed_
    found = gallery(*sets((record(), condensed)), room=10)
    assert (found.albums, found.left_out) == ([], 3)


def test_no_more_than_fifty_images_a_class(record):
    condensed = Random(ipc=60, random_state=0).fit(*flat(120, 2)).condensed_
    found = gallery(*sets((record(method="Random"), condensed)))
    assert (found.albums[0].shown, found.albums[0].counts, found.left_out) == (100, [60, 60], 20)


def test_what_has_no_images_is_skipped_with_a_word(record, fail):
    X, y = colour()
    table = Herding(ipc=1).fit(*iris()).condensed_
    odd = Herding(ipc=1).fit(X[..., :2], y).condensed_
    cells = [(record("t"), table), (record("odd"), odd), (record("gone"), None)]
    cells += [(record("w", "whole set", None), None), (fail(record("f")), None)]
    found = gallery(*sets(*cells))
    assert found.albums == []
    assert dict(found.skipped) == {
        "gone, M3D, ipc 1": "its condensed set is not in the folder",
        "odd, M3D, ipc 1": "2 channels",
    }


def test_a_table_is_not_told_among_images(record):
    table = Herding(ipc=1).fit(*iris()).condensed_
    assert gallery(*sets((record("t"), table))) == Gallery([], 0, [])


def test_a_damaged_set_is_skipped(record):
    def read(cell):
        raise ValueError("x.npz is not a condensed set")

    assert gallery([record()], read).skipped[0][1] == "x.npz is not a condensed set"


@pytest.mark.parametrize(("sides", "shown"), [((300, 150), (128, 64)), ((128, 90), (128, 90))])
def test_large_images_are_shown_smaller(sides, shown):
    assert pixels(png_uri(np.zeros(sides, np.uint8))).shape == shown


def test_a_sheet_has_the_first_image_of_ten_classes_at_the_least_ipc(record):
    X, y = flat(48, 12)
    few, more = (Random(ipc=ipc, random_state=0).fit(X, y).condensed_ for ipc in (1, 2))
    cells = [(record("a", ipc=1), few), (record("a", "Random", ipc=1), few)]
    cells.append((record("a", ipc=2), more))
    (sheet,) = sheets(gallery(*sets(*cells)).albums)
    assert (sheet.dataset, sheet.ipc, len(sheet.classes)) == ("a", 1, 10)
    assert [method for method, _ in sheet.rows] == ["Random", "M3D"]
    np.testing.assert_array_equal([pixels(uri) for uri in sheet.rows[0][1]], to_bytes(few)[:10])
