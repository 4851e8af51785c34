"""Time engines against each other on a machine that isn't quiet: in turns, again and again, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, count, take

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""The batch sizes that are timed, in rows."""

_SLICE = 0.002
_MOST_ROUNDS, _FEWEST_ROUNDS = 25, 3
_CHEAPER = 0.97


@dataclass
class Candidate:
    """One way to run a model: an engine with a precision, and `runners` calls at once of `threads` threads each.

    `tolerance` is what its answers need beyond the bundle's own. `times` maps rows of a batch to the seconds that a
    batch takes while all runners are busy.
    """

    engine: str
    precision: str
    runners: int
    threads: int
    run: Callable[[Arrays], dict[str, np.ndarray]]
    tolerance: dict[str, float] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it is printed and as metrics call it."""
        return f"{self.engine} {self.precision} {self.runners}x{self.threads}"

    def rate(self, rows: int) -> float:
        """Return rows a second, all runners together, in batches of `rows`."""
        return self.runners * rows / self.times[rows]

    @property
    def best_rate(self) -> float:
        """The rows a second of the batch size that would be used."""
        return self.rate(best_size(self.times))


def tiled(inputs: Arrays, rows: int) -> Arrays:
    """Return the first rows, again and again until there are `rows`."""
    return take(inputs, np.arange(rows) % count(inputs))


def best_size(times: dict[int, float]) -> int:
    """Return the largest batch up to which each step makes a row cheaper, by 3 % at least; 1 where none does."""
    best = 1
    for rows in sorted(times):
        each, cheapest = times[rows] / rows, times[best] / best
        if each < _CHEAPER * cheapest:
            best = rows
        elif each > 1.05 * cheapest:
            break
    return best


def quickest(run: Callable[[Arrays], Any], inputs: Arrays, tries: int = 7, seconds: float = 0.3) -> float:
    """Return the least seconds of one row: what it takes where nothing is in the way."""
    row = tiled(inputs, 1)
    run(row)
    least, spent = float("inf"), 0.0
    for _ in range(tries):
        took = _timed(run, row, 1)
        least, spent = min(least, took), spent + took
        if spent > seconds:
            break
    return least


def race(
    candidates: Sequence[Candidate], inputs: Arrays, seconds: float, sizes: Sequence[int] = SIZES
) -> dict[int, int]:
    """Fill in the candidates' `times`, in about `seconds` all together; return the number of rounds by batch size.

    All take turns at all sizes, so that whatever else the machine does in the meantime slows all of them. The lower
    quartile of the rounds counts: it leaves out the rounds that were disturbed, and doesn't trust the luckiest one.
    Larger sizes are left out where they don't fit into the time; size 1 is always timed.
    """
    ended = time.perf_counter() + seconds
    batches: dict[int, Arrays] = {}
    samples: dict[int, list[list[float]]] = {}
    with ThreadPoolExecutor(max(candidate.runners for candidate in candidates)) as pool:
        runs = [_busy(candidate, pool) for candidate in candidates]
        spent = 0.0
        for rows in sizes:
            batches[rows] = tiled(inputs, rows)
            first = [_timed(run, batches[rows], 1) for run in runs]
            spent += sum(first)
            samples[rows] = [[took] for took in first]
            # The next size costs about twice as much, and so does each further round of those before.
            if time.perf_counter() + (2 * spent + 2 * sum(first)) * _FEWEST_ROUNDS > ended:
                break
        rounds = 0
        while rounds < _MOST_ROUNDS and (time.perf_counter() < ended):
            for rows, taken in samples.items():
                for k, run in enumerate(runs):
                    if rounds == 0 and rows > 1 and time.perf_counter() > ended:
                        continue  # its first run has to do
                    times = max(1, min(10, int(_SLICE / max(taken[k][-1], 1e-6))))
                    took = _timed(run, batches[rows], times)
                    taken[k] = [took] if rounds == 0 else [*taken[k], took]  # the first run had to warm up
            rounds += 1
    for k, candidate in enumerate(candidates):
        candidate.times = {rows: float(np.quantile(taken[k], 0.25)) for rows, taken in samples.items()}
    return {rows: len(taken[0]) for rows, taken in samples.items()}


def _busy(candidate: Candidate, pool: ThreadPoolExecutor) -> Callable[[Arrays], Any]:
    """Return what runs a batch on all runners at once."""
    if candidate.runners == 1:
        return candidate.run

    def together(batch: Arrays) -> None:
        for done in [pool.submit(candidate.run, batch) for _ in range(candidate.runners)]:
            done.result()

    return together


def _timed(run: Callable[[Arrays], Any], batch: Arrays, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        run(batch)
    return (time.perf_counter() - begun) / times
