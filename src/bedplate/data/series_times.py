"""Put a series' rows on a grid of equal steps: sorted, without duplicates, with the gaps known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from bedplate.codecs.calendar import EPOCH, LEAST_UNIX, PERIOD, UNIX, period_of, seconds_of
from bedplate.codecs.columns import Raw
from bedplate.codecs.dates import Order, find_order, offset_of, parse_date
from bedplate.codecs.gathering import begins
from bedplate.codecs.numbers import parse_number
from bedplate.codecs.stride import month_of, written
from bedplate.core.errors import DataError

HOUR, DAY = 3600.0, 86400.0
SEASONS = {
    60.0: 60, 300.0: 288, 600.0: 144, 900.0: 96, 1800.0: 48, HOUR: 24, 2 * HOUR: 12, 3 * HOUR: 8, 4 * HOUR: 6,
    6 * HOUR: 4, 8 * HOUR: 3, 12 * HOUR: 2, DAY: 7, 7 * DAY: 52,
}  # fmt: skip
"""How many steps a season has, by the seconds of a step: a day within days, a week of days, a year of weeks."""

_UNIX = (LEAST_UNIX, 1e11)
"""Numbers of at least and below this are taken for seconds since 1970 (1973 to 5138); a thousand times that, for ms."""

_FRACTION = re.compile(r"(?<=:\d\d)[.,]\d+")
"""Of a second, as a time writes it."""

_OFF = 0.05
"""How far from its place on the grid a time may lie, in steps."""

_NAMES: dict[Order, str] = {"dmy": "day first", "mdy": "month first"}

_MONTHS = {1: (28, 31), 3: (90, 92), 6: (181, 184), 12: (365, 366)}
"""How many days so many calendar months have, from the fewest to the most."""


@dataclass(frozen=True)
class Grid:
    """Where each row lies.

    Attributes:
        places: int64 [rows], steps after the first row.
        step: seconds between two steps; 0 where they are months or not known.
        rank: float64 [rows], by which rows of one step are in order of time.
        months: calendar months between two steps; 0 where they are seconds or not known.
        season: steps of a season; 1 where none is known.
        texts: the times as they are written [rows]; numbers of rows where there are none.
        notes: what people should know.
        order: how the times are written, as `codecs.calendar.moment_of` takes it.
        wall: each row's seconds since 1970 on the clock on the wall; empty where there are no times.
    """

    places: np.ndarray
    step: float
    season: int
    texts: Sequence[str]
    notes: tuple[str, ...] = ()
    order: str = "ymd"
    wall: np.ndarray = field(default_factory=lambda: np.empty(0))
    months: int = 0
    rank: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def by_time(self) -> np.ndarray:
        """The rows in the order of time; those of one time as they come."""
        return np.lexsort((self.rank, self.places)) if len(self.rank) else np.argsort(self.places, kind="stable")


STEPS = {"s": 1.0, "min": 60.0, "h": HOUR, "d": DAY, "w": 7 * DAY}
"""The units of `data.series.step`, in seconds."""

_NICE = ("1s", "5s", "10s", "30s", "1min", "5min", "10min", "15min", "30min", "1h", "2h", "3h", "6h", "12h", "1d", "1w")


class UnequalSteps(DataError):
    """Rows lie at no equal steps.

    Args:
        step: they could be gathered into such ones.
        what: as `DataError`'s.
        told: likewise.
    """

    def __init__(self, step: str, what: str, **told: str) -> None:
        self.step = step
        super().__init__(
            what, **told,
            hint=f"set data.series.step: {step} to gather the rows into such steps; data.series.gather says how",
        )  # fmt: skip


def seconds_of_step(text: str) -> float:
    """Return the seconds of a step such as "15min"."""
    unit = text.lstrip("0123456789 ")
    return float(text[: len(text) - len(unit)]) * STEPS[unit]


def rows_as_grid(rows: int) -> Grid:
    """Return the grid of rows without times, which follow one another."""
    return Grid(np.arange(rows), 0.0, 1, [f"row {k + 1}" for k in range(rows)])


def grid_of(values: Sequence[Raw], column: str, ids: Sequence[str], step: str | None = None) -> Grid:
    """Return the grid of a column of times, in any order.

    Args:
        values: the times.
        column: its name.
        ids: the rows' names, for messages.
        step: of this length, such as "15min", are the steps, and rows lie within them; None: rows lie at equal steps.

    Raises:
        DataError: names the first row whose time is missing, can't be read, or lies between two steps.
    """
    texts = [str(value).strip() if value is not None else "" for value in values]
    for row, text in enumerate(texts):
        if not text:
            raise DataError(f"the time '{column}' is missing", where=ids[row], expected="a time in every row")
    unix = _unix(texts)
    if unix is not None:
        texts = [str(datetime(1970, 1, 1) + timedelta(seconds=second)) for second in unix]
    periods = None if unix is not None else [period_of(text) for text in texts]
    order = find_order(texts)
    exchanged = None
    if order is not None and order[1]:
        way, exchanged = _evener(texts, column, order[0])
        order = (way, True)
    moments = [parse_date(text, order[0]) for text in texts] if order is not None and order[0] != "clock" else []
    if periods is not None and None not in periods:
        moments = periods
    if not moments or None in moments:
        bad = next((k for k, text in enumerate(texts) if parse_date(text, "ymd") is None), 0)
        raise DataError(
            f"'{column}' holds no times", where=ids[bad],
            expected="dates such as 2020-01-31 08:00, years or quarters such as 2020Q1, in one form",
            received=texts[bad][:40],
        )  # fmt: skip
    seconds = np.array([seconds_of(moment) for moment in moments if moment is not None])
    wall, written_as = seconds.copy(), UNIX if unix is not None else order[0] if order is not None else PERIOD
    small = unix is not None and float(parse_number(str(values[0]).strip()) or 0) < _UNIX[1]
    unit = "seconds" if small else "milliseconds"
    notes = [f"the times are {unit} since 1970; they are read in UTC"] if unix is not None else []
    offsets = [offset_of(text) for text in texts]
    if any(offset is not None for offset in offsets):
        if None in offsets:
            raise DataError(
                "some times name a zone and others don't", where=ids[offsets.index(None)],
                expected="an offset such as +02:00 in every row, or in none", received=texts[offsets.index(None)],
            )  # fmt: skip
        seconds -= np.array(offsets, float)
        if len(set(offsets)) > 1:
            notes.append(f"'{column}' names several offsets from UTC; times are compared in UTC")
    if exchanged is not None:
        notes.append(exchanged)
    if (np.diff(seconds) < 0).any():
        notes.append(f"the rows were not in the order of '{column}'; they are sorted by it")
    if step is not None:
        return _gathering(seconds, wall, seconds_of_step(step), texts, written_as, notes)
    _check_fractions(texts, column, ids)
    steps = np.diff(np.unique(seconds))
    if not len(steps):
        raise DataError("all rows have one time", where=f"data.series.time '{column}'", received=texts[0])
    usual = float(np.median(steps))
    months = np.array([month_of(moment) for moment in moments if moment is not None])
    months -= months.min()
    distinct = len(np.unique(seconds))
    for count, (fewest, most) in _MONTHS.items():
        if not fewest * DAY <= usual <= most * DAY or (months % count).any():
            continue
        if len(np.unique(months)) == distinct:  # else two of them lie in one month: these are so many days
            return Grid(months // count, 0.0, 12 // count, texts, tuple(notes), written_as, wall, count)
    where = (seconds - seconds.min()) / usual
    places = np.round(where).astype(np.int64)
    off = np.abs(where - places)
    if off.max() > _OFF:
        row = int(off.argmax())
        raise UnequalSteps(
            likely_step(seconds),
            "the times don't lie at equal steps", where=f"{ids[row]}, column '{column}'",
            expected=f"a whole number of steps of {_shown(usual)} after {texts[int(seconds.argmin())]}",
            received=texts[row],
        )  # fmt: skip
    return Grid(places, usual, SEASONS.get(usual, 1), texts, tuple(notes), written_as, wall)


def _gathering(
    utc: np.ndarray, wall: np.ndarray, step: float, texts: Sequence[str], order: str, notes: Sequence[str]
) -> Grid:
    """Return the grid of rows that are gathered into steps, whose times are those when these begin."""
    places, starts = begins(utc, wall, step)
    moments = [EPOCH + timedelta(seconds=start) for start in starts.tolist()]
    shown = [str(written(moment, text, order)) for moment, text in zip(moments, texts, strict=True)]
    return Grid(places - places.min(), step, SEASONS.get(step, 1), shown, tuple(notes), order, starts, rank=utc)


def _check_fractions(texts: Sequence[str], column: str, ids: Sequence[str]) -> None:
    """Refuse times that parts of a second tell apart, which are not read: their rows would be taken for one."""
    whole: dict[str, str] = {}
    for row, text in zip(ids, texts, strict=True):
        if whole.setdefault(_FRACTION.sub("", text), text) != text:
            raise DataError(
                "times are read to the second", where=f"{row}, column '{column}'",
                expected="steps of a second or more", received=text[:40],
                hint="set data.series.step: 1s to gather the rows into seconds, or leave the times out where rows "
                "follow one another at equal steps",
            )  # fmt: skip


def likely_step(seconds: np.ndarray) -> str:
    """Return the shortest of the usual steps of which nine in ten have a row; a week where none has.

    Args:
        seconds: the rows' times [rows], not all of them one.
    """
    span = float(seconds.max() - seconds.min())
    for text in _NICE:
        step = seconds_of_step(text)
        if span / step <= 50 * len(seconds) and len(np.unique(np.floor(seconds / step))) >= 0.9 * (span / step + 1):
            return text
    return _NICE[-1]


def _evener(texts: Sequence[str], column: str, usual: Order) -> tuple[Order, str]:
    """Return the order of day and month that gives more equal steps, and a note; `usual` where neither does.

    Both can be read; on the first of every month the wrong one makes twelve days, and a gap to the next year.
    """
    ways: tuple[Order, Order] = ("dmy", "mdy")
    even = {way: _evenness([parse_date(text, way) for text in texts]) for way in ways}
    said = f"day and month of '{column}' could be exchanged"
    if even["dmy"] == even["mdy"]:
        return usual, (
            f"{said}, and either reading gives steps as equal; read as {_NAMES[usual]}: "
            "write dates as 2016-02-01 to be sure"
        )
    best = max(ways, key=lambda way: even[way])
    return best, f"{said}; read as {_NAMES[best]}, which gives equal steps"


def _evenness(moments: Sequence[datetime | None]) -> float:
    """Return which share of the steps between times is as long as the usual one; months are equally long."""
    known = sorted({moment for moment in moments if moment is not None})
    steps = np.diff([seconds_of(moment) for moment in known])
    if not len(steps):
        return 0.0
    usual = float(np.median(steps))
    for count, (fewest, most) in _MONTHS.items():
        if fewest * DAY <= usual <= most * DAY:
            return float((np.diff([month_of(moment) for moment in known]) == count).mean())
    return float((np.abs(steps - usual) <= _OFF * usual).mean())


def are_numbered_times(texts: Sequence[str]) -> bool:
    """Return whether all of some numbers are years, or seconds or milliseconds since 1970."""
    return _unix(texts) is not None or None not in map(period_of, texts)


def _unix(texts: Sequence[str]) -> np.ndarray | None:
    """Return seconds since 1970 where all texts are such numbers, or milliseconds; else None."""
    numbers = [parse_number(text) for text in texts]
    if None in numbers:
        return None
    found = np.array(numbers, float)
    for factor in (1.0, 1000.0):
        if (found >= _UNIX[0] * factor).all() and (found < _UNIX[1] * factor).all():
            return found / factor
    return None


def _shown(step: float) -> str:
    for size, name in ((DAY, "day"), (HOUR, "hour"), (60.0, "minute"), (1.0, "second")):
        if step >= size:
            count = step / size
            return f"{count:g} {name}{'' if count == 1 else 's'}"
    return f"{step:g} seconds"
