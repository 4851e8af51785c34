from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.compression.halving import crowding, dominates, fronts, survivors

COSTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.tuples(*[st.integers(0, 5).map(float)] * 3), min_size=1, max_size=12
)


@given(COSTS, st.integers(1, 12))
@settings(deadline=None)
def test_nobody_goes_on_before_one_who_beats_him(costs: dict[str, tuple[float, ...]], keep: int) -> None:
    found = survivors(costs, keep)
    assert len(found) == min(keep, len(costs))
    assert found == [name for name in costs if name in found]
    for out in set(costs) - set(found):
        assert not [name for name in found if dominates(costs[out], costs[name])]


def test_fronts_and_gaps() -> None:
    costs = {"a": (0.0, 4.0), "b": (1.0, 3.0), "c": (4.0, 0.0), "d": (2.0, 3.0), "e": (5.0, 5.0)}
    assert fronts(costs) == [["a", "b", "c"], ["d"], ["e"]]
    gaps = crowding(["a", "b", "c"], costs)
    assert gaps["a"] == gaps["c"] == math.inf
    assert gaps["b"] == pytest.approx(2.0)


def test_the_dearest_goes_on_for_its_gap_alone() -> None:
    costs = {"large": (9.0, 3.0, 3.0), "small": (1.0, 4.0, 5.0), "fast": (5.0, 1.0, 4.0), "right": (8.5, 2.9, 0.0)}
    gaps = crowding(list(costs), costs)
    assert math.isfinite(gaps["large"])
    assert survivors(costs, 3) == ["small", "fast", "right"]


def test_the_ends_of_a_front_go_on_first() -> None:
    costs = {"middle": (2.0, 2.0), "small": (0.0, 9.0), "right": (9.0, 0.0)}
    assert survivors(costs, 2) == ["small", "right"]
    with pytest.raises(ValueError, match="one or more"):
        survivors(costs, 0)
