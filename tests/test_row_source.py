"""Rows that are read where they lie: what counts as such, and what a read gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sources import Indexed, Items, mapped
from torch.utils.data import IterableDataset, Subset, TensorDataset

import m3d_sklearn.layout
from m3d_sklearn.layout import Layout, Units, fingerprint
from m3d_sklearn.row_source import (
    ArraySource,
    DatasetSource,
    LazyRows,
    as_source,
    fingerprint_of,
    measure,
)

X = np.random.default_rng(0).integers(0, 255, (40, 4, 5, 3)).astype(np.uint8)
LAYOUT = Layout((4, 5, 3), "uint8", channel_axis=2)
IN_MEMORY = [
    X,
    X[::2],
    X.tolist(),
    torch.from_numpy(X),
    pd.DataFrame(X.reshape(40, -1)),
    pd.Series([1.0, 2.0]),
    scipy.sparse.csr_matrix(X.reshape(40, -1)),
    np.float64(3.0),
    np.str_("text"),
    None,
    "text",
    3,
]


@pytest.mark.parametrize("thing", IN_MEMORY, ids=lambda thing: type(thing).__name__)
def test_what_is_in_memory_is_left_to_numpy(thing):
    assert as_source(thing) is None


def test_views_of_a_map_are_its_files(tmp_path):
    whole = mapped(X, tmp_path)
    for view in (whole, whole[3:], np.asarray(whole), whole.reshape(40, -1), whole[:, ::-1].T):
        assert isinstance(as_source(view), ArraySource)
    assert as_source(whole + 1) is None  # new memory
    assert as_source(whole.copy()) is None


def test_things_like_arrays_and_data_sets_are_sources():
    assert isinstance(as_source(Indexed(X)), ArraySource)
    assert isinstance(as_source(Items(X)), DatasetSource)
    assert isinstance(as_source(Subset(TensorDataset(torch.from_numpy(X)), [1])), DatasetSource)


INDICES = [
    slice(None),
    slice(3, 17),
    slice(38, 50),
    slice(2, 2),
    np.array([0, 5, 39]),
    np.array([39, 0, 5]),
    np.array([7, 7, 3, 39, 7]),
    np.array([], int),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("wrap", [Indexed, Items, lambda X: Items(X, np.zeros(40))])
def test_rows_by_slice_and_by_number(wrap, index):
    rows = LazyRows(as_source(wrap(X)), LAYOUT)
    expected = LAYOUT.to_rows(X)[index]
    np.testing.assert_array_equal(rows[index], expected)
    assert rows[index].dtype == np.uint8
    if len(expected) > 1:
        assert rows[index].strides == expected.strides  # as networks get to see them


def test_lazy_rows_say_what_they_stand_for():
    rows = LazyRows(as_source(Indexed(X)), LAYOUT)
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == ((40, 3, 4, 5), np.uint8, 4, 40)


@pytest.mark.parametrize("block", [1, 100, 2**23])
@pytest.mark.parametrize("wrap", [Indexed, Items])
def test_one_pass_finds_what_is_found_in_memory(wrap, block, monkeypatch):
    monkeypatch.setattr(m3d_sklearn.layout, "BLOCK", block)
    rows, labels = LazyRows(as_source(wrap(X)), LAYOUT), np.arange(40)
    expected = Units.measure(LAYOUT.to_rows(X))
    for name, value in vars(measure(rows)).items():
        np.testing.assert_array_equal(value, getattr(expected, name))
    in_memory = fingerprint(LAYOUT.to_rows(X), labels)
    assert fingerprint_of(rows, labels) == fingerprint_of(LAYOUT.to_rows(X), labels) == in_memory
    assert fingerprint_of(rows, labels[::-1]) != in_memory
    assert fingerprint_of(rows) == fingerprint_of(LAYOUT.to_rows(X))


def test_every_block_of_the_pass_is_checked(monkeypatch):
    monkeypatch.setattr(m3d_sklearn.layout, "BLOCK", 7 * 60)
    seen = []
    rows = LazyRows(as_source(Indexed(X)), LAYOUT, lambda block: seen.append(len(block)))
    assert measure(rows) is measure(rows)
    assert seen == [7, 7, 7, 7, 7, 5]


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(40),
        [f"{i}" for i in range(40)],
        torch.arange(40),
        [np.int64(i) for i in range(40)],
    ],
)
def test_labels_that_were_seen(labels):
    source = as_source(Items(X, labels))
    rows = LazyRows(source, LAYOUT)
    rows.scan  # noqa: B018 - reads all items
    assert source.seen_labels().tolist() == list(np.asarray(labels))
    assert source.targets() is None


def test_items_without_a_label():
    source = as_source(Items(X))
    source[:]
    with pytest.raises(ValueError, match="y must be given: items of X have no label"):
        source.seen_labels()


class Stream(IterableDataset):
    """A data set that only goes forwards."""

    def __iter__(self):
        return iter(())


def test_data_sets_without_numbers_or_items():
    with pytest.raises(TypeError, match=r"X must be a data set with a length.*got Stream"):
        as_source(Stream())
    with pytest.raises(ValueError, match="X must hold 1 sample or more; got Items of 0"):
        as_source(Items(X[:0]))


class Shrinking(Indexed):
    """Gives other rows than it says."""

    def __getitem__(self, index):
        return super().__getitem__(index)[:, :2]


def test_an_array_that_gives_other_rows_than_it_says():
    message = r"X must give rows of shape \(4, 5, 3\) and uint8.*gave \(2, 5, 3\)"
    with pytest.raises(ValueError, match=message):
        as_source(Shrinking(X))[:]


@pytest.mark.parametrize("n", [3, 30])
def test_an_item_that_fails_names_its_number(n):
    def make(row):
        if row is rows[2]:
            raise OSError("truncated")
        return row

    rows = list(X)
    with pytest.raises(ValueError, match=r"X\[2\] could not be read: OSError: truncated"):
        as_source(Items(rows, make=make))[:n]
