"""Thresholds that keep a promise: the chance of any alarm in a window of honest rows is at most the stated rate.

Distances between histograms depend on the window's size, on the number of bins and on how features hang together, so
their thresholds are found by simulation: rows of the reference are drawn again, once as a reference of the same size
and once as a window (the two-sample bootstrap, so that the reference's own sampling error counts). Rows are drawn
whole, which keeps the features' correlation; the largest of all features' distances decides (Westfall & Young, 1993).
"""

from __future__ import annotations

import math

import numpy as np

BODY_SHARE = 0.8
"""The share of the false-alarm rate that is spent on distances; the rest goes to values outside the reference."""


def js_distance(p: np.ndarray, q: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Return the Jensen–Shannon distance (0..1, base 2) of histograms along the last axis (Lin, 1991).

    `p` and `q` are shares. With `starts`, the last axis holds several histograms that begin there.
    """
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log2(p / middle), 0) + np.where(q > 0, q * np.log2(q / middle), 0)
    sums = parts.sum(axis=-1) if starts is None else np.add.reduceat(parts, starts, axis=-1)
    return np.asarray(np.sqrt(np.clip(sums / 2, 0, 1)))


def allowed_outside(window: int, rows: int, extremes: int, rate: float) -> int:
    """Return how many of `window` honest rows may fall outside the reference, but for a chance of at most `rate`.

    With `rows` seen and `extremes` of them the only ones of their kind (2 for the smallest and the largest number, or
    the values seen once), the count is beta-binomial with a = extremes, b = rows + 1 - extremes: for numbers this is
    exact whatever their distribution (Wilks, 1941), for categories it is Good and Turing's estimate.
    """
    a, b = float(extremes), float(max(1, rows + 1 - extremes))
    log_chance = math.lgamma(a + b) - math.lgamma(b) + math.lgamma(b + window) - math.lgamma(a + b + window)
    below = math.exp(log_chance)
    count = 0
    while 1 - below > rate and count < window:
        log_chance += math.log((window - count) / (count + 1)) + math.log((count + a) / (window - count - 1 + b))
        below += math.exp(log_chance)
        count += 1
    return count


def _order(replicates: int, rate: float) -> int:
    """Return which largest of `replicates` maxima bounds the rate with 90 % confidence (at least the largest)."""
    log_chance, below, k = replicates * math.log1p(-rate), 0.0, 0
    while True:
        below += math.exp(log_chance)
        if below > 0.1:
            return max(1, k)
        log_chance += math.log((replicates - k) / (k + 1)) + math.log(rate / (1 - rate))
        k += 1


def body_thresholds(
    cells: np.ndarray, sizes: list[int], windows: list[int], rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the thresholds of the distances, float64 [windows, features].

    Args:
        cells: the reference's rows as cells, int [rows, features].
        sizes: the number of cells of each feature.
        windows: the window sizes to calibrate for.
        rate: the chance of any alarm among all features.
        rng: where the draws come from.
    """
    rows, features = cells.shape
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    members = np.zeros((rows, int(sum(sizes))), np.float32)
    members[np.arange(rows)[:, None], cells + starts] = 1
    replicates = int(np.clip(20 / rate, 2000, 10_000))
    distances = np.empty((len(windows), replicates, features), np.float64)
    at_once = 100
    for first in range(0, replicates, at_once):
        many = min(at_once, replicates - first)
        reference = _resampled(members, rows, many, rng)
        for w, window in enumerate(windows):
            shares = _resampled(members, window, many, rng)
            distances[w, first : first + many] = js_distance(reference, shares, starts)
    # A squared distance is close to a scaled chi-square; its cube root is close to normal (Wilson & Hilferty, 1931),
    # which makes features of few and many bins comparable.
    roots = distances ** (2 / 3)
    mean, spread = roots.mean(axis=1), np.maximum(roots.std(axis=1), 1e-9)
    worst = ((roots - mean[:, None]) / spread[:, None]).max(axis=2)
    critical = np.sort(worst, axis=1)[:, -_order(replicates, rate)]
    return np.asarray(np.maximum(mean + critical[:, None] * spread, 0) ** 1.5)


def _resampled(members: np.ndarray, size: int, many: int, rng: np.random.Generator) -> np.ndarray:
    """Return the shares of the cells in `many` samples of `size` rows, [many, cells]."""
    rows = len(members)
    drawn = rng.integers(0, rows, (many, size)) + np.arange(many)[:, None] * rows
    times = np.bincount(drawn.ravel(), minlength=many * rows).reshape(many, rows).astype(np.float32)
    return np.asarray(times @ members, np.float64) / size
