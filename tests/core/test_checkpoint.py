import errno
import hashlib
import json
import os
import resource
import struct
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m3d_sklearn.core import checkpoint
from m3d_sklearn.core.checkpoint import FORMAT, MAGIC, read, remove_leftovers, write

TENSORS = {
    "float32": torch.tensor([[1.5, float("nan")], [-0.0, float("inf")]]),
    "bfloat16": torch.tensor([1.0, 2.5]).bfloat16(),
    "float64": torch.tensor(0.1, dtype=torch.float64),
    "integers": torch.arange(6).reshape(2, 3),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "booleans": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
}
TREE = {"n": 3, "best": float("inf"), "ä": None, "list": [1.25, {"deep": TENSORS}, "x", True]}


def same(one, other):
    """Whether two trees are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and checkpoint._bytes_of(one) == checkpoint._bytes_of(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


@pytest.fixture
def path(tmp_path):
    """A whole checkpoint."""
    write(tmp_path / "run.ckpt", TREE)
    return tmp_path / "run.ckpt"


def file_of(text, arrays=b"", known=FORMAT):
    """A file with a right checksum, whatever is in it."""
    lengths = struct.pack("<IQQ", known, len(text), len(arrays))
    return (
        MAGIC
        + lengths
        + hashlib.blake2b(lengths + text + arrays, digest_size=32).digest()
        + text
        + arrays
    )


def refused(path, content, match="checkpoint"):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)


# Round trips


def test_a_tree_survives_to_the_bit(path):
    assert same(read(path), TREE)
    assert os.listdir(path.parent) == ["run.ckpt"]


def test_the_same_tree_gives_the_same_bytes(path):
    before = path.read_bytes()
    write(path, TREE)
    assert path.read_bytes() == before


def test_what_is_read_belongs_to_nobody_else(path):
    first = read(path)
    first["list"][1]["deep"]["integers"].add_(1)
    assert same(read(path), TREE)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False)
        # JSON has no lone surrogates.
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner),
        max_leaves=10,
    )
)
@settings(max_examples=50, deadline=None)
def test_any_plain_tree_survives(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "any.ckpt"
    write(path, tree)
    assert same(read(path), tree)


@pytest.mark.parametrize("tree", [{"@": 1}, {1: 2}])
def test_names_that_could_not_be_told_apart_are_refused(tmp_path, tree):
    with pytest.raises(ValueError, match="names"):
        write(tmp_path / "run.ckpt", tree)
    assert os.listdir(tmp_path) == []


def test_unknown_dtypes_are_refused(tmp_path):
    with pytest.raises(TypeError, match="complex64"):
        write(tmp_path / "run.ckpt", torch.zeros(2, dtype=torch.complex64))


# Files that are no checkpoint


def test_a_torn_file_is_refused_at_every_length(path):
    content = path.read_bytes()
    for length in range(len(content)):
        refused(path, content[:length])
    refused(path, content + b"\0", "torn")


def test_a_flipped_bit_is_refused_wherever_it_is(path):
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        refused(path, damaged)


@pytest.mark.parametrize(
    "content", [b"hello", b"PK\x03\x04" * 50, bytes(200), b"\x80\x04" * 100, b"M3DCKPT\r" * 20]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    refused(tmp_path / "run.ckpt", content, "no checkpoint")


def test_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(ValueError, match="it is no file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(ValueError, match="it is no file"):
        read(tmp_path / "pipe")


def test_a_newer_format_asks_for_an_update(tmp_path):
    refused(tmp_path / "run.ckpt", file_of(b"{}", known=2), "format 2 and .* reads 1; update")


def peak_memory_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("lengths", [(10**15, 0), (0, 10**15), (2**64 - 1, 2**64 - 1), (1, 2**63)])
def test_a_hostile_header_takes_no_memory(tmp_path, lengths):
    before, start = peak_memory_mb(), time.monotonic()
    head = MAGIC + struct.pack("<IQQ", FORMAT, *lengths) + bytes(32)
    refused(tmp_path / "run.ckpt", head + bytes(100), "torn.*160 bytes")
    assert peak_memory_mb() - before < 50
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("arrays", "content"),
    [
        ([["float32", [10**15]]], b""),
        ([["float32", [2**62, 4]]], bytes(8)),
        ([["float32", [-1]]], b""),
        ([["float32", [-2, -1]]], bytes(8)),
        ([["float32", [1.0]]], bytes(4)),
        ([["float32", [True]]], bytes(4)),
        ([["float32", 1]], bytes(4)),
        ([["float32", [0, 2**70]]], b""),
        ([["object", [1]]], bytes(8)),
        ([["complex64", [1]]], bytes(8)),
        ([["uint8", [1]]], bytes(2)),
        ([["uint8", [3]]], bytes(2)),
        ([["uint8"]], b""),
        ([None], b""),
        (None, b""),
        ({"uint8": [1]}, bytes(1)),
        ([], b"1234"),
    ],
)
def test_hostile_arrays_with_a_right_checksum_are_refused(tmp_path, arrays, content):
    before = peak_memory_mb()
    text = json.dumps({"tree": {"@": 0}, "arrays": arrays}).encode()
    refused(tmp_path / "run.ckpt", file_of(text, content), "damaged")
    assert peak_memory_mb() - before < 50


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"tree": 1}',
        b'{"tree": {"@": 0}, "arrays": []}',
        b'{"tree": {"@": "x"}, "arrays": []}',
        b'{"tree": {"@": null}, "arrays": []}',
        b"[" * 200_000,
        b'{"arrays": [], "tree": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"arrays": [], "tree": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_hostile_json_with_a_right_checksum_is_refused(tmp_path, text):
    refused(tmp_path / "run.ckpt", file_of(text), "damaged")


def test_a_boolean_is_0_or_1_whatever_its_byte(tmp_path):
    text = b'{"tree": {"@": 0}, "arrays": [["bool", [3]]]}'
    (tmp_path / "run.ckpt").write_bytes(file_of(text, b"\x00\x01\xff"))
    assert read(tmp_path / "run.ckpt").tolist() == [False, True, True]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_mutation_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    write(folder / "whole.ckpt", TREE)
    content = (folder / "whole.ckpt").read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, len(content)))
    changed = content[:start] + data.draw(st.binary(max_size=40)) + content[stop:]
    if changed != content:
        refused(folder / "mutated.ckpt", changed)


# What goes wrong while it is written


@pytest.fixture
def limited_files():
    """No file of this process may grow beyond 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_good_file(path, request):
    before = path.read_bytes()
    request.getfixturevalue("limited_files")
    with pytest.raises(OSError, match="large") as caught:
        write(path, {"too much": torch.zeros(1000)})
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_any_failing_step_leaves_the_last_good_file(path, failing, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(checkpoint.os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, {"n": 4})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_interrupt_leaves_the_last_good_file(path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(checkpoint.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, {"n": 4})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "run.ckpt", TREE)


def test_bytes_reach_the_disk_before_the_name_and_the_name_after(path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        checkpoint.os,
        "fsync",
        lambda number: (
            done.append("folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file"),
            fsync(number),
        ),
    )
    monkeypatch.setattr(
        checkpoint.os, "replace", lambda *names: (done.append("name"), replace(*names))
    )
    write(path, TREE)
    assert done == ["file", "name", "folder"]


def test_leftovers_of_the_killed_are_removed_when_nobody_can_be_writing(path):
    old, new = (path.with_name(f"{checkpoint._partial(path)}{pid}") for pid in (1, 2))
    other = path.with_name(".another.ckpt.host.1")
    for leftover in (old, new, other):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    remove_leftovers(path)
    assert {p.name for p in path.parent.iterdir()} == {path.name, new.name, other.name}
    assert np.array_equal(read(path)["list"][1]["deep"]["integers"], TENSORS["integers"])
