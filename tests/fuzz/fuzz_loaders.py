"""Fuzz target over everything that is loaded from a file: it works, or it is a ValueError.

    python tests/fuzz/fuzz_loaders.py --seconds 600

A checksum would keep a fuzzer out, and so would a zip's: two of the targets put the right ones
around what it makes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import sys
import tempfile
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas  # noqa: F401 - its own code is not to be fuzzed
import torch

LOADED_BY = ("checkpoint", "checkpoint with its checksum", "set", "set with its sums", "TOML")
TOML = b"""datasets = ["digits"]
ipc = [1, 10]
out = "results"
steps = "epochs"
methods.rbf = { method = "m3d", kernel = "rbf" }
[set.m3d]
max_iter = 10
when = 2020-01-01T00:00:00Z
"""


@cache
def seeds() -> dict[str, bytes]:
    """A good file of each kind; of a kind with its sums, what goes inside them."""
    from m3d_sklearn import Random
    from m3d_sklearn.core import checkpoint

    tree = {"n": 1, "x": [torch.arange(3.0), {"y": torch.tensor(True)}], "z": None}
    X, y = np.arange(64.0).reshape(4, 4, 4), np.array(["a", "b"] * 2, dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.ckpt")
        checkpoint.write(path, tree)
        run = path.read_bytes()
        labelled = replace(Random(1).fit(X, y).condensed_, soft_labels=np.eye(2))
        saved = labelled.save(Path(folder, "set"))
        condensed = saved.read_bytes()
    header = struct.unpack("<IQQ", run[8:28])
    with zipfile.ZipFile(io.BytesIO(condensed)) as archive:
        place, about = archive.namelist().index("about.npy"), archive.read("about.npy")
    return {
        "checkpoint": run,
        "checkpoint with its checksum": struct.pack("<H", header[1]) + run[60:],
        "set": condensed,
        "set with its sums": bytes([place]) + about,
        "TOML": TOML,
    }


@cache
def entries() -> dict[str, bytes]:
    """Entries of a good set."""
    with zipfile.ZipFile(io.BytesIO(seeds()["set"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def content(kind: str, data: bytes) -> bytes:
    """The file of a kind that a fuzzer's bytes stand for."""
    if kind == "checkpoint with its checksum":
        body, (n_text,) = data[2:], struct.unpack("<H", data[:2].ljust(2, b"\0"))
        n_text = min(n_text, len(body))
        lengths = struct.pack("<IQQ", 1, n_text, len(body) - n_text)
        digest = hashlib.blake2b(lengths + body, digest_size=32).digest()
        return b"M3DCKPT\n" + lengths + digest + body
    if kind == "set with its sums":
        changed = list(entries())[data[0] % len(entries())] if data else ""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, own in entries().items():
                archive.writestr(name, data[1:] if name == changed else own)
        return made.getvalue()
    return data


def load(kind: str, path: Path) -> None:
    """Load a file of a kind.

    Raises
    ------
    ValueError
        Anything else is what is looked for.
    """
    from m3d_sklearn import CondensedSet
    from m3d_sklearn.cli._compare import read_configuration
    from m3d_sklearn.core import checkpoint

    if kind.startswith("checkpoint"):
        checkpoint.read(path)
    elif kind.startswith("set"):
        condensed = CondensedSet.load(path)
        condensed.decode()
        repr(condensed)
    else:
        read_configuration(path)


def try_to_load(kind: str, data: bytes, folder: Path) -> bool:
    """Whether a fuzzer's bytes load; a ValueError says no."""
    path = folder / "file"
    path.write_bytes(content(kind, data))
    try:
        load(kind, path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError("an error that does not name the file") from error
        return False
    return True


def fuzz(seconds: int, options: list[str]) -> None:
    """Let atheris try; it ends the process, with a trace where something else was raised."""
    import atheris

    with atheris.instrument_imports(include=["m3d_sklearn", "tomllib"]):
        import m3d_sklearn.cli._compare  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, kind in enumerate(LOADED_BY):
            (corpus / str(number)).write_bytes(bytes([number]) + seeds()[kind])

        def one_input(data: bytes) -> None:
            if data:
                kind = LOADED_BY[data[0] % len(LOADED_BY)]
                try_to_load(kind, data[1:], Path(folder))

        limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *limits, "-max_len=8192", *options, str(corpus)], one_input)
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long (600)")
    chosen, options = parser.parse_known_args()  # the rest is libFuzzer's
    fuzz(chosen.seconds, options)


if __name__ == "__main__":
    main()
