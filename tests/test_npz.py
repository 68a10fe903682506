import io
import os
import resource
import struct
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from m3d_sklearn.npz import read_arrays

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "scalar": np.array(0.5),
    "words": np.array(["a", "Äpfel"]),
    "empty": np.zeros((0, 3)),
}


def npy_of(array):
    made = io.BytesIO()
    npy.write_array(made, array)
    return made.getvalue()


def header_of(shape, descr="<f8"):
    """The bytes before an array's own, whatever they say."""
    made = io.BytesIO()
    npy.write_array_header_1_0(made, {"descr": descr, "fortran_order": False, "shape": shape})
    return made.getvalue()


def archived(path, method=zipfile.ZIP_DEFLATED, **entries):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def refused(path, match):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=match):
        read_arrays(path, ["X"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_and_no_other_name_is_read(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS, mine=np.array([object()]))
    found = read_arrays(tmp_path / "a.npz", [*ARRAYS, "absent"])
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_the_file_is_closed(tmp_path):
    path = archived(tmp_path / "a.npz", X=npy_of(np.zeros(3)))
    held = open_files()
    read_arrays(path, ["X"])
    refused(archived(path, X=header_of((4,))), "header says")
    assert open_files() == held


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("shape", [(10**15,), (2**40, 2**40), (10**9, 10**9, 0, 5), (3,), (-1,)])
def test_a_header_that_says_more_than_its_entry_has_is_refused(tmp_path, shape):
    content = header_of(shape) + bytes(8)
    refused(archived(tmp_path / "a.npz", X=content), "header says|negative|8 bytes")


@pytest.mark.parametrize(
    "array", [np.array([1, "a"], object), np.zeros(2, "i4,f8"), np.zeros(2, "V3")]
)
def test_objects_and_records_are_refused(tmp_path, array):
    refused(archived(tmp_path / "a.npz", X=npy_of(array)), "only plain values")


def test_items_of_no_bytes_are_refused(tmp_path):
    refused(archived(tmp_path / "a.npz", X=header_of((10**12,), "<U0")), "header says")


def declared(path, **sizes):
    """The archive, whose directory says other sizes: bytes 20 and 24 of its first entry."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    for name, place in {"compressed": 20, "whole": 24}.items():
        if name in sizes:
            struct.pack_into("<I", content, entry + place, sizes[name])
    path.write_bytes(content)
    return path


def test_sizes_in_the_directory_are_compared_with_the_file(tmp_path):
    path = archived(tmp_path / "a.npz", X=header_of((500_000_000,)) + bytes(8))
    refused(declared(path, whole=4_000_000_128), "says 4000000128 bytes, which .* cannot hold")
    refused(declared(path, compressed=4_000_000_000), "its entries say 4000000000")


def test_a_stored_entry_holds_its_own_bytes_and_no_more(tmp_path):
    path = archived(tmp_path / "a.npz", zipfile.ZIP_STORED, X=npy_of(np.zeros(3)))
    refused(declared(path, whole=100_000), "cannot hold")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    refused(archived(tmp_path / "a.npz", method, X=npy_of(np.zeros(9))), "compressed by method")


def test_other_versions_of_the_header_are_refused(tmp_path):
    content = b"\x93NUMPY\x03\x00" + npy_of(np.zeros(3))[8:]
    refused(archived(tmp_path / "a.npz", X=content), "version")


@pytest.mark.parametrize("order", "<>")
def test_text_of_impossible_characters_is_refused(tmp_path, order):
    """Found by the fuzzer: numpy makes a string of it, and json then raises a SystemError."""
    whole = np.array(["a\U0010ffff", "b"], f"{order}U2")
    found = read_arrays(archived(tmp_path / "a.npz", X=npy_of(whole)), ["X"])["X"]
    assert found.tolist() == whole.tolist()
    numbers = np.array([97, 0x110000], f"{order}u4")
    content = header_of((), f"{order}U2") + numbers.tobytes()
    refused(archived(tmp_path / "a.npz", X=content), "no text")
