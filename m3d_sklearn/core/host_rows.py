"""Real rows that stay on the host, and reach the device as they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from m3d_sklearn.core.devices import send
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.sampling import ClassPools

__all__ = ["HostRows", "StreamedPools"]


class HostRows:
    """Rows that are read when they are indexed; those read first stay on the device.

    Parameters
    ----------
    read : callable
        Increasing row numbers, each once, to rows as a tensor on the host.
    shape : tuple of int
        (n, c, h, w) or (n, d).
    device : torch.device
    cache : int
        Bytes of rows that stay on the device. A row that is there is never read again.

    Notes
    -----
    Rows are the same bits, in the same memory order, as those of a tensor that holds all.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Tensor],
        shape: tuple[int, ...],
        device: torch.device,
        cache: int,
    ) -> None:
        self.read, self.shape, self.device = read, shape, device
        one = read(np.zeros(1, np.int64))
        self._strides, self.dtype = one.stride()[1:], one.dtype
        self._kept = self._empty(min(shape[0], cache // max(1, one.nbytes)))
        # With its number: the thread that reads ahead may have another current GPU.
        self.device = self._kept.device
        self._place = np.full(shape[0], -1)  # of a row among those kept
        self._n_kept = 0
        self._numbers = np.empty(0, np.int64)  # rows that were read ahead for this draw
        self._ahead: Future[Tensor] | None = None
        self._next: tuple[np.ndarray, Future[Tensor]] | None = None

    def __getitem__(self, index: Tensor) -> Tensor:
        """Rows by number, in any order and with repeats, on the device."""
        numbers, places = np.unique(index.cpu().numpy(), return_inverse=True)
        rows = self._empty(len(numbers))
        kept = self._place[numbers]
        found = kept >= 0
        self._fill(rows, found, self._kept, kept[found])
        if self._ahead is not None:
            ahead = self._among(numbers)
            use = ~found & (ahead >= 0)
            self._fill(rows, use, self._ahead.result, ahead[use])
            found |= use
        if not found.all():
            missing = numbers[~found]
            self._fill(rows, ~found, self._fetch(missing), np.arange(len(missing)))
        self._keep(numbers[kept < 0], rows, np.flatnonzero(kept < 0))
        return rows[send(torch.from_numpy(places), self.device)]

    def expect(self, numbers: np.ndarray) -> None:
        """Begin to read rows of the draw after this one, and turn to what was read for this."""
        self._numbers, self._ahead = self._next or (np.empty(0, np.int64), None)
        numbers = np.unique(numbers)
        numbers = numbers[self._place[numbers] < 0]
        reader = ThreadPoolExecutor(1)  # one a draw: nothing to close, whatever ends the run
        self._next = numbers, reader.submit(self._fetch, numbers)
        reader.shutdown(wait=False)

    def _fetch(self, numbers: np.ndarray) -> Tensor:
        return send(self.read(numbers), self.device)

    def _among(self, numbers: np.ndarray) -> np.ndarray:
        """Places of rows among those read ahead, −1 for others."""
        if not len(self._numbers):
            return np.full(len(numbers), -1)
        places = np.searchsorted(self._numbers, numbers).clip(max=len(self._numbers) - 1)
        return np.where(self._numbers[places] == numbers, places, -1)

    def _fill(
        self,
        rows: Tensor,
        where: np.ndarray,
        source: Tensor | Callable[[], Tensor],
        places: np.ndarray,
    ) -> None:
        if len(places):
            source = source if isinstance(source, Tensor) else source()
            to = send(torch.from_numpy(np.flatnonzero(where)), self.device)
            rows[to] = source[send(torch.from_numpy(places), self.device)]

    def _keep(self, numbers: np.ndarray, rows: Tensor, places: np.ndarray) -> None:
        """Keep new rows, as long as there is room."""
        room = min(len(numbers), len(self._kept) - self._n_kept)
        if room:
            last = self._n_kept + room
            self._kept[self._n_kept : last] = rows[
                send(torch.from_numpy(places[:room]), self.device)
            ]
            self._place[numbers[:room]] = np.arange(self._n_kept, last)
            self._n_kept = last

    def _empty(self, n: int) -> Tensor:
        """Room for rows, in the memory order that they are read in."""
        size = int(np.prod(self.shape[1:]))
        shape, strides = (n, *self.shape[1:]), (size, *self._strides)
        return torch.empty_strided(shape, strides, dtype=self.dtype, device=self.device)


class StreamedPools(ClassPools):
    """Class pools over :class:`HostRows`: the next draw's rows are read during this one.

    Row numbers are on the host. A class is shuffled once per pass over it, so its next rows
    are known before they are drawn unless the pass is at its end; the draws themselves stay
    the same function of the stream.
    """

    rows: HostRows  # type: ignore[assignment]
    own = slice(None)

    def only(self, classes: slice) -> None:
        self.own = classes

    @property
    def place(self) -> torch.device:
        return torch.device("cpu")

    def draw(self, batch: int, stream: Stream) -> Tensor:
        drawn = super().draw(batch, stream)
        self.rows.expect(self._following(batch))
        return drawn

    def _following(self, batch: int) -> np.ndarray:
        """Row numbers of the next draw, but for classes that it will shuffle first."""
        counts = self.batch_counts(batch)
        known = []
        for c in range(len(self.sizes))[self.own]:
            first, size = self._first[c], self.sizes[c]
            used = self._used[c] if counts[c] < size else 0
            if used + counts[c] <= size:
                known.append(self._shuffled[first + used : first + used + counts[c]])
        return torch.cat(known).numpy() if known else np.empty(0, np.int64)
