"""The times of a past: read as training wrote them, put in order, and checked to follow one another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bedplate.codecs.calendar import UNIX, moment_of
from bedplate.codecs.dates import offset_of
from bedplate.core.errors import PayloadError


def moments_of(rows: Sequence[Any], time: str, order: str) -> list[datetime] | None:
    """Return each row's time in UTC, or None where a row has none or writes it in another way than training did.

    Raises:
        PayloadError: a time is no text; a number is one where training's times were.
    """
    if not all(isinstance(row, Mapping) and time in row for row in rows):
        return None
    found: list[datetime] = []
    for number, row in enumerate(rows, 1):
        value = row[time]
        if not isinstance(value, str) and (
            order != UNIX or isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise PayloadError(
                "not a time", where=f"step {number}, column '{time}'",
                expected="seconds since 1970" if order == UNIX else "a text, written as in training",
                received=f"{value!r}"[:40],
            )  # fmt: skip
        text = str(value).strip()
        moment = moment_of(text, order)
        if moment is None:
            return None  # not ours to guess
        found.append(moment - timedelta(seconds=offset_of(text) or 0))
    return found


def in_order(rows: Sequence[Any], time: str, order: str, step: float) -> Sequence[Any]:
    """Return the rows sorted by their times, as training sorts them; as they are where the times can't be read.

    Args:
        rows: of one past.
        time: the column of times.
        order: how training's times were written, as `moment_of` takes it.
        step: the seconds between two steps; 0 where it isn't known, so that nothing is checked.

    Raises:
        PayloadError: a time is none, is there twice, or isn't one step after the one before.
    """
    moments = moments_of(rows, time, order)
    if moments is None:
        return rows
    places = sorted(range(len(rows)), key=moments.__getitem__)
    for before, after in itertools.pairwise(places):
        gap = (moments[after] - moments[before]).total_seconds()
        if (step or not gap) and abs(gap - step) > 0.01 * step:
            raise PayloadError(
                "the times don't follow one another" if gap else "two rows have one time",
                where=f"step {after + 1}, column '{time}'", expected=str(moments[before] + timedelta(seconds=step)),
                received=str(moments[after]), hint="give every step once",
            )  # fmt: skip
    return [rows[place] for place in places]
