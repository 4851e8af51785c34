"""Has the data moved? Compare a window's sketches with the reference, and say what moved, from what to what."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.core.errors import InputError
from bedplate.profile.calibrate import js_distance
from bedplate.profile.reference import Feature, Reference
from bedplate.profile.sketch import CategoryBins, NumberBins, Sketch, Sketches, merge

LEAST_DISTANCE = 0.15
"""A smaller Jensen–Shannon distance is no drift, however certain: about a third of a standard deviation."""

LEAST_OUTSIDE = 0.02
"""The least share of a window outside what the reference held that matters."""

LARGE_DISTANCE = 0.4
"""A distance that no burst excuses: about a whole standard deviation."""

LARGE_OUTSIDE = 0.2
"""A share outside what the reference held that no burst excuses."""

PARTS = 10
"""Into how many parts, in order of arrival, a window is cut, to see whether its rows come in bursts."""

MOST_BURST = 8.0


@dataclass(frozen=True)
class Moved:
    """One feature's verdict. `statistic` is a Jensen–Shannon distance (0..1), or a share where `kind` is "outside"."""

    name: str
    kind: str
    statistic: float
    threshold: float
    before: str
    now: str

    @property
    def moved(self) -> bool:
        """Whether the statistic is beyond its threshold."""
        return self.statistic > self.threshold

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "statistic": round(self.statistic, 4),
            "threshold": round(self.threshold, 4),
            "moved": self.moved,
            "from": self.before,
            "to": self.now,
        }


@dataclass(frozen=True)
class DriftReport:
    """What a comparison found; features that moved come first, the farthest of them at the top."""

    features: tuple[Moved, ...]
    false_alarm_rate: float
    rows: int

    @property
    def drift(self) -> bool:
        """Whether anything moved."""
        return any(feature.moved for feature in self.features)

    @property
    def moved(self) -> list[Moved]:
        """Only what moved."""
        return [feature for feature in self.features if feature.moved]

    def lines(self) -> list[str]:
        """Return the report in words: one line a feature that moved, or one line that says that none did."""
        rate = f"rows like the reference's alarm in at most {self.false_alarm_rate:.2%} of windows"
        if not self.drift:
            return [f"no drift in {self.rows} rows: {len(self.features)} figures watched; {rate}"]
        words = {"distribution": "distance", "outside": "share"}
        return [f"drift in {self.rows} rows; {rate}"] + [
            f"  {m.name}: {m.before} → {m.now} ({words[m.kind]} {m.statistic:.3f}, threshold {m.threshold:.3f})"
            for m in self.moved
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "drift": self.drift,
            "features": [feature.to_json() for feature in self.features],
            "false_alarm_rate": self.false_alarm_rate,
            "rows": self.rows,
        }


def compare(reference: Reference, *windows: Sequence[Sketches]) -> DriftReport:
    """Return what moved between the reference and some rows.

    A window is given as the sketches of its parts in order of arrival. Several windows that follow each other are
    judged together.

    For independent rows like the reference's, the chance that anything is called moved is at most the reference's
    false-alarm rate. Rows that come in bursts (many of one writer, one hour, one batch) stray farther: the spread
    between a window's parts says how much, and the thresholds are widened by it, but neither beyond `sqrt(MOST_BURST)`
    times nor beyond `LARGE_DISTANCE`. Fewer than five parts tell nothing of bursts.

    Raises:
        InputError: fewer rows than the smallest calibrated window.
    """
    window = merge([part for parts in windows for part in parts])
    rows = max((sketch.rows for sketch in window.values()), default=0)
    if rows < reference.windows[0]:
        raise InputError(
            "too few rows to speak of drift", expected=f"at least {reference.windows[0]} rows", received=f"{rows} rows",
            hint=f"{reference.windows[0] - rows} more are needed",
        )  # fmt: skip
    # The thresholds of the next smaller calibrated window are wider, so the stated rate holds for sizes between.
    size = bisect_right(reference.windows, rows) - 1
    verdicts: list[Moved] = []
    for name, sketch in window.items():
        feature = reference.features[name]
        burst = burst_factor(feature, [[part[name] for part in parts] for parts in windows])
        verdicts.append(_distance(name, feature, sketch, size, burst, reference))
        outside = _outside(name, feature, sketch, size, burst, reference)
        if outside.moved:
            verdicts.append(outside)
    verdicts.sort(key=lambda verdict: (not verdict.moved, -verdict.statistic / max(verdict.threshold, 1e-9)))
    return DriftReport(tuple(verdicts), reference.false_alarm_rate, rows)


def burst_factor(feature: Feature, windows: Sequence[Sequence[Sketch]]) -> float:
    """Return by how much a window's parts differ more than independent rows would, 1 (not more) to `MOST_BURST`.

    The design effect by batch means: the variance of the parts' shares (for numbers: of their mean ranks, too) over
    what chance gives, each window's parts about that window's own mean.
    """
    parts = [np.stack([part.counts for part in window]).astype(float) for window in windows if window]
    parts = [counts[counts.sum(axis=1) >= 5] for counts in parts]
    freedom = sum(max(0, len(counts) - 1) for counts in parts)
    if freedom < 4:
        return 1.0
    total = np.sum([counts.sum(axis=0) for counts in parts], axis=0)
    shares = total / total.sum()
    present = shares > 0
    ranks = np.cumsum(shares) - shares / 2
    spread = float(shares @ ranks**2 - (shares @ ranks) ** 2)
    of_shares = of_ranks = 0.0
    for counts in parts:
        sizes = counts.sum(axis=1)
        own = counts.sum(axis=0) / max(1.0, sizes.sum())
        apart = (counts / sizes[:, None] - own)[:, present]
        of_shares += float((sizes[:, None] * apart**2 / shares[present]).sum())
        of_ranks += float((sizes * (counts @ ranks / sizes - own @ ranks) ** 2).sum())
    factor = of_shares / freedom / max(1, int(present.sum()) - 1)
    if isinstance(feature.bins, NumberBins) and spread > 0:
        factor = max(factor, of_ranks / freedom / spread)
    return float(np.clip(factor, 1.0, MOST_BURST))


def _distance(name: str, feature: Feature, sketch: Sketch, size: int, burst: float, reference: Reference) -> Moved:
    rows = sketch.rows
    seen = feature.sketch.counts / feature.sketch.rows
    distance = float(js_distance(seen, sketch.counts / rows))
    wider = ((burst / rows + 1 / reference.rows) / (1 / rows + 1 / reference.rows)) ** 0.5
    # Squared distances add: what a change worth an alarm gives by itself, and what sampling adds to it.
    plain = float(np.hypot(LEAST_DISTANCE, feature.thresholds[size]))
    threshold = min(float(np.hypot(LEAST_DISTANCE, feature.thresholds[size] * wider)), max(plain, LARGE_DISTANCE))
    before, now = _words(feature, feature.sketch, sketch)
    return Moved(name, "distribution", distance, min(threshold, 0.99), before, now)


def _outside(name: str, feature: Feature, sketch: Sketch, size: int, burst: float, reference: Reference) -> Moved:
    allowed = feature.outside[size] / reference.windows[size]
    threshold = min(max(LEAST_OUTSIDE, allowed * burst), max(allowed, LARGE_OUTSIDE))
    share = sketch.outside / sketch.rows
    bins = feature.bins
    before = "only known values" if isinstance(bins, CategoryBins) else f"all within {bins.low:.4g} to {bins.high:.4g}"
    beyond = "never seen before" if isinstance(bins, CategoryBins) else "outside that range"
    return Moved(name, "outside", share, min(threshold, 0.99), before, f"{share:.1%} {beyond}")


def _words(feature: Feature, before: Sketch, now: Sketch) -> tuple[str, str]:
    if isinstance(feature.bins, CategoryBins):
        return _shares_in_words(feature.bins, before, now)
    return _number_in_words(before), _number_in_words(now)


def _number_in_words(sketch: Sketch) -> str:
    missing = int(sketch.counts[-1])
    known = sketch.rows - missing
    if known == 0:
        return "all missing"
    mean = sketch.total / known
    spread = max(0.0, sketch.squares / known - mean**2) ** 0.5
    return f"mean {mean:.4g}, std {spread:.3g}" + (f", {missing / sketch.rows:.1%} missing" if missing else "")


def _shares_in_words(bins: CategoryBins, before: Sketch, now: Sketch) -> tuple[str, str]:
    names = [*(f"'{value}'" for value in bins.values), "other values", "missing"]
    old, new = before.counts / before.rows, now.counts / now.rows
    most = np.argsort(-np.abs(new - old), kind="stable")[:3]
    return (
        ", ".join(f"{names[k]} {old[k]:.1%}" for k in most),
        ", ".join(f"{names[k]} {new[k]:.1%}" for k in most),
    )
