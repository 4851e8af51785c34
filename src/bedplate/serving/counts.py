"""What one model has done since it was loaded, as perf tools ask for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bedplate.serving.tallies import Buckets

MICROSECONDS = tuple(10 * 1.8**n for n in range(33))
"""Bounds of TensorFlow Serving's histograms of times, in microseconds."""


@dataclass
class Sum:
    """How many, and how many seconds together."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.seconds += seconds

    def to_json(self) -> dict[str, int]:
        """Return this as Triton's statistics extension has it: count and nanoseconds."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass
class Counts:
    """Requests, rows and batches of one model; times are sums over requests.

    `read`, `queue`, `run` and `write` are the four parts of the way; `batches` holds (how many, seconds) by batch size.
    """

    success: Sum = field(default_factory=Sum)
    fail: Sum = field(default_factory=Sum)
    read: Sum = field(default_factory=Sum)
    queue: Sum = field(default_factory=Sum)
    run: Sum = field(default_factory=Sum)
    write: Sum = field(default_factory=Sum)
    batches: dict[int, Sum] = field(default_factory=dict)
    rows: int = 0
    last: float = 0.0
    microseconds: Buckets = field(default_factory=lambda: Buckets(MICROSECONDS))
    run_microseconds: Buckets = field(default_factory=lambda: Buckets(MICROSECONDS))

    def note_batch(self, rows: int, seconds: float) -> None:
        """Count one batch that was run."""
        found = self.batches.get(rows)
        if found is None:
            found = self.batches[rows] = Sum()
        found.add(seconds)
        self.run_microseconds.add(seconds * 1e6)
        self.rows += rows
        self.last = time.time()
