"""SIGTERM to a process whose workers are at cells."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["workers_end_too"]


class Terminated(BaseException):
    """SIGTERM, as Ctrl-C is a KeyboardInterrupt: joblib ends its workers on the way out."""


@contextmanager
def workers_end_too() -> Iterator[None]:
    """Let SIGTERM end this process only after its workers: they would go on for hours.

    A handler of the caller's own stays as it is.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated
