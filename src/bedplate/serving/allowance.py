"""A token bucket: so many a second in the long run, and so many at once after a rest."""

from __future__ import annotations

import time


class Allowance:
    """What may still be taken. `rate` is a second's, `most` is what gathers while nothing is taken.

    https://en.wikipedia.org/wiki/Token_bucket
    """

    __slots__ = ("_at", "_left", "most", "rate")

    def __init__(self, rate: float, most: float) -> None:
        self.rate, self.most = rate, most
        self._left, self._at = most, time.monotonic()

    def take(self, wanted: int = 1) -> int:
        """Take what is wanted, or as much of it as there is; return how many that are."""
        now = time.monotonic()
        left = min(self.most, self._left + (now - self._at) * self.rate)
        taken = min(wanted, int(left))
        self._left, self._at = left - taken, now
        return taken

    def pause(self) -> float:
        """Return the seconds after which there will be one more."""
        return max(0.0, 1 - self._left) / self.rate
