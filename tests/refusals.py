"""How bad input has to end: in words, in time, in our own code, with nothing left behind."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

__all__ = ["REFUSALS", "assert_refused", "assert_told"]

REFUSALS = (ValueError, TypeError)  # and NotFittedError, which is a ValueError
SECONDS = 60  # on a busy machine; all of them take less than a few
TORCH = Path(torch.__file__).parent


def assert_refused(call: Callable[[], Any], *estimators: Any) -> BaseException:
    """The refusal that a call ends in, and that it leaves these estimators as they were.

    They keep every attribute that they had, the same object each, and get none. What is
    raised was raised outside torch, within SECONDS.
    """
    before = [dict(vars(estimator)) for estimator in estimators]
    with in_time(), pytest.raises(REFUSALS) as refusal:
        call()
    raised_in = Path(refusal.traceback[-1].path)
    assert TORCH not in raised_in.parents, f"raised inside torch: {raised_in}"
    for estimator, had in zip(estimators, before, strict=True):
        assert vars(estimator).keys() == had.keys()
        assert all(vars(estimator)[name] is value for name, value in had.items())
    return refusal.value


def assert_told(refusal: BaseException, parameter: str, words: str) -> None:
    """That a refusal names the parameter, and says what is allowed or what came."""
    message = str(refusal).replace("\n", " ")
    assert parameter in message
    assert re.search(words, message, re.IGNORECASE), f"{words!r} is not in: {message}"


@contextmanager
def in_time() -> Iterator[None]:
    """Fail what hangs."""

    def late(*_: Any) -> None:
        raise AssertionError(f"no refusal in {SECONDS} seconds")

    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
