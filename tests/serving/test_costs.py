from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.serving.costs import CostModel


@given(st.floats(1e-6, 0.1), st.floats(1e-7, 0.01))
def test_a_line_is_found_again(fixed: float, each: float) -> None:
    costs = CostModel((rows, fixed + each * rows) for rows in (1, 2, 4, 8, 16))
    assert costs.fixed == pytest.approx(fixed, rel=1e-3, abs=1e-9)
    assert costs.each == pytest.approx(each, rel=1e-3, abs=1e-9)
    assert costs.seconds(10) == pytest.approx(fixed + 10 * each, rel=1e-3)


def test_the_past_is_forgotten() -> None:
    costs = CostModel((rows, 1.0 + rows) for rows in (1, 4, 8) * 20)
    for rows in (1, 4, 8) * 100:
        costs.add(rows, 0.1 * rows)
    assert costs.seconds(4) == pytest.approx(0.4, rel=0.05)


def test_with_one_batch_size_nothing_is_said_of_the_fixed_part() -> None:
    costs = CostModel([(4, 0.4), (4, 0.6)])
    assert costs.fixed == pytest.approx(0, abs=1e-12)
    assert costs.seconds(4) == pytest.approx(0.5, rel=0.05)


def total_delay(rows: int, gap: float, fixed: float, each: float, *, wait: bool) -> float:
    """Play both courses: requests that are there at 0, one that comes at `gap`, one runner."""
    if wait:
        end = gap + fixed + each * (rows + 1)
        return rows * end + (end - gap)
    first = fixed + each * rows
    return rows * first + (max(first, gap) + fixed + each - gap)


@given(st.integers(1, 20), st.floats(1e-5, 0.05), st.floats(1e-5, 0.05), st.floats(1e-6, 0.01))
def test_waiting_pays_exactly_where_the_sum_of_delays_shrinks(rows: int, gap: float, fixed: float, each: float) -> None:
    costs = CostModel((n, fixed + each * n) for n in (1, 2, 4, 8, 16, 32))
    now, later = (total_delay(rows, gap, fixed, each, wait=wait) for wait in (False, True))
    if gap < fixed + each * rows and abs(now - later) > 1e-3 * now:
        assert costs.waiting_pays(rows, gap) == (later < now)


def test_waiting_never_pays_without_a_fixed_part_or_for_one_that_is_far_off() -> None:
    assert not CostModel((n, 0.01 * n) for n in (1, 2, 4)).waiting_pays(1, 1e-6)
    assert not CostModel((n, 0.001 + 0.001 * n) for n in (1, 2, 4)).waiting_pays(1, 1.0)
