"""The times of a past: read as training wrote them, put in order, and checked to follow one another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bedplate.codecs.calendar import PERIOD, UNIX, moment_of
from bedplate.codecs.dates import offset_of
from bedplate.codecs.stride import Stride
from bedplate.core.errors import PayloadError


def moments_of(rows: Sequence[Any], time: str, order: str) -> list[datetime] | None:
    """Return each row's time in UTC, or None where no row has one, or all write it in another way than training did.

    Raises:
        PayloadError: a time is no text, or none at all where others can be read; a number is one where training's times
            were.
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
    found: list[datetime | None] = []
    for number, row in enumerate(rows, 1):
        value = row[time]
        if not isinstance(value, str) and (
            order not in (UNIX, PERIOD) or isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise PayloadError(
                "not a time", where=f"step {number}, column '{time}'",
                expected="seconds since 1970" if order == UNIX else "a text, written as in training",
                received=f"{value!r}"[:40],
            )  # fmt: skip
        text = str(value).strip()
        moment = moment_of(text, order)
        found.append(None if moment is None else moment - timedelta(seconds=offset_of(text) or 0))
    if all(moment is None for moment in found):
        return None  # not ours to guess
    if None in found:
        place = found.index(None)
        raise PayloadError(
            "not a time", where=f"step {place + 1}, column '{time}'", expected="one written as the others are",
            received=f"{rows[place][time]!r}"[:40],
        )  # fmt: skip
    return [moment for moment in found if moment is not None]


def in_order(rows: Sequence[Any], time: str, order: str, stride: Stride, needed: int) -> Sequence[Any]:
    """Return the rows sorted by their times, as training sorts them; as they are where the times can't be read.

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
    moments = moments_of(rows, time, order)
    if moments is None:
        return rows
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
    return [rows[place] for place in places]


def _next(stride: Stride, moment: datetime) -> str | None:
    try:
        return str(stride.later(moment, 1)) if stride else None
    except (OverflowError, ValueError):  # behind the calendar's end
        return None
