"""How far apart a series' steps are, so many seconds or calendar months, and the times that follow a past."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from bedplate.codecs.calendar import PERIOD, QUARTER, UNIX, in_milliseconds, seconds_of
from bedplate.codecs.gathering import DAY
from bedplate.codecs.numbers import parse_number

_OFF = 0.01
"""Of a step: so far may a time lie from where it should."""

_ZONE = re.compile(r"\s*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$", re.I)
_CLOCK = re.compile(r"\d:\d{2}|T\d{6}")
_TO_THE_MONTH = re.compile(r"\d{4}[-/.]\d{1,2}")


@dataclass(frozen=True)
class Stride:
    """The distance of two steps.

    Attributes:
        seconds: so many; 0 where they are months or not known.
        months: so many calendar months, of 28 to 31 days each; 0 where they are seconds.
    """

    seconds: float = 0.0
    months: int = 0

    def __bool__(self) -> bool:
        """Whether it is known."""
        return bool(self.seconds or self.months)

    def parts(self, before: datetime, after: datetime) -> bool:
        """Return whether one step lies between two moments."""
        if self.months:
            return month_of(after) - month_of(before) == self.months
        return abs((after - before).total_seconds() - self.seconds) <= _OFF * self.seconds

    def places(self, moments: Sequence[datetime], *, again: bool = False) -> np.ndarray | None:
        """Return which step each moment is, int64 [N]; None: one lies between two, or (not `again`) is there twice."""
        first = min(moments)
        if self.months:
            apart = np.array([month_of(moment) - month_of(first) for moment in moments]) / self.months
        else:
            apart = np.array([(moment - first).total_seconds() for moment in moments]) / self.seconds
        found = np.round(apart).astype(np.int64)
        whole = bool((np.abs(apart - found) <= _OFF).all()) and (again or len(np.unique(found)) == len(found))
        return found if whole else None

    def later(self, moment: datetime, steps: int, day: int = 0) -> datetime:
        """Return the moment so many steps later.

        Args:
            moment: where to begin.
            steps: how many.
            day: of the month, where steps are months; shorter months end before it. 0: the moment's.
        """
        if not self.months:
            return moment + timedelta(seconds=self.seconds * steps)
        years, month = divmod(month_of(moment) + self.months * steps, 12)
        last = calendar.monthrange(years, month + 1)[1]
        return moment.replace(year=years, month=month + 1, day=min(day or moment.day, last))


def month_of(moment: datetime) -> int:
    """Return the number of a moment's month, counted from the year 0."""
    return 12 * moment.year + moment.month - 1


def following(
    stride: Stride, moments: Sequence[datetime], text: str, order: str, steps: int
) -> list[str | float] | None:
    """Return the times of the steps that follow a past, written as its latest is; dates by ISO 8601.

    Args:
        stride: the distance of two steps; it is known.
        moments: of the past on the clock on the wall, the latest last.
        text: how the latest is written.
        order: how training's times were written, as `calendar.moment_of` takes it.
        steps: how many follow.

    Returns:
        Texts; numbers where times are seconds or milliseconds since 1970; None where the calendar ends before them.
    """
    latest = moments[-1]
    # Ends of months are followed by ends of months, and the 31st, cut in February, by the 31st.
    ends = all(one.day == calendar.monthrange(one.year, one.month)[1] for one in moments)
    day = 31 if ends else max(one.day for one in moments)
    try:
        found = [stride.later(latest, step, day) for step in range(1, steps + 1)]
    except (OverflowError, ValueError):
        return None
    return [written(moment, text, order) for moment in found]


def written(moment: datetime, text: str, order: str) -> str | float:
    """Return a moment on the wall's clock in the form of `text`: as exact, and with its zone; dates by ISO 8601."""
    if order == UNIX and (number := parse_number(text)) is not None:
        seconds = seconds_of(moment) * (1000 if in_milliseconds(number) else 1)
        return int(seconds) if seconds.is_integer() else seconds
    if order == PERIOD:
        quarter = QUARTER.fullmatch(text)
        if quarter is None:
            return f"{moment.year}"
        sign, number = quarter["between"] or quarter["between_"] or "", (moment.month + 2) // 3
        return f"{moment.year}{sign}Q{number}" if quarter["year"] else f"Q{number}{sign}{moment.year}"
    if _TO_THE_MONTH.fullmatch(text):
        return f"{moment:%Y-%m}"
    if not _CLOCK.search(text) and seconds_of(moment) % DAY == 0:
        return f"{moment:%Y-%m-%d}"
    zone = _ZONE.search(text)
    return moment.isoformat("T" if re.search(r"\dT\d", text) else " ") + (zone[0].strip() if zone else "")
