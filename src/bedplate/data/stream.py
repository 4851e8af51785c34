"""Rows that are larger than memory: what training asks of a stream, and the stream of shards that answers.

Two windows of decoded rows are held: the one that batches are taken from, and the next one, which a thread fills
meanwhile. The thread lives as long as one window's filling, so there is nothing to shut down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from bedplate.core.arrays import Arrays, concatenate, take
from bedplate.core.machine import threads_granted
from bedplate.data.shard_order import EpochOrder, epoch_order


class RowStream(Protocol):
    """Training rows on disk, in an order that is a pure function of (seed, epoch) and can be entered anywhere."""

    fingerprint: str
    """The SHA-256 of what the rows are, so that a continued run can tell that they are the same."""

    memory_bytes: int
    """The most bytes of rows that it holds at a time."""

    def __len__(self) -> int:
        """Return the rows of one epoch."""
        ...

    def batch(self, seed: int, epoch: int, start: int, stop: int) -> tuple[Arrays, np.ndarray]:
        """Return the model's features and the targets at positions [start, stop) of the epoch's shuffled order.

        Going on from the last position is fast; any other position costs the same wherever it lies (O(1)).
        """
        ...

    def release(self) -> None:
        """Let go of the rows that are held; a later `batch` reads them again."""
        ...


ReadBlock = Callable[[int], tuple[Arrays, np.ndarray]]
"""Takes a block's number; returns its rows' features and targets. Called from other threads."""

_MOST_WORKERS = 8


class _Window:
    """Room for one window of rows, used again and again, and the thread that fills it."""

    def __init__(self, rows: int) -> None:
        self._room = rows
        self._arrays: dict[str, np.ndarray] = {}
        self._targets = np.empty(0)
        self._thread: threading.Thread | None = None
        self._stop = False
        self._failure: BaseException | None = None
        self.key: tuple[int, int, int] | None = None
        self.order = np.empty(0, np.int64)
        self.start = 0
        self._lock = threading.Lock()

    def begin(
        self, key: tuple[int, int, int], order: EpochOrder, sizes: Sequence[int], read: ReadBlock, workers: int
    ) -> None:
        """Start to fill it with window `key` (seed, epoch, window)."""
        self.key, self._failure, self._stop = key, None, False
        self._thread = threading.Thread(
            target=self._fill, args=(order, key[2], sizes, read, workers), name="bedplate-stream"
        )
        self._thread.start()

    def _fill(self, order: EpochOrder, window: int, sizes: Sequence[int], read: ReadBlock, workers: int) -> None:
        try:
            blocks = order.blocks_of(window).tolist()
            ends = np.cumsum([sizes[block] for block in blocks]).tolist()
            starts = [0, *ends[:-1]]

            def place(block: int, start: int) -> None:
                if not self._stop:
                    self._put(*read(block), start)

            if workers == 1:
                for block, start in zip(blocks, starts, strict=True):
                    place(block, start)
            else:
                with ThreadPoolExecutor(workers) as pool:
                    for _ in pool.map(place, blocks, starts):
                        pass
            self.order = order.rows_of(window)
            self.start = int(order.start[window])
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for the window
            self._failure = error
            self._stop = True

    def _put(self, features: Arrays, targets: np.ndarray, start: int) -> None:
        """Copy a block's rows to their place."""
        with self._lock:
            if not self._arrays:
                self._arrays = {
                    name: np.empty((self._room, *array.shape[1:]), array.dtype) for name, array in features.items()
                }
                self._targets = np.empty(self._room, targets.dtype)
        stop = start + len(targets)
        for name, array in features.items():
            self._arrays[name][start:stop] = array
        self._targets[start:stop] = targets

    def wait(self) -> None:
        """Wait until it is filled; raise what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure, self.key = self._failure, None, None
            raise failure

    def drop(self) -> None:
        """Stop filling it, and forget what it was to hold."""
        self._stop = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._failure = self.key = None

    def rows(self, start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return copies of the rows at [start, stop) of the epoch, as far as they lie in this window."""
        chosen = self.order[max(start - self.start, 0) : stop - self.start]
        return take(self._arrays, chosen), self._targets[chosen]


class ShardStream:
    """A `RowStream` of blocks.

    Args:
        block_rows: the rows of each block.
        window_rows: the most rows in a window; no block has more.
        read: reads and decodes a block.
        fingerprint: of the blocks and of what they are decoded to.
        row_bytes: of one row's decoded features.
        workers: threads that decode; left out: all but one that the machine grants, 8 at most.
    """

    def __init__(
        self,
        block_rows: Sequence[int],
        window_rows: int,
        read: ReadBlock,
        *,
        fingerprint: str,
        row_bytes: int,
        workers: int | None = None,
    ) -> None:
        self.fingerprint = fingerprint
        self._sizes, self.window_rows, self._read = list(block_rows), window_rows, read
        self._rows = sum(self._sizes)
        self._room = min(window_rows, self._rows)
        self.memory_bytes = 2 * self._room * (row_bytes + 8)
        self._workers = workers or max(1, min(_MOST_WORKERS, threads_granted() - 1))
        self._orders: dict[tuple[int, int], EpochOrder] = {}
        self._now, self._next = _Window(self._room), _Window(self._room)

    def __len__(self) -> int:
        """Return the rows of one epoch."""
        return self._rows

    def order(self, seed: int, epoch: int) -> EpochOrder:
        """Return an epoch's order; the last few are kept."""
        if (seed, epoch) not in self._orders:
            while len(self._orders) > 2:
                del self._orders[next(iter(self._orders))]
            self._orders[seed, epoch] = epoch_order(self._sizes, self.window_rows, seed, epoch)
        return self._orders[seed, epoch]

    def batch(self, seed: int, epoch: int, start: int, stop: int) -> tuple[Arrays, np.ndarray]:
        """Return the features and targets at positions [start, stop) of the epoch's order.

        Raises:
            DataError: a shard is gone, changed or damaged, or a row can't be read; it names file and row.
        """
        if not 0 <= start < stop <= self._rows:
            raise IndexError(f"positions {start} to {stop} of {self._rows} rows")
        order = self.order(seed, epoch)
        parts = []
        for window in range(order.window_at(start), order.window_at(stop - 1) + 1):
            parts.append(self._window(order, window).rows(start, stop))
        if len(parts) == 1:
            return parts[0]
        return concatenate([features for features, _ in parts]), np.concatenate([targets for _, targets in parts])

    def release(self) -> None:
        """Let go of both windows."""
        self._now.drop()
        self._next.drop()
        self._now, self._next = _Window(self._room), _Window(self._room)

    def _window(self, order: EpochOrder, window: int) -> _Window:
        """Return a window, filled, and have the one after it filled meanwhile."""
        key = (order.seed, order.epoch, window)
        if self._now.key == key:
            return self._now
        if self._next.key == key:
            self._now, self._next = self._next, self._now
        else:
            self._next.drop()  # not what was foreseen: another position, or another epoch
            self._now.drop()
            self._now.begin(key, order, self._sizes, self._read, self._workers)
        self._now.wait()
        after, then = (
            (order, window + 1) if window + 1 < order.windows else (self.order(order.seed, order.epoch + 1), 0)
        )
        self._next.begin((after.seed, after.epoch, then), after, self._sizes, self._read, self._workers)
        return self._now
