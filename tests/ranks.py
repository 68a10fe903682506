"""Tests' own torchrun: a task in several processes at once, which come with all imported."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from killed_fits import PROCESSES

from m3d_sklearn import distributed

__all__ = ["begin", "in_ranks", "outcomes"]

WAIT = 120  # seconds for a whole test


def _rank(
    rank: int, size: int, port: int, timeout: float, answer: Connection, task: Callable, *args: Any
) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ["MASTER_ADDR"] = "localhost"
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # whatever the machine's own name leads to
    try:
        with distributed(timeout=timeout) as ranks:
            answer.send((True, task(ranks, *args)))
    except Exception as error:
        traceback.print_exc()
        answer.send((False, f"{type(error).__name__}: {error}"))


def begin(size: int, task: Callable, *args: Any, timeout: float = 60) -> list[tuple[Any, Any]]:
    """Processes that run ``task(ranks, *args)``, each with where its outcome will be."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    begun = []
    for rank in range(size):
        ours, theirs = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(
            target=_rank, args=(rank, size, port, timeout, theirs, task, *args), daemon=True
        )
        process.start()
        theirs.close()
        begun.append((process, ours))
    return begun


def outcomes(begun: list[tuple[Any, Any]]) -> list[tuple[bool, Any] | None]:
    """Of each process: whether its task ended well, and its result or error; None if killed."""
    found = []
    for process, answer in begun:
        try:
            found.append(answer.recv() if answer.poll(WAIT) else None)
        except EOFError:
            found.append(None)
        process.join(WAIT)
        assert not process.is_alive()
    return found


def in_ranks(size: int, task: Callable, *args: Any) -> list[Any]:
    """What ``task(ranks, *args)`` gives in each of several processes."""
    ended = outcomes(begin(size, task, *args))
    assert all(end is not None and end[0] for end in ended), ended
    return [result for _, result in ended]
