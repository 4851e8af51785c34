from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.compression.front import Budget, Point, choose, dominates, pareto
from bedplate.compression.measure import Latency

NUMBERS = st.integers(0, 6)


def point(name: str, size: float, ms: float, drop: float) -> Point:
    return Point(name, (), round(size * 1e6), Latency(ms, ms * 1.2, 9), ("accuracy", 0.9), drop, drop)


POINTS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12).map(
    lambda found: [point(str(k), *costs) for k, costs in enumerate(found)]
)


@given(POINTS)
def test_a_front_holds_what_nothing_dominates_and_stands_for_the_rest(points: list[Point]) -> None:
    front = pareto(points)
    assert front
    assert not any(dominates(a, b) for a in front for b in front)
    for left in points:
        if left not in front:
            assert any(
                dominates(one, left) or (one.size_bytes, one.latency, one.drop_high) == (left.size_bytes, left.latency, left.drop_high)
                for one in front
            )  # fmt: skip


@given(POINTS, NUMBERS, NUMBERS, NUMBERS)
def test_what_is_chosen_of_the_front_is_what_would_be_chosen_of_all(
    points: list[Point], size: int, ms: int, drop: int
) -> None:
    budget = Budget(ms, size, drop)
    found, on_front = choose(points, budget), choose(pareto(points), budget)
    assert found.feasible == on_front.feasible == any(not budget.excesses(one) for one in points)
    assert found.binding == on_front.binding
    assert bool(found.binding) != found.feasible
    if found.feasible:
        assert found.chosen.latency.median == on_front.chosen.latency.median
        assert not budget.excesses(on_front.chosen)


def test_the_fastest_within_the_budget_is_taken() -> None:
    points = [point("a", 4, 2, 0), point("b", 1, 1, 0.4), point("c", 1, 0.5, 3)]
    assert choose(points, Budget(max_drop=0.5)).chosen.name == "b"
    assert choose(points, Budget()).chosen.name == "c"


def test_an_infeasible_budget_says_what_binds_and_what_is_nearest() -> None:
    points = [point("original", 4, 2, 0), point("half", 2, 1, 0.4), point("tiny", 0.2, 0.1, 5)]
    found = choose(points, Budget(max_latency_ms=0.9, max_drop=0.5))
    assert (found.feasible, found.chosen.name) == (False, "half")
    assert set(found.binding) == {"max_latency_ms", "max_drop"}  # either could give way
    found = choose(points, Budget(max_size_mb=0.1, max_drop=0.5))
    assert found.binding == ("max_size_mb",)
    found = choose(points, Budget(0.05, 0.1, 0.5))
    assert not found.feasible
    assert set(found.binding) <= {"max_latency_ms", "max_size_mb", "max_drop"}
    assert found.binding


def test_a_limit_of_nothing_can_be_given() -> None:
    points = [point("original", 4, 2, 0), point("half", 2, 1, 0.4)]
    assert choose(points, Budget(max_drop=0)).chosen.name == "original"
    assert choose(points[1:], Budget(max_drop=0)).binding == ("max_drop",)


def test_a_point_as_json() -> None:
    found = point("half", 2, 1, 0.4).to_json()
    assert found["size_bytes"] == 2_000_000
    assert found["latency_ms"] == {"median": 1, "p95": pytest.approx(1.2)}
    assert found["metric"] == {"name": "accuracy", "value": 0.9, "drop": 0.4, "drop_high": 0.4}
