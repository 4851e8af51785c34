"""Measure variants on this machine: sizes, and latencies taken in turns so that noise meets all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bedplate.core.arrays import Arrays, Predict, count, take

ROUNDS = 200
MAX_SECONDS = 6.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one row, over interleaved rounds; `ratio` is this variant's median against the baseline's.

    `ratio_low` and `ratio_high` bound it at 95 % (bootstrap over the rounds, which are paired).
    """

    median: float
    p95: float
    rounds: int
    ratio: float = 1.0
    ratio_low: float = 1.0
    ratio_high: float = 1.0

    def to_json(self) -> dict[str, float]:
        """Return the figures as JSON, in milliseconds."""
        return {name: round(value, 5) for name, value in vars(self).items()}


def measure_latencies(predictors: Mapping[str, Predict], rows: Arrays, *, seed: int = 0) -> dict[str, Latency]:
    """Time each predictor on one row at a time, in turns; the first is the baseline of the ratios.

    Args:
        predictors: name → Predict. One warm-up pass comes first.
        rows: rows to draw from.
        seed: of the bootstrap.
    """
    names = list(predictors)
    total = count(rows)
    singles = [take(rows, slice(i, i + 1)) for i in range(min(total, 64))]
    for predict in predictors.values():
        for row in singles[:8]:
            predict(row)
    times: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    for turn in range(ROUNDS):
        row = singles[turn % len(singles)]
        order = names if turn % 2 == 0 else names[::-1]
        for name in order:
            begin = time.perf_counter()
            predictors[name](row)
            times[name].append((time.perf_counter() - begin) * 1e3)
        if turn >= 20 and time.perf_counter() - started > MAX_SECONDS:
            break
    generator = np.random.default_rng(seed)
    matrix = {name: np.array(values) for name, values in times.items()}
    rounds = len(matrix[names[0]])
    draws = generator.integers(0, rounds, (500, rounds))
    base = np.median(matrix[names[0]][draws], axis=1)
    found = {}
    for name in names:
        ratios = np.median(matrix[name][draws], axis=1) / base
        found[name] = Latency(
            float(np.median(matrix[name])),
            float(np.percentile(matrix[name], 95)),
            rounds,
            float(np.median(matrix[name]) / np.median(matrix[names[0]])),
            *np.percentile(ratios, [2.5, 97.5]).tolist(),
        )
    return found


def batch_dependence(predict: Predict, rows: Arrays, output: str) -> float:
    """Return the largest change of a row's answer when it is asked alone instead of with others."""
    sample = take(rows, slice(0, 32))
    together = np.asarray(predict(sample)[output], np.float64)
    alone = np.concatenate([predict(take(sample, slice(i, i + 1)))[output] for i in range(len(together))])
    return float(np.abs(together - alone).max())
