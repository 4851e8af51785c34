"""Rows at any times become steps as a plain loop would make them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.calendar import seconds_of
from bedplate.codecs.gathering import REDUCED, How, begins, filled, gathered

PLAIN: dict[How, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean, "sum": sum, "first": lambda some: some[0], "last": lambda some: some[-1],
    "min": min, "max": max,
}  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 12), st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))), min_size=1),
    st.sampled_from(sorted(REDUCED)),
)
def test_each_step_has_what_a_plain_loop_finds(rows: list[tuple[int, float]], how: How) -> None:
    rows.sort(key=lambda row: row[0])
    first, steps = rows[0][0], rows[-1][0] - rows[0][0] + 1
    values = np.array([[value, -value] for _, value in rows])
    found = gathered(np.array([place - first for place, _ in rows]), values, how, steps)
    for step in range(steps):
        there = [value for place, value in rows if place - first == step]
        known = [value for value in there if value == value]
        wanted = PLAIN[how](known) if known else 0.0 if how == "sum" and not there else float("nan")
        assert found[step, 0] == pytest.approx(wanted, rel=1e-9, abs=1e-6, nan_ok=True)
    assert found.shape == (steps, 2)


def at(*texts: str) -> np.ndarray:
    return np.array([seconds_of(datetime.fromisoformat(text)) for text in texts])


def test_hours_are_utcs_and_days_and_weeks_the_walls() -> None:
    # The clock goes back on 2023-10-29 at 03:00+02:00, which is 01:00 in UTC.
    wall = at("2023-10-29 01:59", "2023-10-29 02:10", "2023-10-29 02:10", "2023-10-29 23:30", "2023-10-30 00:00")
    utc = wall - 3600 * np.array([2, 2, 1, 1, 1])
    hours, starts = begins(utc, wall, 3600)
    assert (hours - hours[0]).tolist() == [0, 1, 2, 23, 24]
    np.testing.assert_array_equal(starts[:3], at("2023-10-29 01:00", "2023-10-29 02:00", "2023-10-29 02:00"))
    days, starts = begins(utc, wall, 86400)
    assert (days - days[0]).tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(starts[-2:], at("2023-10-29", "2023-10-30"))
    weeks, starts = begins(utc, wall, 7 * 86400)
    assert (weeks - weeks[0]).tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(starts[[0, 4]], at("2023-10-23", "2023-10-30"))  # Mondays


def test_gaps_are_filled_on_a_line_and_longer_ones_left() -> None:
    values = np.array([[1.0], [np.nan], [3.0], [np.nan], [np.nan], [9.0], [np.nan]])
    assert filled(values, 1)[:3, 0].tolist() == [1, 2, 3]
    assert np.isnan(filled(values, 1)[3:5, 0]).all()
    assert filled(values, 2)[2:6, 0].tolist() == [3, 5, 7, 9]
    assert np.isnan(filled(values, 9)[6, 0])
