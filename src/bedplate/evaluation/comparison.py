"""Is a difference real? Two predictions for the same rows, compared row by row."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from bedplate.evaluation.bootstrap import bootstrap, interval


@dataclass(frozen=True)
class Drop:
    """How much worse the second prediction is; `high` is its one-sided upper confidence bound.

    In percentage points of accuracy, or in relative percent of RMSE; negative where the second is better.
    """

    value: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Whether a difference in `metric` (this minus other) is real, and the `text` that says so.

    `p_value` is McNemar's exact one for classifiers on the same rows, else None; `paired` says whether the rows were
    the same.
    """

    metric: str
    this: float
    other: float
    difference: float
    low: float
    high: float
    p_value: float | None
    paired: bool
    real: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return asdict(self)


def paired_drop(
    before: np.ndarray, after: np.ndarray, targets: np.ndarray, *, confidence: float = 0.95, resamples: int = 1000,
    seed: int = 0,
) -> Drop:  # fmt: skip
    """Return the drop from `before` to `after` on the same rows, with its upper bound.

    Args:
        before: probabilities [N,K] (accuracy is compared) or values [N] (RMSE is).
        after: the same, from the other prediction.
        targets: class indices [N] or values [N].
        confidence: of the one-sided bound.
        resamples: of the bootstrap (RMSE only).
        seed: of the bootstrap.

    The bound for accuracy is Agresti and Min's (2005) for matched proportions, which keeps its coverage where few or no
    answers differ; the bound for RMSE is a paired percentile bootstrap's.
    """
    if before.ndim == 2:
        lost = (before.argmax(axis=1) == targets) & (after.argmax(axis=1) != targets)
        gained = (before.argmax(axis=1) != targets) & (after.argmax(axis=1) == targets)
        return _accuracy_drop(int(lost.sum()), int(gained.sum()), len(targets), confidence)
    first, second = (np.square(np.asarray(values, np.float64).reshape(-1) - targets) for values in (before, after))

    def relative(weights: np.ndarray) -> dict[str, np.ndarray]:
        old, new = np.sqrt(weights @ first), np.sqrt(weights @ second)
        with np.errstate(divide="ignore", invalid="ignore"):
            drop = 100 * (new - old) / old
        return {"drop": np.where(old > 0, drop, np.where(new > 0, np.inf, 0.0))}

    value = float(relative(np.ones((1, len(first))))["drop"][0])
    samples = bootstrap(relative, len(first), resamples, seed)["drop"]
    return Drop(value, float(np.quantile(samples, confidence, method="higher")))


def _accuracy_drop(lost: int, gained: int, rows: int, confidence: float) -> Drop:
    b, c, n = lost + 0.5, gained + 0.5, rows + 2
    spread = math.sqrt(b + c - (b - c) ** 2 / n) / n
    high = (b - c) / n + NormalDist().inv_cdf(confidence) * spread
    return Drop(100 * (lost - gained) / rows, 100 * high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value (McNemar 1947) from the rows that only one of two classifiers has right."""
    total, least = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(one) for one in logs))


def paired_interval(
    first: np.ndarray, second: np.ndarray, *, rmse: bool, confidence: float, resamples: int, seed: int
) -> tuple[float, float, float]:
    """Return (difference, low, high), first minus second, of mean `first` and `second` [N] on the same rows.

    With `rmse` the arrays are residuals and the figures are root mean squares.
    """

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        if rmse:
            return {"d": np.sqrt(weights @ first**2 / total) - np.sqrt(weights @ second**2 / total)}
        return {"d": weights @ (first - second) / total}

    value = float(difference(np.ones((1, len(first))))["d"][0])
    low, high = interval(bootstrap(difference, len(first), resamples, seed)["d"], confidence)
    return value, float(low), float(high)
