from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.calendar import HARMONICS, UNIX, calendar_features, calendar_width, moment_of, seconds_of

MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1))


def plain(moment: datetime, cycle: str) -> list[float]:
    """A moment's features, by Python's own calendar."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    day = (moment - midnight) / timedelta(days=1)
    begin = datetime(moment.year, 1, 1)
    share = {
        "day": day, "week": (moment.weekday() + day) / 7,
        "year": (moment - begin) / (datetime(moment.year + 1, 1, 1) - begin),
    }[cycle]  # fmt: skip
    angles = [2 * np.pi * k * share for k in range(1, HARMONICS[cycle] + 1)]
    return [part for angle in angles for part in (np.cos(angle), np.sin(angle))]


@given(st.lists(MOMENTS, min_size=1, max_size=5))
def test_features_are_those_of_the_plain_twin(moments: list[datetime]) -> None:
    found = calendar_features(np.array([seconds_of(one) for one in moments]), list(HARMONICS))
    assert found.dtype == np.float32
    assert found.shape == (len(moments), calendar_width(list(HARMONICS)))
    wanted = [[part for cycle in HARMONICS for part in plain(one, cycle)] for one in moments]
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@given(st.integers(1, 200))
def test_a_rhythm_steps_ahead_is_a_linear_map_of_now(ahead: int) -> None:
    hours = np.arange(24 * 14) * 3600.0
    now, then = (calendar_features(hours + shift, ["day", "week"]).astype(float) for shift in (0, 3600.0 * ahead))
    fitted, *_ = np.linalg.lstsq(now, then, rcond=None)
    np.testing.assert_allclose(now @ fitted, then, atol=1e-5)


def test_no_cycle_has_no_features() -> None:
    assert calendar_features(np.zeros(3), []).shape == (3, 0)


@pytest.mark.parametrize(
    ("text", "order", "moment"),
    [
        ("2024-02-29 06:30", "ymd", datetime(2024, 2, 29, 6, 30)), ("03/04/2024", "dmy", datetime(2024, 4, 3)),
        ("2024-02-29T06:30:00+05:00", "ymd", datetime(2024, 2, 29, 6, 30)), ("03/04/2024", "ymd", None),
        ("1709188200", UNIX, datetime(2024, 2, 29, 6, 30)), ("1709188200000", UNIX, datetime(2024, 2, 29, 6, 30)),
        ("2024-02-29", UNIX, datetime(2024, 2, 29)), ("1e300", UNIX, None), ("soon", UNIX, None), ("", "ymd", None),
    ],
)  # fmt: skip
def test_times_are_read_as_training_s_were(text: str, order: str, moment: datetime | None) -> None:
    assert moment_of(text, order) == moment
