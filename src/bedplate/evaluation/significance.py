"""Is the difference between two ways of training real? Tests over several runs of each, in plain NumPy.

One run says how good one set of weights is; only several runs (seeds, folds) say how good the way of making them is.

- `paired_t`: the same seeds on both sides; with `overlap`, Nadeau and Bengio's correction for folds and repeated
  splits, whose training rows overlap.
- `welch_t`: runs that don't pair.
- `holm`: the correction for several comparisons with one reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bedplate.core.errors import InputError

FEWEST_RUNS = 3
"""Fewer runs a side than this say nothing about their spread."""
FEW_RUNS = 5
"""From here on, a difference that isn't found is worth mentioning."""

_SAME = 1e-12


@dataclass(frozen=True)
class Significance:
    """A difference (this minus the reference) over runs, and how sure it is.

    Attributes:
        n: pairs of runs, or the runs of this side where they don't pair.
        difference: of the means, in the metric's own units.
        spread: standard deviation of the differences (of one side's runs, pooled, where they don't pair).
        low: lower bound of the difference's confidence interval.
        high: its upper bound.
        p_value: two-sided.
        effect: the standardised difference with Hedges' small-sample correction; None where nothing varies.
        detectable: the smallest difference that these runs could have shown at this confidence.
        method: the test's name, for people.
    """

    n: int
    difference: float
    spread: float
    low: float
    high: float
    p_value: float
    effect: float | None
    detectable: float | None
    method: str

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return asdict(self)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Lentz 1976; DLMF 8.17.22)."""
    tiny, steps = 1e-300, 500
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    product = d
    for m in range(1, steps):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + term / c
            c = c if abs(c) > tiny else tiny
            product *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return product


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a, b > 0 and x in 0..1 (DLMF 8.17)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(front) * _continued_fraction(a, b, x) / a
    return 1 - math.exp(front) * _continued_fraction(b, a, 1 - x) / b


def t_two_sided(t: float, degrees: float) -> float:
    """Return the probability of a Student t (`degrees` of freedom, above 0) at least as far from 0 as `t`."""
    if math.isinf(t):
        return 0.0
    if t * t < 1:  # the other side's function: of an argument next to 1 nothing would be left
        return 1 - incomplete_beta(0.5, degrees / 2, t * t / (degrees + t * t))
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def t_critical(confidence: float, degrees: float) -> float:
    """Return the t that `confidence` (in 0..1) of Student's distribution lies within, on both sides of 0."""
    low, high = 0.0, 2.0
    while t_two_sided(high, degrees) > 1 - confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_two_sided(middle, degrees) > 1 - confidence else (low, middle)
    return (low + high) / 2


def _checked(values: Sequence[float], least: int) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or len(found) < least or not np.isfinite(found).all():
        raise InputError(
            "too few figures to test, or some are not finite",
            expected=f"at least {least} finite numbers",
            received=str(found.tolist()[:8]),
        )
    return found


def _hedges(degrees: float) -> float:
    """Hedges' (1981) factor, which takes the small-sample bias out of a standardised difference."""
    return 1 - 3 / (4 * degrees - 1)


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, *, overlap: float = 0.0
) -> tuple[float, float, float]:
    """Return (mean, low, high) of values [n] by Student's t; of one value, the value thrice.

    `overlap` is as in `paired_t`.
    """
    found = _checked(values, 1)
    mean = float(found.mean())
    if len(found) < 2:
        return mean, mean, mean
    half = t_critical(confidence, len(found) - 1) * math.sqrt(found.var(ddof=1) * (1 / len(found) + overlap))
    return mean, mean - half, mean + half


def paired_t(
    values: Sequence[float], reference: Sequence[float], *, confidence: float = 0.95, overlap: float = 0.0
) -> Significance:
    """Return the paired t-test of `values` against `reference`, both [n]: pair i shares its seed (and fold).

    Args:
        values: a metric's value a run.
        reference: the same metric of the runs to compare with, in the same order.
        confidence: of the interval.
        overlap: rows judged / rows trained on, where the runs come from folds or repeated splits of the same rows; 0
            where runs are independent. The variance is then (1/n + overlap) s² instead of s²/n, because training sets
            that share rows make the differences agree more than new data would (Nadeau and Bengio 2003, Inference for
            the Generalization Error, Machine Learning 52, equation 9; for repeated folds: Bouckaert and Frank 2004).

    Where every pair differs by the same amount there is no spread to measure, and the sign test's p, 2/2^n, is given.

    Raises:
        InputError: fewer than two pairs, or figures that are not finite.
    """
    first, second = _checked(values, 2), _checked(reference, 2)
    if len(first) != len(second):
        raise InputError("the pairs don't match", received=f"{len(first)} and {len(second)} figures")
    differences = first - second
    n, mean = len(differences), float(differences.mean())
    spread = float(differences.std(ddof=1))
    name = "paired t-test" + (", corrected for overlapping folds (Nadeau and Bengio 2003)" if overlap else "")
    if spread <= _SAME * max(1.0, float(np.abs(first).max())):
        none = abs(mean) <= _SAME
        return Significance(n, mean, 0.0, mean, mean, 1.0 if none else 2.0 ** (1 - n), None, None,
                            "sign test (all pairs differ alike)")  # fmt: skip
    error = spread * math.sqrt(1 / n + overlap)
    half = t_critical(confidence, n - 1) * error
    return Significance(
        n, mean, spread, mean - half, mean + half, t_two_sided(mean / error, n - 1), _hedges(n - 1) * mean / spread,
        half, name,
    )  # fmt: skip


def welch_t(values: Sequence[float], reference: Sequence[float], *, confidence: float = 0.95) -> Significance:
    """Return Welch's (1947) t-test of runs that don't pair: `values` [n] against `reference` [m], of unequal spread.

    Raises:
        InputError: fewer than two runs a side, or figures that are not finite.
    """
    first, second = _checked(values, 2), _checked(reference, 2)
    n, m = len(first), len(second)
    mean = float(first.mean() - second.mean())
    parts = float(first.var(ddof=1)) / n, float(second.var(ddof=1)) / m
    error = math.sqrt(sum(parts))
    pooled = math.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (n + m - 2))
    if error <= _SAME * max(1.0, float(np.abs(first).max())):
        none = abs(mean) <= _SAME
        # Without spread only the order of the runs can speak: the exact rank test's p.
        return Significance(n, mean, 0.0, mean, mean, 1.0 if none else min(1.0, 2 / math.comb(n + m, n)), None, None,
                            "exact rank test (no spread within the sides)")  # fmt: skip
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1))
    half = t_critical(confidence, degrees) * error
    return Significance(
        n, mean, pooled, mean - half, mean + half, t_two_sided(mean / error, degrees),
        _hedges(n + m - 2) * mean / pooled, half, "Welch's t-test (runs that don't pair)",
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm 1979): reject where the adjusted one is below alpha.

    The chance of any false finding among all comparisons is then at most alpha, whatever their dependence.
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[k]))
        adjusted[k] = highest
    return adjusted
