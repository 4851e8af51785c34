"""Bootstrap intervals: the same for the same seed, and they cover what they say they cover."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.evaluation.bootstrap import Estimate, bootstrap, edged, interval, resampled_weights, share_interval
from bedplate.evaluation.metrics import ClassificationFacts, RegressionFacts


def test_weights_are_counts_of_rows_and_seeded() -> None:
    first = np.concatenate(list(resampled_weights(700, 3000, 5)))
    assert first.shape == (3000, 700)
    assert (first.sum(axis=1) == 700).all()
    assert np.array_equal(first, np.concatenate(list(resampled_weights(700, 3000, 5))))
    assert not np.array_equal(first, np.concatenate(list(resampled_weights(700, 3000, 6))))
    assert first.mean() == pytest.approx(1)
    assert first.var() == pytest.approx(1 - 1 / 700, rel=0.01)


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    sample = np.random.default_rng(1).normal(10, 2, 400)
    values = bootstrap(lambda w: {"mean": w @ sample / 400}, 400, 4000, 0)["mean"]
    low, high = interval(values, 0.95)
    half = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half, abs=0.03)
    assert high == pytest.approx(sample.mean() + half, abs=0.03)


def test_undefined_resamples_are_left_out() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = interval(values, 0.9)
    assert 1 <= low[0] < high[0] <= 3
    assert np.isnan(low[1])


def test_accuracy_and_rmse_intervals_cover_the_truth() -> None:
    """In 200 simulated test sets, the 90 % interval holds the true figure about 90 % of the time."""
    rng = np.random.default_rng(0)
    hits = {"accuracy": 0, "rmse": 0}
    for trial in range(200):
        targets = rng.integers(0, 2, 150)
        right = rng.random(150) < 0.8
        scores = np.eye(2)[np.where(right, targets, 1 - targets)] * 0.6 + 0.2
        for name, facts, truth in (
            ("accuracy", ClassificationFacts(scores, targets), 0.8),
            ("rmse", RegressionFacts(rng.normal(0, 3, 150), np.zeros(150)), 3.0),
        ):
            low, high = interval(bootstrap(facts.measure, 150, 300, trial)[name], 0.9)
            hits[name] += bool(low <= truth <= high)
    assert 168 <= hits["accuracy"] <= 196
    assert 168 <= hits["rmse"] <= 196


def test_all_right_is_not_certainly_always_right() -> None:
    low, high = share_interval(270, 270, 0.95, (1.0, 1.0))
    assert (low, high) == (pytest.approx(0.025 ** (1 / 270)), 1.0)
    assert 0.98 < low < 0.99
    assert share_interval(0, 270, 0.95, (0.0, 0.0)) == (0.0, pytest.approx(1 - low))
    assert share_interval(5, 270, 0.95, (0.1, 0.2)) == (0.1, 0.2)


def test_an_estimate_goes_to_json_and_back() -> None:
    assert Estimate.from_json(Estimate(1.0, 0.5, 1.5).to_json()) == Estimate(1.0, 0.5, 1.5)


def test_blocks_are_whole_neighbours_and_every_row_is_drawn_equally_often() -> None:
    weights = np.concatenate(list(resampled_weights(50, 4000, 3, block=7)))
    assert (weights.sum(axis=1) == 50).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.1)
    together = np.corrcoef(weights[:, 10], weights[:, 11])[0, 1]
    assert together > 0.6
    assert np.corrcoef(weights[:, 10], weights[:, 30])[0, 1] < 0.1
    assert np.array_equal(next(resampled_weights(5, 3, 0, block=1)), next(resampled_weights(5, 3, 0)))


def test_blocks_cover_the_mean_of_rows_that_follow_one_another() -> None:
    rng = np.random.default_rng(0)
    covered = {1: 0, 40: 0}
    for _ in range(100):
        noise = rng.normal(size=700)
        rows = np.convolve(noise, np.ones(20) / 20)[100:600]  # neighbours share nineteen of twenty parts, around 0
        for block in covered:
            values = bootstrap(lambda w, rows=rows: {"mean": w @ rows / 500}, 500, 200, 0, block)["mean"]
            low, high = interval(values, 0.95)
            covered[block] += bool(low <= 0 <= high)
    assert covered[1] < 60
    assert covered[40] >= 85


def test_a_rate_of_one_or_none_is_not_certain() -> None:
    low, _ = share_interval(270, 270, 0.95, (1.0, 1.0))
    assert edged(Estimate(1.0, 1.0, 1.0), 270, 0.95) == Estimate(1.0, low, 1.0)
    assert edged(Estimate(0.0, 0.0, 0.0), 270, 0.95) == Estimate(0.0, 0.0, pytest.approx(1 - low))
    for one in (Estimate(0.9, 0.8, 1.0), Estimate(1.0, 1.0, 1.0)):
        assert edged(one, 0, 0.95) == one
    assert edged(Estimate(0.9, 0.8, 1.0), 270, 0.95) == Estimate(0.9, 0.8, 1.0)
