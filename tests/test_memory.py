"""benchmarks/memory.py on a small file: memory follows the blocks, and not the file."""

from __future__ import annotations

import json
import sys
import time

import memory
import numpy as np
import pytest
from common import name_of

import m3d_sklearn.layout
from m3d_sklearn import Herding, KCenter, M3DCondenser, Random, features

ROWS = 60_000
MEGABYTE = 10**6

linux = pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """184 MB."""
    path = tmp_path_factory.mktemp("memory") / "X.npy"
    memory.write(path, ROWS)
    yield path
    path.unlink()


@pytest.fixture
def small_blocks(monkeypatch):
    """A thirtieth of the usual ones, as the file is of the benchmark's."""
    for module in (m3d_sklearn.layout, features):
        monkeypatch.setattr(module, "BLOCK", 2**18)
    monkeypatch.setattr(features, "HELD", 2**18)


@linux
@pytest.mark.parametrize(
    ("condenser", "bound"),
    [(Random(10, random_state=0), 30), (Herding(1), 30), (KCenter(1), 30)],
    ids=lambda value: name_of(type(value)) if hasattr(value, "fit") else str(value),
)
def test_coresets_take_a_fraction_of_the_file(condenser, bound, file, small_blocks):
    X, y = np.load(file, mmap_mode="r"), memory.labels(ROWS)
    condenser.fit(X[:1000], y[:1000])  # allocates what stays
    with memory.Peak() as peak:
        condenser.fit(X, y)
    assert peak.bytes < bound * MEGABYTE


@linux
def test_matching_takes_what_an_iteration_needs(file, small_blocks):
    """Whatever the number of rows: little more than for a sixtieth of them."""
    X, y = np.load(file, mmap_mode="r"), memory.labels(ROWS)
    condenser = M3DCondenser(1, max_iter=2, batch_real=16, pool=0, cache=0, random_state=0)
    peaks = []
    for n in (1000, 1000, ROWS):  # the first fit imports, and allocates what stays
        with memory.Peak() as peak:
            condenser.fit(X[:n], y[:n])
        peaks.append(peak.bytes)
    assert peaks[2] < peaks[1] + 30 * MEGABYTE


@linux
def test_the_peak_sees_what_is_taken_and_given_back():
    with memory.Peak() as peak:
        taken = np.ones(50 * MEGABYTE // 8)
        time.sleep(10 * memory.EVERY)
        del taken
    assert 45 * MEGABYTE < peak.bytes < 80 * MEGABYTE


def test_the_file_has_a_class_to_each_brightness(tmp_path):
    memory.write(tmp_path / "X.npy", 50)
    X = np.load(tmp_path / "X.npy")
    assert X.shape == (50, 32, 32, 3)
    assert X.dtype == np.uint8
    brightness = [X[memory.labels(50) == c].mean() for c in range(memory.CLASSES)]
    assert np.diff(brightness) == pytest.approx(12, abs=1)


@linux
def test_command_line_writes_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "in_a_process", memory.measured)
    file = tmp_path / "rows.jsonl"
    rows = memory.main(
        ["--rows", "40", "--methods", "Random", "--folder", str(tmp_path), "--json", str(file)]
    )
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows
    assert rows[0]["rows"] == 40
    assert "| Random | 40 | 0 |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]
