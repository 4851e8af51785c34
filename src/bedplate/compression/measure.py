"""Measure variants on this machine: sizes, and latencies taken in turns so that noise meets all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bedplate.codecs.answers import LOGITS
from bedplate.core.arrays import Arrays, Predict, concatenate, count, take

ROUNDS = 200
MAX_SECONDS = 6.0
SECONDS_EACH = 0.5
"""How long is measured at the most: in all, and for each predictor where there are many."""


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

    In each turn all are called, in an order drawn anew, twice in a row each, and the second call counts: a server's
    model is called again and again, so that its code and weights lie in the caches. Every predictor, the baseline
    among them, is treated alike, so that a graph beside its own copy shows a ratio of 1 (decision 25).

    Args:
        predictors: name → Predict. One warm-up pass comes first.
        rows: rows to draw from.
        seed: of the order and the bootstrap.
    """
    names = list(predictors)
    total = count(rows)
    singles = [take(rows, slice(i, i + 1)) for i in range(min(total, 64))]
    for predict in predictors.values():
        for row in singles[:8]:
            predict(row)
    generator = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in names}
    started, most = time.perf_counter(), max(MAX_SECONDS, SECONDS_EACH * len(names))
    for turn in range(ROUNDS):
        row = singles[turn % len(singles)]
        for name in generator.permutation(names):
            predictors[name](row)
            times[name].append(_timed(predictors[name], row))
        if turn >= 20 and time.perf_counter() - started > most:
            break
    return {name: _latency(times[name], times[names[0]], generator) for name in names}


def _timed(predict: Predict, row: Arrays) -> float:
    """Return the milliseconds of one call."""
    begin = time.perf_counter()
    predict(row)
    return (time.perf_counter() - begin) * 1e3


def _latency(own: list[float], base: list[float], generator: np.random.Generator) -> Latency:
    """Return a predictor's figures from its times and the baseline's of the same turns."""
    mine, other = np.array(own), np.array(base)
    draws = generator.integers(0, len(mine), (500, len(mine)))
    ratios = np.median(mine[draws], axis=1) / np.median(other[draws], axis=1)
    return Latency(
        float(np.median(mine)), float(np.percentile(mine, 95)), len(mine), float(np.median(mine) / np.median(other)),
        *np.percentile(ratios, [2.5, 97.5]).tolist(),
    )  # fmt: skip


def batch_dependence(predict: Predict, rows: Arrays, output: str) -> float:
    """Return the largest change of a row's answer when it is asked alone instead of with others."""
    sample = take(rows, slice(0, 32 if output != LOGITS else 4))  # which are a vocabulary wide at every token
    together = np.asarray(predict(sample)[output], np.float64)
    alone = concatenate([predict(take(sample, slice(i, i + 1))) for i in range(len(together))])[output]
    return float(np.abs(together - alone).max())
