"""What a report says first."""

from __future__ import annotations

import pytest

from bedplate.evaluation.story import coverage_told, verdict_of


@pytest.mark.parametrize(
    ("value", "low", "high", "end"),
    [(0.6, 0.55, 0.65, ": too few."), (0.95, 0.9, 1.0, ": too many."), (0.78, 0.7, 0.85, ".")],
)
def test_quantiles_are_told_with_what_they_should_hold(value: float, low: float, high: float, end: str) -> None:
    metrics = {"mse": {"value": 1.0, "low": 0.9, "high": 1.1}, "coverage": {"value": value, "low": low, "high": high}}
    forecast = {"levels": [0.1, 0.5, 0.9]}
    told = coverage_told(forecast, metrics)
    assert told == f"Between the quantiles 0.1 and 0.9 lies {value:.1%} of what came, of 80% that should{end}"
    story = {"metrics": metrics, "report": {"kind": "forecast", "forecast": forecast}}
    assert verdict_of(story).text.endswith(told)
    assert coverage_told({}, metrics) is None
    assert coverage_told(forecast, {"mse": metrics["mse"]}) is None
