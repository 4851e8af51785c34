"""The times of a past: read as training wrote them, put in order, and checked to follow one another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bedplate.codecs.calendar import LEAST_UNIX, PERIOD, UNIX, moment_of, period_of
from bedplate.codecs.dates import find_order, offset_of
from bedplate.codecs.numbers import parse_number
from bedplate.codecs.stride import Stride
from bedplate.core.errors import PayloadError

FORMS = {
    "ymd": "such as 2024-01-31 08:00", "dmy": "such as 31.01.2024", "mdy": "such as 01/31/2024",
    UNIX: "as seconds since 1970", PERIOD: "as years or quarters",
}  # fmt: skip
"""How times of each order are written, for messages."""


def moments_of(rows: Sequence[Any], time: str, order: str, stride: Stride) -> tuple[list[datetime], str] | None:
    """Return each row's time in UTC and the order in which they are written, or None where no row has one.

    Where none can be read as training's were, but all in one other way, they are read so.

    Args:
        rows: of one past.
        time: the column of times.
        order: how training's times were written, one of `calendar.SERIES_ORDERS`.
        stride: the distance of two steps: it decides where day and month could be exchanged.

    Raises:
        PayloadError: a row has no time and others have, or one that can't be read; or none can.
    """
    have = [isinstance(row, Mapping) and time in row for row in rows]
    if not any(have):
        return None
    if not all(have):
        raise PayloadError(
            "a step without a time",
            where=f"step {have.index(False) + 1}",
            expected=f"a column '{time}', as others have",
        )
    texts = []
    for number, row in enumerate(rows, 1):
        value = row[time]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise PayloadError(
                "not a time", where=f"step {number}, column '{time}'",
                expected=f"a time, {FORMS.get(order, 'as in training')}", received=f"{value!r}"[:40],
            )  # fmt: skip
        texts.append(str(value).strip())
    found = [_in_utc(text, order) for text in texts]
    if all(moment is None for moment in found):
        order = _other_order(texts, order, stride, time)
        found = [_in_utc(text, order) for text in texts]
    if None in found:
        place = found.index(None)
        raise PayloadError(
            "not a time", where=f"step {place + 1}, column '{time}'", expected="one written as the others are",
            received=f"{rows[place][time]!r}"[:40],
        )  # fmt: skip
    return [moment for moment in found if moment is not None], order


def _in_utc(text: str, order: str) -> datetime | None:
    moment = moment_of(text, order)
    return None if moment is None else moment - timedelta(seconds=offset_of(text) or 0)


def _other_order(texts: Sequence[str], order: str, stride: Stride, time: str) -> str:
    """Return the one order in which all texts are times. Raises PayloadError."""
    if all((number := parse_number(text)) is not None and number >= LEAST_UNIX for text in texts):
        return UNIX
    if None not in map(period_of, texts):
        return PERIOD
    written = find_order(texts)
    if written is not None and written[0] != "clock":
        if not written[1]:
            return written[0]
        ways = ("dmy", "mdy")
        even = [way for way in ways if stride and stride.places(_known(texts, way)) is not None]
        if len(even) == 1:
            return even[0]
        raise PayloadError(
            "day and month of the times could be exchanged", where=f"column '{time}'",
            expected=f"times {FORMS.get(order, 'as in training')}", received=texts[0][:40],
        )  # fmt: skip
    raise PayloadError(
        "the times can't be read", where=f"column '{time}'", expected=f"times {FORMS.get(order, 'as in training')}",
        received=texts[0][:40], hint="leave the column out of rows that follow one another",
    )  # fmt: skip


def _known(texts: Sequence[str], order: str) -> list[datetime]:
    return [moment for moment in (_in_utc(text, order) for text in texts) if moment is not None]


def in_order(rows: Sequence[Any], time: str, order: str, stride: Stride, needed: int) -> tuple[Sequence[Any], str]:
    """Return the rows sorted by their times, as training sorts them, and the order in which the times are written.

    Only the latest are looked at for gaps: what lies before isn't read.

    Args:
        rows: of one past.
        time: the column of times.
        order: how training's times were written, as `moment_of` takes it.
        stride: the distance of two steps; where it isn't known, gaps aren't looked for.
        needed: how many of the latest rows are read.

    Raises:
        PayloadError: a time is none, is there twice, or isn't one step after the one before.
    """
    read_as = moments_of(rows, time, order, stride)
    if read_as is None:
        return rows, order
    moments, order = read_as
    places = sorted(range(len(rows)), key=moments.__getitem__)
    read = len(places) - needed
    for number, (before, after) in enumerate(itertools.pairwise(places)):
        gap = moments[after] != moments[before]
        if not gap or (stride and number >= read and not stride.parts(moments[before], moments[after])):
            raise PayloadError(
                "the times don't follow one another" if gap else "two rows have one time",
                where=f"step {after + 1}, column '{time}'", expected=_next(stride, moments[before]),
                received=str(moments[after]),
                hint=f"give the latest {needed:,} steps whole" if gap else "give every step once",
            )  # fmt: skip
    return [rows[place] for place in places], order


def _next(stride: Stride, moment: datetime) -> str | None:
    try:
        return str(stride.later(moment, 1)) if stride else None
    except (OverflowError, ValueError):  # behind the calendar's end
        return None
