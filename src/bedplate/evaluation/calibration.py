"""Does a probability mean what it says? The reliability diagram's bins."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from bedplate.evaluation.metrics import CALIBRATION_BINS, ClassificationFacts


def wilson(successes: float, rows: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share, which is honest for few rows too."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = successes / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / scale
    half = z / scale * ((share * (1 - share) / rows + z * z / (4 * rows * rows)) ** 0.5)
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability(facts: ClassificationFacts, confidence: float) -> list[dict[str, Any]]:
    """Return the non-empty ones of 15 equal bins of the answer's probability.

    Each has its `rows`, its mean `confidence`, and its `accuracy` with `low` and `high`.
    """
    bins = []
    for b in range(CALIBRATION_BINS):
        inside = facts.bins == b
        rows = int(inside.sum())
        if rows == 0:
            continue
        right = float(facts.correct[inside].sum())
        low, high = wilson(right, rows, confidence)
        mean = float(np.mean(facts.confidence[inside]))
        bins.append({"rows": rows, "confidence": mean, "accuracy": right / rows, "low": low, "high": high})
    return bins
