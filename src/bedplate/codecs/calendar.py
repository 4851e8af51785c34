"""Where a moment lies in the day, the week and the year, as sines and cosines.

Any rhythm that so many harmonics can draw is a linear map of them, and so is the same rhythm any number of steps later
(the angles' sum formulas): the moment of the latest step is enough to forecast all that come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from bedplate.codecs.dates import ORDERS, parse_date
from bedplate.codecs.numbers import parse_number

CALENDAR = "calendar"
"""The tensor of a moment's features."""

HARMONICS = {"day": 4, "week": 3, "year": 2}
"""Of each cycle: a day may have two rush hours, a week any order of its days, a year its seasons and half of them."""

UNIX = "unix"
"""The order of times that are seconds since 1970, or milliseconds from 100,000,000,000 on."""

PERIOD = "period"
"""The order of times that are years or quarters: 2024, 2024Q3, 2024-Q3, Q3 2024."""

QUARTER = re.compile(
    r"(?P<year>\d{4})(?P<between>[-\s/]?)Q(?P<quarter>[1-4])"
    r"|Q(?P<quarter_>[1-4])(?P<between_>[-\s/]?)(?P<year_>\d{4})",
    re.I,
)

LEAST_UNIX = 1e8
"""Numbers of at least this are taken for seconds since 1970 (from 1973 on)."""

_YEARS = (1000, 2999)
_MILLISECONDS = 1e11
SERIES_ORDERS = (*ORDERS, UNIX, PERIOD)
"""How a series' times may be written."""

_DAY = 86400.0
EPOCH = datetime(1970, 1, 1)


def calendar_width(cycles: Sequence[str]) -> int:
    """Return how many features a moment has."""
    return sum(2 * HARMONICS[cycle] for cycle in cycles)


def calendar_features(seconds: np.ndarray, cycles: Sequence[str]) -> np.ndarray:
    """Return the features of moments, float32 [N, calendar_width(cycles)], in -1..1.

    Args:
        seconds: since 1970 on the clock on the wall [N].
        cycles: of "day", "week" and "year"; of each its harmonics' cosines and sines in turn.
    """
    parts = []
    for cycle in cycles:
        angles = 2 * np.pi * _share(np.asarray(seconds, np.float64), cycle)
        for k in range(1, HARMONICS[cycle] + 1):
            parts += [np.cos(k * angles), np.sin(k * angles)]
    return np.stack(parts, axis=1).astype(np.float32) if parts else np.empty((len(seconds), 0), np.float32)


def _share(seconds: np.ndarray, cycle: str) -> np.ndarray:
    """Return how much of the running day, week (from Monday) or year has gone, 0 to 1."""
    if cycle == "day":
        return np.asarray(seconds % _DAY / _DAY)
    if cycle == "week":
        return np.asarray((seconds / _DAY + 3) % 7 / 7)  # 1970 began on a Thursday
    moments = (np.round(seconds * 1000)).astype("datetime64[ms]")
    years = moments.astype("datetime64[Y]")
    begin, end = years.astype("datetime64[ms]"), (years + 1).astype("datetime64[ms]")
    return np.asarray((moments - begin) / (end - begin))


def moment_of(text: str, order: str) -> datetime | None:
    """Return the moment that a time's text writes under `order`, one of `SERIES_ORDERS`; None: none."""
    if order == PERIOD:
        return period_of(text)
    if order != UNIX:
        return parse_date(text, next(known for known in ORDERS if known == order))
    number = parse_number(text)
    if number is None:
        return parse_date(text, "ymd")
    seconds = number / 1000 if in_milliseconds(number) else number
    try:
        return EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None


def period_of(text: str) -> datetime | None:
    """Return when a year or a quarter begins, or None where the text names neither."""
    quarter = QUARTER.fullmatch(text)
    if quarter is not None:
        year, number = quarter["year"] or quarter["year_"], quarter["quarter"] or quarter["quarter_"]
        return datetime(int(year), 3 * int(number) - 2, 1) if int(year) else None
    whole = re.fullmatch(r"(\d{4})(?:\.0)?", text)  # a column of numbers with gaps has the point
    return datetime(int(whole[1]), 1, 1) if whole and _YEARS[0] <= int(whole[1]) <= _YEARS[1] else None


def in_milliseconds(number: float) -> bool:
    """Return whether a number since 1970 is one of milliseconds rather than of seconds."""
    return number >= _MILLISECONDS


def seconds_of(moment: datetime) -> float:
    """Return a moment's seconds since 1970, as if its clock were in UTC."""
    return (moment - EPOCH).total_seconds()
