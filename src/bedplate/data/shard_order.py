"""In which order shards give their rows: a pure function of seed and epoch, shuffled, that can be entered anywhere.

A row has no address of its own in a shard that must be read in blocks (a Parquet row group, a stretch of a tar), so the
order is made of two shuffles: the blocks of the whole set are permuted, then taken together, in that order, into
windows that fit into memory, and the rows of a window are permuted. A position is found by a binary search, and what it
needs is one window. How far rows mix is therefore the window's size; where all rows fit into one, it is a whole
permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedplate.core.seeds import generator


@dataclass(frozen=True)
class EpochOrder:
    """One epoch: its blocks in their order, cut into windows.

    Attributes:
        blocks: [blocks], a permutation.
        first: [windows + 1], window `w` holds the blocks `first[w]` to `first[w + 1]` of the permutation.
        start: [windows + 1], window `w` holds the positions `start[w]` to `start[w + 1]` of the epoch.
    """

    seed: int
    epoch: int
    blocks: np.ndarray
    first: np.ndarray
    start: np.ndarray

    @property
    def windows(self) -> int:
        """How many windows the epoch has."""
        return len(self.start) - 1

    def window_at(self, position: int) -> int:
        """Return the window that holds a position of the epoch."""
        return int(np.searchsorted(self.start, position, "right")) - 1

    def blocks_of(self, window: int) -> np.ndarray:
        """Return a window's blocks."""
        return self.blocks[self.first[window] : self.first[window + 1]]

    def rows_of(self, window: int) -> np.ndarray:
        """Return, position by position, the row within the window: its blocks' rows one after the other, shuffled."""
        size = int(self.start[window + 1] - self.start[window])
        return generator(self.seed, "shuffle", self.epoch, window).permutation(size)


def epoch_order(block_rows: Sequence[int], window_rows: int, seed: int, epoch: int) -> EpochOrder:
    """Return the order of an epoch.

    Args:
        block_rows: the rows of each block, none of them 0 or above `window_rows`.
        window_rows: the most rows in a window.
        seed: the run's seed.
        epoch: from 0.
    """
    sizes = np.asarray(block_rows, np.int64)
    blocks = generator(seed, "shuffle", epoch).permutation(len(sizes))
    first, start, held, total = [0], [0], 0, 0
    for place, size in enumerate(sizes[blocks].tolist()):
        if held + size > window_rows and held:
            first.append(place)
            start.append(total)
            held = 0
        held += size
        total += size
    return EpochOrder(
        seed, epoch, blocks, np.array([*first, len(sizes)], np.int64), np.array([*start, total], np.int64)
    )


def spread_over(block_rows: Sequence[int], wanted: int, most_blocks: int = 128) -> list[tuple[int, np.ndarray]]:
    """Return (block, its rows) of a sample spread evenly: from at most `most_blocks` blocks, about `wanted` rows.

    Every row is taken where there are no more than `wanted` and no more blocks than `most_blocks`.
    """
    chosen = np.unique(np.linspace(0, len(block_rows) - 1, min(most_blocks, len(block_rows))).round().astype(int))
    sizes = np.asarray(block_rows, np.int64)[chosen]
    wanted = min(wanted, int(sizes.sum()))
    edges = np.round(np.cumsum(sizes) * (wanted / sizes.sum())).astype(int)
    counts = np.diff(edges, prepend=0)
    return [
        (int(block), np.unique(np.linspace(0, size - 1, count).round().astype(int)))
        for block, size, count in zip(chosen, sizes, counts, strict=True)
        if count
    ]
