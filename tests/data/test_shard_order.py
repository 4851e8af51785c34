"""The order of streamed rows: each row once an epoch, another order each epoch, and any position without the others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.core.seeds import generator
from bedplate.data.shard_order import epoch_order, spread_over

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def plain_order(block_rows: list[int], window_rows: int, seed: int, epoch: int) -> Iterator[tuple[int, int]]:
    """Yield (block, row) of a whole epoch, written as plainly as can be: the twin of `epoch_order`."""
    windows: list[list[int]] = [[]]
    for block in generator(seed, "shuffle", epoch).permutation(len(block_rows)):
        if windows[-1] and sum(block_rows[b] for b in windows[-1]) + block_rows[block] > window_rows:
            windows.append([])
        windows[-1].append(int(block))
    for number, blocks in enumerate(windows):
        rows = [(block, row) for block in blocks for row in range(block_rows[block])]
        for place in generator(seed, "shuffle", epoch, number).permutation(len(rows)):
            yield rows[place]


def whole(block_rows: list[int], window_rows: int, seed: int, epoch: int) -> list[tuple[int, int]]:
    """Return the epoch as `epoch_order` gives it."""
    order = epoch_order(block_rows, window_rows, seed, epoch)
    found = []
    for window in range(order.windows):
        rows = [(int(block), row) for block in order.blocks_of(window) for row in range(block_rows[block])]
        assert len(rows) <= window_rows
        found += [rows[place] for place in order.rows_of(window)]
    return found


@settings(deadline=None)
@given(sizes, st.integers(9, 60), st.integers(0, 2**40), st.integers(0, 5))
def test_it_is_the_plain_order_and_gives_every_row_once(
    block_rows: list[int], window_rows: int, seed: int, epoch: int
) -> None:
    found = whole(block_rows, window_rows, seed, epoch)
    assert found == list(plain_order(block_rows, window_rows, seed, epoch))
    assert sorted(found) == [(block, row) for block, size in enumerate(block_rows) for row in range(size)]


@settings(deadline=None)
@given(sizes, st.integers(9, 60), st.integers(0, 1000))
def test_a_position_is_found_in_its_window(block_rows: list[int], window_rows: int, seed: int) -> None:
    order = epoch_order(block_rows, window_rows, seed, 0)
    for position in range(sum(block_rows)):
        window = order.window_at(position)
        assert order.start[window] <= position < order.start[window + 1]


def test_epochs_and_seeds_differ_in_blocks_and_in_rows() -> None:
    blocks = [5] * 40
    first = whole(blocks, 50, 1, 0)
    assert first != whole(blocks, 50, 1, 1)
    assert first != whole(blocks, 50, 2, 0)
    assert first == whole(blocks, 50, 1, 0)
    one_window = [whole([8], 8, 1, epoch) for epoch in range(2)]
    assert one_window[0] != one_window[1], "where all rows lie in one window, it is shuffled anew each epoch"


def test_rows_of_one_block_do_not_follow_one_another() -> None:
    order = whole([10] * 30, 100, 0, 0)
    together = sum(one[0] == other[0] for one, other in pairwise(order))
    assert together < 50, "in a window of ten blocks, about one row in ten follows one of its own block"


@settings(deadline=None)
@given(sizes, st.integers(1, 100), st.integers(1, 40))
def test_a_sample_is_spread_and_has_the_size_asked_for(block_rows: list[int], wanted: int, most: int) -> None:
    found = spread_over(block_rows, wanted, most)
    blocks = [block for block, _ in found]
    assert blocks == sorted(set(blocks))
    assert len(blocks) <= most
    for block, rows in found:
        assert len(set(rows.tolist())) == len(rows)
        assert ((rows >= 0) & (rows < block_rows[block])).all()
    held = sum(len(rows) for _, rows in found)
    if most >= len(block_rows):
        assert held == min(wanted, sum(block_rows))
    assert 1 <= held <= wanted


def test_a_sample_reaches_both_ends() -> None:
    found = spread_over([100] * 1000, 500, 100)
    assert found[0][0] == 0
    assert found[-1][0] == 999
    assert np.ptp([len(rows) for _, rows in found]) == 0
