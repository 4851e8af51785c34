"""Schedules: pure functions of where training stands."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.training import schedules

HISTORY = [{"validation_loss": loss} for loss in (1.0, 0.5, 0.5, 0.5, 0.49, 0.5, 0.5, 0.5, 0.5)]


@pytest.mark.parametrize("name", schedules.names())
@given(progress=st.floats(0, 1, exclude_max=True), epoch=st.integers(0, 50))
def test_factors_are_between_zero_and_one(name: str, progress: float, epoch: int) -> None:
    assert 0 <= schedules.get(name)()(progress, epoch, HISTORY) <= 1


@pytest.mark.parametrize("name", ["constant", "cosine", "linear"])
def test_warm_up_rises_to_the_full_rate(name: str) -> None:
    schedule = schedules.get(name)(warmup=0.25)
    rising = [schedule(k / 100, 0, []) for k in range(26)]
    assert all(one <= two for one, two in pairwise(rising))
    assert rising[0] < 0.01
    assert schedule(0.25, 0, []) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["cosine", "linear", "one-cycle"])
def test_falling_schedules_end_near_nothing(name: str) -> None:
    assert schedules.get(name)()(0.9999, 9, []) < 1e-3


def test_plateau_waits_lowers_and_counts_again() -> None:
    schedule = schedules.get("plateau")(patience=2, factor=0.5, threshold=0.05)
    factors = [schedule(0.0, k, HISTORY[:k]) for k in range(len(HISTORY) + 1)]
    # 0.49 is within the threshold of 0.5, so it is no fall
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_plateau_stops_at_its_floor() -> None:
    schedule = schedules.get("plateau")(patience=1, factor=0.1, floor=0.05)
    assert schedule(0.0, 9, HISTORY) == 0.05


def test_step_multiplies_every_so_many_epochs() -> None:
    schedule = schedules.get("step")(every=3, factor=0.1)
    assert [round(schedule(0, k, []), 6) for k in (0, 2, 3, 6)] == [1, 1, 0.1, 0.01]
