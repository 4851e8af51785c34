"""Sketches: histograms over fixed bins. They cost the same whatever is put in, add up, and are JSON.

The bins are those of the reference, so two sketches of one feature can always be added and compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_BINS = 12
MOST_VALUES = 30
MOST_KNOWN = 1000
MISSING = ""


@dataclass(frozen=True)
class NumberBins:
    """Bins of a number: `edges` (ascending) part the line, `low` and `high` bound what the reference held.

    Bin k holds edges[k-1] <= x < edges[k]; the outermost are open.
    """

    edges: tuple[float, ...]
    low: float
    high: float

    @property
    def size(self) -> int:
        """The number of cells, the last being for missing values."""
        return len(self.edges) + 2

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return the cell of every value (int64 [N]); NaN goes into the last."""
        cells = np.searchsorted(np.asarray(self.edges), values, side="right")
        return np.where(np.isnan(values), self.size - 1, cells)

    def outside(self, values: np.ndarray) -> int:
        """Return how many values lie outside what the reference held."""
        return int(((values < self.low) | (values > self.high)).sum())


@dataclass(frozen=True)
class CategoryBins:
    """Bins of a category: one a frequent value, then one for all other values, then one for missing ones.

    `known` are all values of the reference, or None where there were too many to keep.
    """

    values: tuple[str, ...]
    known: frozenset[str] | None
    _cells: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cells = {value: k for k, value in enumerate(self.values)}
        object.__setattr__(self, "_cells", cells | {MISSING: len(self.values) + 1})

    @property
    def size(self) -> int:
        """The number of cells: the values, other, missing."""
        return len(self.values) + 2

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return the cell of every value (int64 [N])."""
        other = len(self.values)
        return np.array([self._cells.get(value, other) for value in values.tolist()], dtype=np.int64)

    def outside(self, values: np.ndarray) -> int:
        """Return how many values the reference never held; 0 where that isn't known."""
        if self.known is None:
            return 0
        return sum(value != MISSING and value not in self.known for value in values.tolist())


Bins = NumberBins | CategoryBins


def number_bins(values: np.ndarray, most: int = MOST_BINS) -> NumberBins:
    """Return the quantile bins of a reference's values: about `most`, fewer where there are few rows or few values.

    Few distinct values get a bin each, parted half way between neighbours, and so does a value that fills one alone.
    """
    known = values[np.isfinite(values)]
    if known.size == 0:
        return NumberBins((), -np.inf, np.inf)
    distinct, counts = np.unique(known, return_counts=True)
    most = max(2, min(most, known.size // 20))
    if len(distinct) <= most:
        edges = (distinct[:-1] + distinct[1:]) / 2
    else:
        heavy = np.flatnonzero(counts * most >= known.size)
        alone = np.concatenate([distinct[heavy], distinct[np.minimum(heavy + 1, len(distinct) - 1)]])
        light = np.delete(distinct, heavy).repeat(np.delete(counts, heavy))
        bins = max(2, round(most * light.size / known.size))
        edges = np.unique(np.concatenate([np.quantile(light, np.arange(1, bins) / bins), alone]))
        edges = edges[edges > distinct[0]]
    return NumberBins(tuple(edges.tolist()), float(distinct[0]), float(distinct[-1]))


def category_bins(values: np.ndarray, most: int = MOST_VALUES) -> CategoryBins:
    """Return the bins of a reference's category: its `most` most frequent values, and all values that it held."""
    distinct, counts = np.unique(values[values != MISSING].astype(str), return_counts=True)
    order = np.lexsort((distinct, -counts))[:most]
    known = frozenset(distinct.tolist()) if len(distinct) <= MOST_KNOWN else None
    return CategoryBins(tuple(distinct[order].tolist()), known)


@dataclass
class Sketch:
    """One feature of some rows: counts a cell, how many lay outside the reference, and for numbers sum and squares."""

    counts: np.ndarray
    outside: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, bins: Bins, values: np.ndarray) -> Sketch:
        """Return the sketch of some values."""
        counts = np.bincount(bins.place(values), minlength=bins.size)
        if isinstance(bins, CategoryBins):
            return cls(counts, bins.outside(values))
        known = values[np.isfinite(values)]
        return cls(counts, bins.outside(values), float(known.sum()), float(np.square(known).sum()))

    @property
    def rows(self) -> int:
        """How many rows were put in."""
        return int(self.counts.sum())

    def plus(self, other: Sketch) -> Sketch:
        """Return the sketch of both sets of rows together."""
        return Sketch(
            self.counts + other.counts,
            self.outside + other.outside,
            self.total + other.total,
            self.squares + other.squares,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the sketch as JSON."""
        return {
            "counts": self.counts.tolist(), "outside": self.outside, "total": self.total, "squares": self.squares
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any], bins: Bins) -> Sketch:
        """Rebuild from `to_json()`; raises ValueError where it doesn't fit the bins."""
        counts = np.asarray(value["counts"], dtype=np.int64)
        sketch = cls(counts, int(value["outside"]), float(value["total"]), float(value["squares"]))
        if counts.shape != (bins.size,) or (counts < 0).any() or not 0 <= sketch.outside <= sketch.rows:
            raise ValueError(f"a sketch of {counts.shape} cells doesn't fit bins of {bins.size}")
        return sketch


Sketches = dict[str, Sketch]
"""One sketch a feature, all of the same rows."""


def sketch_rows(bins: Mapping[str, Bins], watched: Mapping[str, np.ndarray]) -> Sketches:
    """Return the sketches of some rows' watched figures (those that have bins)."""
    return {name: Sketch.of(bins[name], watched[name]) for name in bins if name in watched}


def merge(parts: Sequence[Sketches]) -> Sketches:
    """Return the sketches of all parts together; a feature must be in all of them."""
    merged = dict(parts[0]) if parts else {}
    for part in parts[1:]:
        merged = {name: sketch.plus(part[name]) for name, sketch in merged.items() if name in part}
    return merged
