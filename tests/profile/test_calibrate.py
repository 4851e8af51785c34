"""The promise is kept: honest windows alarm at most at the stated rate."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.profile.calibrate import _order, allowed_outside, body_thresholds, js_distance
from bedplate.profile.sketch import number_bins


def test_js_distance_of_known_histograms() -> None:
    same, apart = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert js_distance(same, same) == 0
    assert js_distance(same, apart) == 1
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    middle = (p + q) / 2
    by_hand = np.sqrt(((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2)
    assert js_distance(p, q) == pytest.approx(by_hand)
    both = js_distance(np.concatenate([same, p]), np.concatenate([apart, q]), np.array([0, 4]))
    assert both.tolist() == pytest.approx([1.0, by_hand])


def test_the_count_outside_the_reference_is_bounded_at_the_stated_rate() -> None:
    rng = np.random.default_rng(0)
    rows, window, rate = 300, 100, 0.05
    allowed = allowed_outside(window, rows, 2, rate)
    exceeded = 0
    for _ in range(4000):
        reference, fresh = rng.normal(size=rows), rng.normal(size=window)
        exceeded += ((fresh < reference.min()) | (fresh > reference.max())).sum() > allowed
    assert exceeded / 4000 <= rate * 1.2
    # One less would break the promise: the bound is exact, not merely safe.
    looser = sum(
        ((fresh := rng.normal(size=window)) < (r := rng.normal(size=rows)).min()).sum() + (fresh > r.max()).sum()
        > allowed - 1
        for _ in range(4000)
    )
    assert looser / 4000 > rate * 0.8


def test_allowed_outside_never_runs_away() -> None:
    assert allowed_outside(50, 2, 2, 1e-6) <= 50
    assert allowed_outside(5000, 10_000, 9_000, 0.01) < 5000
    assert allowed_outside(100, 1_000_000, 1, 0.01) == 0


def test_the_order_statistic_is_on_the_safe_side() -> None:
    rng = np.random.default_rng(0)
    k = _order(2000, 0.01)
    # The k-th largest of 2,000 uniform draws lies above the 99 % quantile in about nine of ten trials.
    safe = np.mean([np.sort(rng.random(2000))[-k] >= 0.99 for _ in range(500)])
    assert safe > 0.85
    assert _order(100, 1e-9) == 1


@pytest.mark.parametrize("rows", [120, 600])
def test_fresh_windows_of_correlated_features_alarm_at_most_at_the_rate(rows: int) -> None:
    """Each trial draws a new reference, too, so that its sampling error is part of what is promised."""
    rng = np.random.default_rng(rows)
    rate, window, trials, per_trial = 0.05, 80, 60, 20
    mix = rng.normal(size=(3, 6))

    def draw(n: int) -> np.ndarray:
        values = rng.normal(size=(n, 3)) @ mix + 0.5 * rng.normal(size=(n, 6))
        values[:, 4] = np.exp(values[:, 4])
        values[:, 5] = np.round(values[:, 5])
        return values

    alarms = 0
    for _ in range(trials):
        reference = draw(rows)
        bins = [number_bins(column) for column in reference.T]
        cells = np.stack([b.place(column) for b, column in zip(bins, reference.T, strict=True)], axis=1)
        thresholds = body_thresholds(cells, [b.size for b in bins], [window], rate, rng)[0]
        seen = [np.bincount(cells[:, k], minlength=b.size) / rows for k, b in enumerate(bins)]
        for _ in range(per_trial):
            fresh = draw(window)
            now = [np.bincount(b.place(fresh[:, k]), minlength=b.size) / window for k, b in enumerate(bins)]
            alarms += any(js_distance(p, q) > t for p, q, t in zip(seen, now, thresholds, strict=True))
    realised = alarms / (trials * per_trial)
    assert realised <= rate * 1.25, f"{realised:.3f} of honest windows alarmed, {rate} promised"
    assert realised >= rate * 0.15, f"only {realised:.3f} alarmed: the thresholds are needlessly wide"
