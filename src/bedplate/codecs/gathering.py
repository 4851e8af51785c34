"""Bring rows at any times to steps of equal length, and fill short gaps: alike in training and for what is asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

How = Literal["mean", "sum", "first", "last", "min", "max"]

DAY = 86400.0
_MONDAY = 4 * DAY
"""1970-01-05: weeks begin on a Monday."""


def begins(utc: np.ndarray, wall: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which step each row lies in, int64 [rows], and when that begins on the clock on the wall [rows].

    Whole days are the wall's; shorter steps are UTC's, so that an hour that a clock has twice is two.

    Args:
        utc: the rows' seconds since 1970.
        wall: the same, as the clock on the wall has them.
        step: seconds of a step.
    """
    days = step % DAY == 0
    anchor = _MONDAY if step % (7 * DAY) == 0 else 0.0
    clock = wall if days else utc
    places = np.floor((clock - anchor) / step).astype(np.int64)
    starts = places * step + anchor
    return places, starts if days else starts + (wall - utc)


def gathered(places: np.ndarray, values: np.ndarray, how: How, steps: int) -> np.ndarray:
    """Return one value a step [steps, columns]: NaN where it has none; a sum of no rows is 0.

    Args:
        places: which step each row lies in [rows], 0 to steps - 1, from the earliest row to the latest.
        values: [rows, columns], NaN where one is missing.
        how: what becomes of the values in one step.
        steps: how many there are.
    """
    found = np.full((steps, values.shape[1]), np.nan)
    if how == "sum":
        found[np.bincount(places, minlength=steps) == 0] = 0.0
    for column, read in zip(found.T, values.T, strict=True):
        own = np.flatnonzero(np.isfinite(read))
        if len(own):
            bounds = np.flatnonzero(np.diff(places[own], prepend=-1))
            column[places[own][bounds]] = REDUCED[how](read[own], bounds)
    return found


def _means(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    counts = np.diff(bounds, append=len(values))
    return np.asarray(np.add.reduceat(values / np.repeat(counts, counts), bounds))


def _lasts(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.append(bounds[1:], len(values)) - 1])


REDUCED: dict[How, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": _means,
    "sum": lambda values, bounds: np.add.reduceat(values, bounds),
    "first": lambda values, bounds: values[bounds],
    "last": _lasts,
    "min": lambda values, bounds: np.minimum.reduceat(values, bounds),
    "max": lambda values, bounds: np.maximum.reduceat(values, bounds),
}
"""What becomes of the values in one step [values] that begin at `bounds` [steps]."""


def filled(values: np.ndarray, most: int) -> np.ndarray:
    """Return values [steps, columns] with gaps of at most `most` steps filled on the line between their neighbours."""
    found = values.copy()
    for column in found.T:
        known = np.flatnonzero(np.isfinite(column))
        for before, after in itertools.pairwise(known.tolist()):
            if 1 < after - before <= most + 1:
                column[before : after + 1] = np.linspace(column[before], column[after], after - before + 1)
    return found
