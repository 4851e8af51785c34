"""Rows that are larger than memory: what training asks of a stream."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bedplate.core.arrays import Arrays


class RowStream(Protocol):
    """Training rows on disk, in an order that is a pure function of (seed, epoch) and can be entered anywhere."""

    fingerprint: str
    """The SHA-256 of what the rows are, so that a continued run can tell that they are the same."""

    def __len__(self) -> int:
        """Return the rows of one epoch."""
        ...

    def batch(self, seed: int, epoch: int, start: int, stop: int) -> tuple[Arrays, np.ndarray]:
        """Return the model's features and the targets at positions [start, stop) of the epoch's shuffled order.

        Going on from the last position is fast; any other position costs the same wherever it lies (O(1)).
        """
        ...
