"""What a batch costs, fitted while serving, and whether waiting for one more row pays."""

from __future__ import annotations

from collections.abc import Iterable

_MEMORY = 0.98
"""How much of the past counts after each new measurement."""


class CostModel:
    """Seconds of a batch of n rows as `fixed + each · n`, by least squares with exponential forgetting."""

    __slots__ = ("_n", "_nn", "_nt", "_t", "_weight", "each", "fixed")

    def __init__(self, measured: Iterable[tuple[int, float]] = ()) -> None:
        self._weight = self._n = self._nn = self._t = self._nt = 0.0
        self.fixed = self.each = 0.0
        for rows, seconds in measured:
            self.add(rows, seconds)

    def add(self, rows: int, seconds: float) -> None:
        """Take in one measurement."""
        self._weight = self._weight * _MEMORY + 1
        self._n = self._n * _MEMORY + rows
        self._nn = self._nn * _MEMORY + rows * rows
        self._t = self._t * _MEMORY + seconds
        self._nt = self._nt * _MEMORY + rows * seconds
        spread = self._weight * self._nn - self._n * self._n
        if spread > 1e-9 * self._nn * self._weight:
            each = (self._weight * self._nt - self._n * self._t) / spread
        else:  # all batches were of one size: nothing is known of the fixed part
            each = self._t / self._n
        self.each = min(max(each, 0.0), self._t / self._n)
        self.fixed = max((self._t - self.each * self._n) / self._weight, 0.0)

    def seconds(self, rows: int) -> float:
        """Return what a batch is expected to take."""
        return self.fixed + self.each * rows

    def waiting_pays(self, rows: int, gap: float) -> bool:
        """Return whether `rows` requests that wait for the next one, due in `gap` seconds, end sooner on the whole.

        With cost a + b·n: run now, and the n end after a + b·n each, the next one after 2a + b·n + b − gap. Wait, and
        the n end after gap + a + b·(n + 1), the next one after a + b·(n + 1). The sum of waiting times shrinks where
        a > gap·(n + 1) + b·n.
        """
        return self.fixed > gap * (rows + 1) + self.each * rows
