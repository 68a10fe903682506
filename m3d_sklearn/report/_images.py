"""Condensed images as data URIs, in albums to click through, in the space that there is."""

from __future__ import annotations

import base64
import heapq
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3d_sklearn.condensed_set import CondensedSet
from m3d_sklearn.report._data import Reader, Record
from m3d_sklearn.report._table import method_order

__all__ = ["Album", "Gallery", "Sheet", "gallery", "png_uri", "sheets"]

MOST_IMAGES = 50  # a class
MOST_BYTES = 3_000_000  # of all pictures of a page
LONGEST_SIDE = 128  # pixels; larger images are shown smaller
SHEET_CLASSES = 10


@dataclass
class Album:
    """The images of one condensed set.

    Attributes
    ----------
    dataset, method : str
    ipc, seed, factor : int
    classes : list of str
    counts : list of int
        Stored images of each class, shown or not.
    images : list of list of str
        Data URIs of each class's stored images. The page decodes mosaics itself.
    """

    dataset: str
    method: str
    ipc: int
    seed: int
    factor: int
    classes: list[str]
    counts: list[int]
    images: list[list[str]]

    @property
    def shown(self) -> int:
        """Stored images that are in the album."""
        return sum(map(len, self.images))


@dataclass(frozen=True)
class Gallery:
    """Albums, and what was left out of them.

    Attributes
    ----------
    albums : list of Album
        Those with an image.
    left_out : int
        Stored images that found no room, or were more than 50 of their class.
    skipped : list of (name, reason)
        Condensed sets of images without pictures, and those that could not be read.
    """

    albums: list[Album]
    left_out: int
    skipped: list[tuple[str, str]]


def gallery(records: Iterable[Record], read: Reader, *, room: int = MOST_BYTES) -> Gallery:
    """Make an album of the first seed of every data set, method and ipc.

    Parameters
    ----------
    records : iterable of dict
        Of :meth:`m3d_sklearn.benchmark.ResultsFolder.records`.
    read : callable
        Record to condensed set.
    room : int
        Bytes of all data URIs together, shared evenly: an album that needs less than its
        share leaves the rest to the others.
    """
    made: list[tuple[Album, CondensedSet]] = []
    skipped: list[tuple[str, str]] = []
    for record in _first_seeds(records):
        spec = record["spec"]
        name = f"{spec['dataset']}, {spec['method']}, ipc {spec['ipc']}"
        try:
            condensed = read(record)
        except ValueError as error:
            skipped.append((name, str(error)))
            continue
        if condensed is None:
            skipped.append((name, "its condensed set is not in the folder"))
        elif not condensed.layout.is_image:
            continue  # a table, of which nobody expects images
        elif condensed.layout.canonical_shape[0] not in (1, 3, 4):
            skipped.append((name, f"{condensed.layout.canonical_shape[0]} channels"))
        else:
            made.append((_empty_album(spec, condensed), condensed))
    _fill(made, room)
    left_out = sum(sum(album.counts) - album.shown for album, _ in made)
    return Gallery([album for album, _ in made if album.shown], left_out, skipped)


@dataclass(frozen=True)
class Sheet:
    """Methods side by side: the first image of every class.

    Attributes
    ----------
    dataset : str
    ipc : int
    classes : list of str
        The first 10.
    rows : list of (method, list of str)
        Data URIs, one per class; "" where there was no room.
    """

    dataset: str
    ipc: int
    classes: list[str]
    rows: list[tuple[str, list[str]]]


def sheets(albums: Iterable[Album]) -> list[Sheet]:
    """A sheet a data set, at the least ipc it has."""
    by_dataset: dict[str, list[Album]] = {}
    for album in albums:
        by_dataset.setdefault(album.dataset, []).append(album)
    made = []
    for dataset, own in by_dataset.items():
        ipc = min(album.ipc for album in own)
        own = [album for album in own if album.ipc == ipc]
        firsts = [[uris[0] if uris else "" for uris in a.images[:SHEET_CLASSES]] for a in own]
        rows = list(zip([album.method for album in own], firsts, strict=True))
        made.append(Sheet(dataset, ipc, own[0].classes[:SHEET_CLASSES], rows))
    return made


def png_uri(image: np.ndarray) -> str:
    """A uint8 image, (h, w) or (h, w, c), as a PNG in a data URI."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _first_seeds(records: Iterable[Record]) -> list[Record]:
    first: dict[tuple[Any, ...], Record] = {}
    for record in records:
        spec = record["spec"]
        if record["status"] != "done" or spec["ipc"] is None:
            continue
        key = (spec["dataset"], spec["method"], spec["ipc"])
        if key not in first or spec["seed"] < first[key]["spec"]["seed"]:
            first[key] = record
    return [first[key] for key in sorted(first, key=lambda k: (k[0], method_order(k[1]), k[2]))]


def _empty_album(spec: Record, condensed: CondensedSet) -> Album:
    classes = [str(name) for name in condensed.classes]
    return Album(
        dataset=spec["dataset"],
        method=spec["method"],
        ipc=spec["ipc"],
        seed=spec["seed"],
        factor=condensed.factor,
        classes=classes,
        counts=np.bincount(condensed.labels, minlength=len(classes)).tolist(),
        images=[[] for _ in classes],
    )


def _fill(made: list[tuple[Album, CondensedSet]], room: int) -> None:
    """Give the album that has the fewest bytes its next image, until the room is full."""
    turns = [(0, place, album, _images(condensed)) for place, (album, condensed) in enumerate(made)]
    while turns:
        used, place, album, images = heapq.heappop(turns)
        if (following := next(images, None)) is None:
            continue
        label, uri = following
        if len(uri) > room:
            return
        room -= len(uri)
        album.images[label].append(uri)
        heapq.heappush(turns, (used + len(uri), place, album, images))


def _images(condensed: CondensedSet) -> Iterator[tuple[int, str]]:
    """Classes and images: the first image of every class, then every second one, and so on."""
    from m3d_sklearn.plotting import to_bytes

    labels = condensed.labels
    members = [np.flatnonzero(labels == label) for label in range(len(condensed.classes))]
    for place in range(min(MOST_IMAGES, max(map(len, members)))):
        rows = [rows[place] for rows in members if len(rows) > place]
        X, y = np.asarray(condensed.X)[rows], np.asarray(condensed.y)[rows]
        some = replace(condensed, X=X, y=y, soft_labels=None)
        for label, image in zip(labels[rows].tolist(), to_bytes(some), strict=True):
            yield label, png_uri(image)
