"""When a run is written to its checkpoint: every so often, at its end, and before it is stopped."""

from __future__ import annotations

import math
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from m3d_sklearn.core import checkpoint
from m3d_sklearn.core.checkpoint import CheckpointError
from m3d_sklearn.core.distributed import Alone
from m3d_sklearn.core.recipe import LOSS_EVERY, UNLIMITED
from m3d_sklearn.core.state import Stateful, load_parts, parts_state, whole_number

__all__ = ["Keeper", "Unkept", "interval"]

SECONDS = {"s": 1, "min": 60, "h": 3600}
SIGNALS = signal.SIGTERM, signal.SIGINT
SHOWN = 60  # characters of a value in an error
# What a tree raises that has the right checksum and is no state of this run.
MISFIT = LookupError, TypeError, ValueError, AttributeError, ArithmeticError


def interval(every: int | str) -> tuple[float, float]:
    """Iterations and seconds between two checkpoints; the one that was not named is infinite.

    Parameters
    ----------
    every : int or str
        Iterations, or a time such as "60s", "5min" or "1.5h".

    Raises
    ------
    ValueError

    Examples
    --------
    >>> from m3d_sklearn.core.keeper import interval
    >>> interval(100), interval("5min")
    ((100, inf), (inf, 300.0))
    """
    if not isinstance(every, str):
        return every, math.inf
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(s|min|h)", every)
    if found is None or not float(found[1]):
        raise ValueError(
            "checkpoint_every must be a number of iterations, 1 or more, or a time above 0 such "
            f"as '60s', '5min' or '1.5h'; got {every!r}."
        )
    return math.inf, float(found[1]) * SECONDS[found[2]]


class Unkept:
    """Stands in for a :class:`Keeper` where no checkpoint was asked for."""

    n_iter = 0

    def restore(self, parts: Mapping[str, Stateful]) -> bool:
        return False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def between(self, n_iter: int) -> None:
        pass

    def write(self, finished: bool) -> None:
        pass


class Keeper(Unkept):
    """Writes the checkpoints of one run, and goes on from one.

    As a context it takes SIGTERM and SIGINT, in the main thread: the iteration is finished, a
    last checkpoint is written, and then the signal does what it would have done. A second
    SIGINT does so at once. Ignored signals stay ignored.

    Parameters
    ----------
    path : Path
        What it holds is read at once.
    every : int or str
        As for :func:`interval`.
    errors : {"warn", "raise"}
        What a checkpoint that cannot be written does to the run.
    ranks : Alone or Ranks
        Who runs this together: all read, the first one writes, and whether it is time they
        agree on every LOSS_EVERY iterations.

    Raises
    ------
    ValueError
        For an `every` that is no interval, a folder that does not exist or cannot be written
        to, and a file that is no whole checkpoint.
    """

    def __init__(
        self, path: Path, every: int | str, errors: str, ranks: Alone | None = None
    ) -> None:
        self.every_iterations, self.every_seconds = interval(every)
        self.path, self.errors, self.ranks = path.resolve(), errors, ranks or Alone()
        folder = self.path.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise ValueError(f"checkpoint must be in a folder that can be written to; got {path}.")
        checkpoint.remove_leftovers(self.path)
        self.saved = checkpoint.read(self.path) if os.path.lexists(self.path) else None
        self.last = time.monotonic()
        self.pending: tuple[int, FrameType | None] | None = None
        self.handlers: dict[int, Any] = {}

    def open(
        self,
        identity: Mapping[str, Any],
        environment: Mapping[str, Any],
        words: Mapping[str, str] | None = None,
    ) -> None:
        """Say what is run, and compare it with what the checkpoint is of.

        Parameters
        ----------
        identity : mapping of names to what JSON can hold
            All that the result depends on.
        environment : mapping, likewise
            What the last bits depend on: a UserWarning tells where it differs.
        words : mapping of names to str, optional
            What an error says of a value of the identity that the caller has not seen.

        Raises
        ------
        CheckpointError
            That names what differs.
        ValueError
            If not all ranks see the same checkpoint.
        """
        seen = self.ranks.collect(None if self.saved is None else _done(self.saved))
        if any(done != seen[0] for done in seen):
            raise ValueError(
                f"checkpoint must be in a folder that all ranks see; {self.path} is not the same "
                "file for all of them."
            )
        self.about = {"identity": dict(identity), "environment": dict(environment)}
        self.words = dict(words or {})
        if self.saved is None:
            return
        try:
            told = dict(self.saved.get("words", {})), self.words  # earlier versions kept none
            other, changed = (_differences(self.saved[k], self.about[k], *told) for k in self.about)
            self.n_iter = whole_number(_done(self.saved), UNLIMITED, "n_iter")
            self.finished = self.saved["finished"] is True
        except MISFIT as error:
            raise self._misfit(error) from error
        if other:
            raise CheckpointError(
                f"{self.path} is the checkpoint of another fit: {', '.join(other)}. It goes on "
                "with its own parameters and data alone; begin anew with another path."
            )
        if changed:
            warnings.warn(
                f"{self.path} was written elsewhere: {', '.join(changed)}. The run goes on, and "
                "its last bits may differ from an unbroken one's.",
                stacklevel=2,
            )

    def restore(self, parts: Mapping[str, Stateful]) -> bool:
        """Put the saved state in place, where there is one; whether that run was over.

        Raises
        ------
        CheckpointError
            If a part cannot give its state, or the saved one does not fit.
        """
        for name, part in parts.items():
            if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
                raise CheckpointError(
                    f"checkpoint needs {name} that have state_dict and load_state_dict; "
                    f"{type(part).__name__} has not. Use checkpoint=None."
                )
        self.parts = parts
        if self.saved is None:
            return False
        try:
            load_parts(parts, self.saved["run"])
        except MISFIT as error:
            raise self._misfit(error) from error
        self.saved = None  # which may be large
        return self.finished

    def _misfit(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is a checkpoint that does not fit this run: {error!r}."
        )

    def write(self, finished: bool) -> None:
        """Write the run as it stands, between two iterations.

        Raises
        ------
        OSError
            If that fails and `errors` is "raise".
        CheckpointError
            If a part's state is what no checkpoint can hold.
        """
        run = parts_state(self.parts)
        failure = None
        if self.ranks.rank == 0:
            try:
                about = self.about | {"words": self.words}
                checkpoint.write(self.path, about | {"finished": finished, "run": run})
            except OSError as error:
                failure = error
            except (TypeError, ValueError) as error:
                raise CheckpointError(
                    f"checkpoint cannot hold the state of this run ({error}). Use checkpoint=None."
                ) from error
        failure = self.ranks.agree(failure)
        if failure is not None:
            said = (
                f"checkpoint {self.path} could not be written ({failure}); what it held before "
                "is untouched"
            )
            if self.errors == "raise":
                raise OSError(f"{said}.") from failure
            warnings.warn(f"{said}, and the fit goes on.", stacklevel=2)
        self.n_iter, self.last = run["progress"]["n_iter"], time.monotonic()

    def between(self, n_iter: int) -> None:
        """Write if it is time to, or if a signal has come, which is then let through."""
        if self.ranks.size > 1 and n_iter % LOSS_EVERY:
            return
        stopped = self.pending is not None
        due = (
            stopped
            or n_iter - self.n_iter >= self.every_iterations
            or time.monotonic() - self.last >= self.every_seconds
        )
        if any(self.ranks.collect(due)):
            self.write(finished=False)
        if stopped:
            self._let_through()
            self.__enter__()

    def __enter__(self) -> None:
        self.owner = os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            # None is a handler that was not set from Python, and cannot be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self.handlers[number] = signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        self._let_through()

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal until the iteration is over."""
        impatient = self.pending is not None and self.pending[0] == number == signal.SIGINT
        first = self.pending is None
        if first or impatient:
            self.pending = number, frame
        if impatient or os.getpid() != self.owner:  # a fork has no checkpoint to write
            self._let_through()

    def _let_through(self) -> None:
        """Put the handlers back, and let a signal that has come do what it does."""
        handlers, self.handlers = self.handlers, {}
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if self.pending is None:
            return
        (number, frame), self.pending = self.pending, None
        if callable(handlers[number]):
            handlers[number](number, frame)
        else:
            signal.raise_signal(number)


def _done(saved: Any) -> Any:
    """The iterations that a tree speaks of, where it does."""
    try:
        return saved["run"]["progress"]["n_iter"]
    except MISFIT:
        return None


def _differences(
    saved: Mapping[str, Any],
    given: Mapping[str, Any],
    saved_words: Mapping[str, str],
    words: Mapping[str, str],
) -> list[str]:
    unsaid = dict.fromkeys((*saved_words, *words), "another")
    there, here = unsaid | dict(saved_words), unsaid | dict(words)
    return [
        f"{name} ({_told(name, saved, there)} there, {_told(name, given, here)} here)"
        for name in dict.fromkeys([*given, *saved])
        if saved.get(name) != given.get(name)
    ]


def _told(name: str, values: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """A value, or the words for it, shortened."""
    value = values.get(name)
    text = repr(value) if value is None or name not in words else str(words[name])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
