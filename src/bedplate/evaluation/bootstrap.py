"""Percentile bootstrap intervals (Efron 1979), vectorised: a resample is a row of multinomial weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bedplate.core.seeds import generator

_CELLS = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval; without resamples, `low` and `high` are `value`."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the three numbers as JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, fields: Mapping[str, float]) -> Estimate:
        """Rebuild from `to_json`."""
        return cls(float(fields["value"]), float(fields["low"]), float(fields["high"]))


def resampled_weights(
    rows: int, resamples: int, seed: int, purpose: str = "bootstrap", block: int = 1
) -> Iterator[np.ndarray]:
    """Yield weights [r,rows] (float64 counts; each row of them sums to `rows`), `resamples` rows of them in all.

    Yielded in pieces, so that memory stays bounded; the numbers depend on the seed and purpose alone. With a `block`,
    so many neighbouring rows are drawn together, round the end to the beginning (the circular block bootstrap of
    Politis and Romano 1992): for rows that follow one another in time.
    """
    rng = generator(seed, purpose)
    step = max(1, _CELLS // max(rows, 1))
    block = max(1, min(block, rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        if block == 1:
            draws = rng.integers(0, rows, (size, rows))
        else:
            first = rng.integers(0, rows, (size, -(-rows // block)))
            draws = ((first[:, :, None] + np.arange(block)) % rows).reshape(size, -1)[:, :rows]
        draws = draws + np.arange(size)[:, None] * rows
        yield np.bincount(draws.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def bootstrap(
    measure: Callable[[np.ndarray], Mapping[str, np.ndarray]], rows: int, resamples: int, seed: int, block: int = 1
) -> dict[str, np.ndarray]:
    """Return what `measure` gives under `resamples` random weightings of `rows`: [resamples, …] by name."""
    parts = [measure(weights) for weights in resampled_weights(rows, resamples, seed, block=block)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper percentile bounds over axis 0, undefined (NaN) resamples left out."""
    sides = [(1 - confidence) / 2, (1 + confidence) / 2]
    if not np.isnan(values).any():
        low, high = np.quantile(values, sides, axis=0)
        return low, high
    flat = values.reshape(len(values), -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    for column in range(flat.shape[1]):
        kept = flat[~np.isnan(flat[:, column]), column]
        if len(kept):
            bounds[:, column] = np.quantile(kept, sides)
    low, high = bounds.reshape(2, *values.shape[1:])
    return low, high


def estimates(
    values: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray], confidence: float
) -> dict[str, Estimate]:
    """Join each value ([1] by name) with the interval of its resamples; a figure that is undefined is left out."""
    found = {}
    for name, value in values.items():
        figure = float(value[0])
        if np.isnan(figure):
            continue
        low, high = interval(samples[name], confidence) if name in samples else (figure, figure)
        found[name] = Estimate(figure, float(low), float(high))
    return found


def edged(estimate: Estimate, units: float, confidence: float) -> Estimate:
    """Return a rate's estimate, with an honest interval where it is 1 or 0: see `share_interval`.

    `units` are what the rate rests on and what the bootstrap draws: rows, or those that hold something to be counted.
    """
    if units <= 0 or estimate.value not in (0.0, 1.0):
        return estimate
    bounds = share_interval(estimate.value * units, int(units), confidence, (estimate.low, estimate.high))
    return Estimate(estimate.value, *bounds)


def share_interval(
    successes: float, rows: int, confidence: float, bootstrapped: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of a share, mending the one case that a bootstrap can't see.

    Where all rows are right (or all wrong) every resample agrees and the bootstrap has no width; the exact bound
    (Clopper and Pearson 1934) is used instead: all of 270 right is "at least 98.6 %", not "certainly 100 %".
    """
    edge = ((1 - confidence) / 2) ** (1 / rows)
    if successes >= rows:
        return edge, 1.0
    return (0.0, 1 - edge) if successes <= 0 else bootstrapped
