"""The tests of significance against SciPy, against their formulas, and against chance itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bedplate.core.errors import InputError
from bedplate.evaluation.significance import (
    holm,
    incomplete_beta,
    mean_interval,
    paired_t,
    t_critical,
    t_two_sided,
    welch_t,
)


@given(t=st.floats(-60, 60), degrees=st.floats(1, 400))
def test_student_t_is_scipys(t: float, degrees: float) -> None:
    assert t_two_sided(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-8, abs=1e-14)


@given(a=st.floats(0.1, 50), b=st.floats(0.1, 50), x=st.floats(0, 1))
def test_the_incomplete_beta_is_scipys(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(float(stats.beta.cdf(x, a, b)), abs=1e-10)


@pytest.mark.parametrize("degrees", [1, 2, 4, 9, 30, 1000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99, 0.999])
def test_the_critical_value_is_scipys(degrees: int, confidence: float) -> None:
    assert t_critical(confidence, degrees) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-9)


@given(st.integers(2, 30), st.integers(0, 10_000))
def test_paired_and_welch_are_scipys(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.normal(0.9, 0.02, n), draw.normal(0.88, 0.05, n)
    mine, theirs = paired_t(first.tolist(), second.tolist()), stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert mine.p_value == pytest.approx(theirs.pvalue, rel=1e-7)
    assert (mine.low, mine.high) == pytest.approx((interval.low, interval.high), rel=1e-7)
    other = second[: max(2, n // 2)]
    mine, theirs = welch_t(first.tolist(), other.tolist()), stats.ttest_ind(first, other, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert mine.p_value == pytest.approx(theirs.pvalue, rel=1e-7)
    assert (mine.low, mine.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = [0.91, 0.93, 0.90, 0.95]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx((np.mean(values), low, high))
    assert mean_interval([0.5]) == (0.5, 0.5, 0.5)


def test_the_correction_for_overlapping_folds_is_nadeau_and_bengios() -> None:
    first, second = [0.90, 0.92, 0.91, 0.95, 0.93], [0.89, 0.90, 0.91, 0.92, 0.92]
    differences = np.subtract(first, second)
    error = math.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    found = paired_t(first, second, overlap=1 / 4)
    assert found.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / error, 4))
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert found.p_value > paired_t(first, second).p_value
    assert "Nadeau" in found.method


def test_equal_differences_claim_no_more_than_the_sign_test() -> None:
    found = paired_t([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    assert found.p_value == pytest.approx(0.25)
    assert found.effect is None
    assert paired_t([0.5, 0.6], [0.5, 0.6]).p_value == 1.0
    assert welch_t([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]).p_value == pytest.approx(0.1)


def test_too_few_or_unpaired_figures_are_refused() -> None:
    for first, second in (([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([1.0, math.nan], [1.0, 2.0])):
        with pytest.raises(InputError):
            paired_t(first, second)


def test_holm_on_a_known_case() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    for p, q in zip(values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(values) * p) + 1e-12
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_real_difference_is_found_and_its_sign_is_right(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.001, 8)
    found = paired_t((0.9 + noise).tolist(), [0.95] * 8)
    assert found.p_value < 0.001
    assert found.high < 0
    assert found.effect is not None
    assert found.effect < 0


def test_the_whole_procedure_keeps_its_promise_where_nothing_differs() -> None:
    """Three arms against a reference, five seeds: any false finding in at most 5 % of 2,000 experiments."""
    draw = np.random.default_rng(7)
    false = plain = 0
    for _ in range(2000):
        arms = draw.normal(0.9, 0.01, (4, 5))
        p_values = [paired_t(arm.tolist(), arms[0].tolist()).p_value for arm in arms[1:]]
        false += min(holm(p_values)) < 0.05
        plain += min(p_values) < 0.05
    # Three standard deviations of a binomial share around 5 %: 1.5 points.
    assert false / 2000 < 0.065
    assert plain / 2000 > 0.08, "without the correction chance finds more"


def test_folds_without_the_correction_would_find_what_is_not_there() -> None:
    """Two learners of equal quality, 10-fold: simulated as Nadeau and Bengio do, with correlated differences."""
    draw = np.random.default_rng(3)
    folds, correlation = 10, 1 / 10  # the correlation that the correction assumes: test share n2 / (n1 + n2)
    corrected = plain = 0
    for _ in range(1500):
        common = draw.normal(0, math.sqrt(correlation))
        differences = common + draw.normal(0, math.sqrt(1 - correlation), folds)
        zeros = [0.0] * folds
        corrected += paired_t(differences.tolist(), zeros, overlap=1 / 9).p_value < 0.05
        plain += paired_t(differences.tolist(), zeros).p_value < 0.05
    assert corrected / 1500 < 0.07
    assert plain / 1500 > 0.10
