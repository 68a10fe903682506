"""Fixtures that the tests of the benchmark and of the command line share."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    """No test reads or writes the folders of whoever runs it, M3D_DATA's or the home."""
    monkeypatch.delenv("M3D_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def one_thread():
    """Shapes here are too small to share out: threads that wait cost ten times the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _states():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numpy_state


@pytest.fixture
def globals_untouched():
    """Fails where the test moved a global random generator or a filter of warnings."""
    before, filters, show = _states(), list(warnings.filters), warnings.showwarning
    yield
    untouched = _states() == before  # apart, or pytest prints thousands of numbers
    assert untouched, "a global random generator was moved"
    assert warnings.filters == filters
    assert warnings.showwarning is show
