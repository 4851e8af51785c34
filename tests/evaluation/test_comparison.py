"""Paired comparisons: bounds that hold, and McNemar's test against known values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bedplate.core.errors import InputError
from bedplate.evaluation.comparison import ENDLESS, mcnemar, metric_drop, paired_drop, paired_interval
from bedplate.evaluation.metrics import LanguageFacts, classification_metrics, regression_metrics


def scores(right: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Probabilities of a two-class model that is right where told."""
    return np.eye(2)[np.where(right, targets, 1 - targets)] * 0.8 + 0.1


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 20), (700, 900)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = 1.0 if b + c == 0 else binomtest(b, b + c, 0.5).pvalue
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-6)


def test_no_difference_still_has_a_bound_that_shrinks_with_rows() -> None:
    bounds = []
    for n in (50, 270, 5000):
        targets = np.zeros(n, int)
        same = scores(np.ones(n, bool), targets)
        drop = paired_drop(same, same, targets)
        assert drop.value == 0
        bounds.append(drop.high)
    assert bounds[0] > 2 > bounds[1] > 0.3 > bounds[2] > 0
    assert bounds[1] == pytest.approx(0.605, abs=0.01)


def test_the_drop_is_in_percentage_points_and_its_bound_holds() -> None:
    """The true drop is 2 points; its 95 % upper bound is passed at most about 5 % of the time."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        targets = rng.integers(0, 2, 300)
        before = rng.random(300) < 0.9
        after = np.where(rng.random(300) < 0.05, ~before, before)  # flips 5 %: 4.5 lost, 0.5 gained = 4 points
        drop = paired_drop(scores(before, targets), scores(after, targets), targets)
        assert drop.value == pytest.approx(100 * (before.mean() - after.mean()))
        passed += drop.high < 4.0
    assert passed <= 36


def test_a_gain_is_a_negative_drop() -> None:
    targets = np.zeros(200, int)
    worse, better = np.arange(200) < 150, np.arange(200) < 180
    drop = paired_drop(scores(worse, targets), scores(better, targets), targets)
    assert drop.value == pytest.approx(-15)
    assert drop.value < drop.high < -10


def test_the_drop_of_a_regressor_is_relative_rmse() -> None:
    rng = np.random.default_rng(1)
    targets = rng.normal(size=2000)
    errors = rng.normal(size=2000)
    drop = paired_drop(targets + errors, targets + 1.1 * errors, targets)
    assert drop.value == pytest.approx(10)
    assert drop.high == pytest.approx(10)
    noisy = paired_drop(targets + errors, targets + 1.1 * errors + 0.3 * rng.normal(size=2000), targets, seed=3)
    assert noisy.high > noisy.value > 10
    assert paired_drop(targets, targets, targets).high == 0
    assert paired_drop(targets, targets + 1, targets).high == ENDLESS  # JSON has no infinity


def test_the_paired_interval_sees_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(2)
    residuals = rng.normal(size=500)
    value, low, high = paired_interval(residuals, residuals * 1.05, rmse=True, confidence=0.95, resamples=1000, seed=0)
    assert value < 0
    assert high < 0
    assert low < value < high


def test_any_metric_drops_in_points_or_in_relative_percent() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 3, 400)
    before = rng.dirichlet([1, 1, 1], 400) + 0.8 * np.eye(3)[targets]
    after = before + 0.5 * rng.dirichlet([1, 1, 1], 400)
    before, after = (one / one.sum(axis=1, keepdims=True) for one in (before, after))
    old, new = classification_metrics(before, targets), classification_metrics(after, targets)
    for metric in ("f1", "auroc", "log_loss", "ece"):
        drop = metric_drop(metric, before, after, targets, resamples=300)
        expected = (
            100 * (new[metric] - old[metric]) / old[metric]
            if metric in ("log_loss", "ece")
            else 100 * (old[metric] - new[metric])
        )
        assert drop.value == pytest.approx(expected)
        assert drop.high > drop.value
    assert metric_drop("accuracy", before, after, targets) == paired_drop(before, after, targets)
    values = targets + rng.normal(size=400)
    worse = values + rng.normal(size=400)
    mae = [regression_metrics(one, targets)["mae"] for one in (values, worse)]
    assert metric_drop("mae", values, worse, targets).value == pytest.approx(100 * (mae[1] - mae[0]) / mae[0])
    assert metric_drop("rmse", values, worse, targets) == paired_drop(values, worse, targets)


def test_a_metric_that_cannot_be() -> None:
    with pytest.raises(InputError, match="unknown metric 'acuracy'") as raised:
        metric_drop("acuracy", np.eye(2), np.eye(2), np.array([0, 1]))
    assert "accuracy" in str(raised.value.hint)
    with pytest.raises(InputError, match="not defined"):
        metric_drop("auroc", np.eye(2)[[0, 0]], np.eye(2)[[0, 0]], np.array([0, 0]))
    with pytest.raises(InputError, match="unknown metric"):
        metric_drop("accuracy", np.ones(3), np.ones(3), np.ones(3))


def test_the_drop_of_a_forecast_is_relative_and_by_column() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(300, 4, 2)) * [1.0, 1000.0]
    errors = rng.normal(size=targets.shape) * [0.5, 500.0]
    drop = paired_drop(targets + errors, targets + 1.1 * errors, targets)
    assert drop.value == pytest.approx(10)
    assert drop.high == pytest.approx(10, abs=1e-6)
    for metric, wanted in (("mse", 21.0), ("mae", 10.0), ("mase", 10.0)):
        found = metric_drop(
            metric, targets + errors, targets + 1.1 * errors, targets, scale=(1.0, 1000.0), naive=(1.0, 900.0)
        )
        assert found.value == pytest.approx(wanted)
    assert paired_drop(targets + errors, targets + errors, targets).value == 0
    with pytest.raises(InputError, match="did you mean 'mase'"):
        metric_drop("mas", targets, targets, targets)


def test_a_rise_of_perplexity_is_of_the_tokens_that_are_judged() -> None:
    rng = np.random.default_rng(0)
    targets = np.where(np.arange(40) < rng.integers(1, 6, (300, 1)), rng.integers(0, 5, (300, 40)), -1)
    before = np.where(targets >= 0, rng.exponential(2, targets.shape), 0.0)
    after = np.where(targets >= 0, before + rng.normal(0.1, 0.2, targets.shape), 0.0)
    sizes = np.ones(5)
    old, new = (
        float(LanguageFacts(losses, targets, sizes).measure(np.ones((1, 300)))["perplexity"][0])
        for losses in (before, after)
    )
    drop = metric_drop("loss", before, after, targets, kind="language")
    assert drop.value == pytest.approx(100 * (new - old) / old)
    assert drop.value < drop.high < 2 * drop.value
    assert metric_drop("perplexity", before, before, targets, kind="language").high == 0
    with pytest.raises(InputError, match="unknown metric 'bleu'"):
        metric_drop("bleu", before, after, targets, kind="language")
