import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import fuzz_loaders
from fuzz.fuzz_loaders import LOADED_BY, seeds, try_to_load
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("kind", LOADED_BY)
def test_the_seeds_load(kind, tmp_path):
    assert try_to_load(kind, seeds()[kind], tmp_path)


@pytest.mark.parametrize("kind", LOADED_BY)
@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_mutations_load_or_are_value_errors(kind, data, tmp_path_factory):
    content = seeds()[kind]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 20)))
        content = content[:start] + data.draw(st.binary(max_size=20)) + content[stop:]
    try_to_load(kind, content, tmp_path_factory.getbasetemp())


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed (extra fuzz)"
)
def test_a_short_run_of_the_fuzzer_finds_nothing():
    own = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, fuzz_loaders.__file__, "--seconds", "3"],
        env=os.environ | {"PYTHONPATH": own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
