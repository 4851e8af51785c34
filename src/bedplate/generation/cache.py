"""The keys and values of texts under way: rows that come and go, in memory that the graph reads without a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bedplate.codecs.codec import PAST, PRESENT, TensorSpec
from bedplate.core.arrays import Arrays

LENGTH = f"{PAST}length"
GROWTH = 64
"""Room for tokens grows by so many: what isn't used yet is masked, and costs little."""


class Cache:
    """A past for each row.

    Rows lie side by side from the first on, whatever came and went, so that a batch's past is one view of memory.

    Args:
        past: the graph's inputs that carry the past, their row axis left out.
        context: how many tokens a row may have at most.

    Attributes:
        lengths: how many tokens of its past each row has, int32 [rows].
    """

    def __init__(self, past: Sequence[TensorSpec], context: int) -> None:
        self._specs = {spec.name: spec for spec in past if spec.name != LENGTH}
        self._axes = {name: 1 + spec.shape.index(-1) for name, spec in self._specs.items()}
        self._context = context
        self._places = 0
        self._room: dict[str, np.ndarray] = {}
        self.lengths = np.zeros(0, np.int32)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.lengths)

    def feed(self) -> dict[str, np.ndarray]:
        """Return the graph's inputs that carry the past of all rows."""
        return {LENGTH: self.lengths, **{name: array[: self.rows] for name, array in self._room.items()}}

    def append(self, lengths: Sequence[int], present: Arrays) -> None:
        """Add rows: what the graph gave for prompts of these lengths, filled up behind them."""
        before, rows = self.rows, self.rows + len(lengths)
        self.lengths = np.concatenate([self.lengths, np.asarray(lengths, np.int32)])
        self._make_room(rows, int(self.lengths.max()))
        for name, array in self._room.items():
            given = present[PRESENT + name.removeprefix(PAST)]
            axis = self._axes[name]
            size = min(given.shape[axis], array.shape[axis])
            target = np.moveaxis(array[before:rows], axis, 1)
            target[:, :size] = np.moveaxis(given, axis, 1)[:, :size]
            # What an earlier row left here must not be seen: marks of what was read are masked by nothing else.
            target[:, size:] = 0

    def write(self, present: Arrays) -> None:
        """Add what the graph gave for one new token of every row."""
        self._make_room(self.rows, int(self.lengths.max()) + 1)
        every = np.arange(self.rows)
        for name, array in self._room.items():
            axis = self._axes[name]
            given = np.moveaxis(present[PRESENT + name.removeprefix(PAST)], axis, 1)[:, 0]
            np.moveaxis(array, axis, 1)[every, self.lengths] = given
        self.lengths = self.lengths + 1

    def remove(self, row: int) -> None:
        """Take a row away; the last one takes its place."""
        last = self.rows - 1
        if row != last:
            for array in self._room.values():
                array[row] = array[last]
            self.lengths[row] = self.lengths[last]
        self.lengths = self.lengths[:last].copy()

    def take(self, rows: np.ndarray) -> None:
        """Make the cache hold these rows of it, in this order; one may come several times."""
        self.lengths = self.lengths[rows]
        for name, array in self._room.items():
            kept = array[rows]
            if len(rows) > len(array):
                self._room[name] = kept
            else:
                array[: len(rows)] = kept

    def _make_room(self, rows: int, length: int) -> None:
        """Hold at least so many rows and tokens; unused room is of zeros, since what is masked must be finite."""
        places = min(self._context, -(-length // GROWTH) * GROWTH)
        held = len(next(iter(self._room.values()), ()))
        if rows <= held and places <= self._places:
            return
        rows, self._places = max(rows, held if rows <= held else 2 * held), max(places, self._places)
        for name, spec in self._specs.items():
            shape = tuple(self._places if size < 0 else size for size in spec.shape)
            grown = np.zeros((rows, *shape), spec.dtype)
            old = self._room.get(name)
            if old is not None:
                grown[tuple(map(slice, old.shape))] = old
            self._room[name] = grown
