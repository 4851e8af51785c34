"""The stream of shards: what a position gives doesn't depend on the way to it, and faults reach who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.core.arrays import Arrays
from bedplate.core.errors import DataError
from bedplate.data.stream import ShardStream

SIZES = [7, 3, 9, 1, 8, 8, 2, 6, 5, 9]
TOTAL = sum(SIZES)
FIRST = np.cumsum([0, *SIZES])


def read(block: int) -> tuple[Arrays, np.ndarray]:
    """Rows that are their own numbers."""
    rows = np.arange(FIRST[block], FIRST[block + 1])
    return {"x": np.stack([rows, -rows], 1).astype(np.float32), "c": rows[:, None]}, rows


def stream(
    window: int = 20, reader: Callable[[int], tuple[Arrays, np.ndarray]] = read, workers: int = 1
) -> ShardStream:
    return ShardStream(SIZES, window, reader, fingerprint="f", row_bytes=16, workers=workers)


def rows(made: ShardStream, epoch: int, start: int, stop: int) -> list[int]:
    features, targets = made.batch(3, epoch, start, stop)
    np.testing.assert_array_equal(features["x"][:, 0], targets)
    np.testing.assert_array_equal(features["x"][:, 1], -targets)
    np.testing.assert_array_equal(features["c"][:, 0], targets)
    return targets.tolist()


@settings(deadline=None, max_examples=50)
@given(
    st.integers(9, 80),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, TOTAL - 1), st.integers(1, TOTAL)), min_size=1, max_size=8),
    st.sampled_from([1, 3]),
)
def test_a_position_gives_the_same_rows_whatever_was_asked_before(
    window: int, asked: list[tuple[int, int, int]], workers: int
) -> None:
    made = stream(window, workers=workers)
    epochs = [rows(stream(window), epoch, 0, TOTAL) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(TOTAL)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for epoch, start, length in asked:
        stop = min(start + length, TOTAL)
        assert rows(made, epoch, start, stop) == epochs[epoch][start:stop]
    made.release()


def test_a_batch_is_a_copy_that_later_windows_leave_alone() -> None:
    made = stream(10)
    first = made.batch(0, 0, 0, 4)
    kept = first[1].copy(), first[0]["x"].copy()
    for start in range(4, TOTAL):
        made.batch(0, 0, start, start + 1)
    np.testing.assert_array_equal(first[1], kept[0])
    np.testing.assert_array_equal(first[0]["x"], kept[1])
    made.release()


def test_going_on_reads_each_block_once_an_epoch_and_a_seek_reads_one_window_and_the_next() -> None:
    seen: list[int] = []

    def counting(block: int) -> tuple[Arrays, np.ndarray]:
        seen.append(block)
        return read(block)

    made = stream(12, counting)
    for start in range(0, TOTAL, 5):
        made.batch(0, 0, start, min(start + 5, TOTAL))
    made._next.wait()
    beyond = len(made.order(0, 1).blocks_of(0))
    assert sorted(seen[: len(seen) - beyond]) == list(range(len(SIZES)))
    seen.clear()
    made.batch(0, 7, TOTAL // 2, TOTAL // 2 + 1)
    made._next.wait()
    order = made.order(0, 7)
    window = order.window_at(TOTAL // 2)
    assert seen == [*order.blocks_of(window), *order.blocks_of(window + 1)]
    made.release()


def test_a_fault_in_the_thread_reaches_who_asks_and_the_stream_can_go_on() -> None:
    broken = {"block": 4}

    def faulty(block: int) -> tuple[Arrays, np.ndarray]:
        if block == broken["block"]:
            raise DataError("a row can't be read", where="b.parquet, row 7")
        return read(block)

    made = stream(12, faulty)
    with pytest.raises(DataError, match=r"b\.parquet, row 7"):
        rows(made, 0, 0, TOTAL)
    broken["block"] = -1
    assert sorted(rows(made, 0, 0, TOTAL)) == list(range(TOTAL))
    made.release()


def test_no_thread_stays_after_a_release() -> None:
    def slow(block: int) -> tuple[Arrays, np.ndarray]:
        time.sleep(0.002)
        return read(block)

    made = stream(12, slow)
    made.batch(0, 0, 0, TOTAL)
    made.release()
    assert not [thread for thread in threading.enumerate() if thread.name == "bedplate-stream"]
    assert sorted(rows(made, 0, 0, TOTAL)) == list(range(TOTAL)), "after a release it reads again"
    made.release()


def test_positions_outside_the_epoch_are_refused() -> None:
    for start, stop in ((0, TOTAL + 1), (5, 5), (-1, 3)):
        with pytest.raises(IndexError):
            stream().batch(0, 0, start, stop)


def test_it_says_what_it_holds() -> None:
    assert stream(20).memory_bytes == 2 * 20 * 24
    assert stream(1000).memory_bytes == 2 * TOTAL * 24
    assert len(stream()) == TOTAL
