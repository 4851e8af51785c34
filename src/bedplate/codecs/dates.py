"""Dates and times as people write them, read in one order a column.

ISO dates (`2020-01-31`, `2020-01-31T08:30:00Z`, `20200131T083000`) and dates with a month's name (`31 Jan 2020`,
`Jan 31, 2020`) mean one thing only and are always read. `03/04/2020` means two, so a column has an order, "dmy" or
"mdy", found over the whole column; a column of order "ymd" refuses such dates. "clock" columns hold times of day.
Times are taken as written: a zone's offset is accepted and not applied, since the hour on the wall is what predicts.

What this module accepts is part of the table contract's version 1: a later release may accept more, never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

Order = Literal["ymd", "dmy", "mdy", "clock"]
ORDERS: tuple[Order, ...] = ("ymd", "dmy", "mdy", "clock")

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d{1,9})?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_TIME = rf"(?:(?:T|,?\s+|\s*-\s+){_CLOCK}\s*(?:Z|UTC|GMT|[+-]\d{{2}}(?::?\d{{2}})?)?)?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = r"(?P<name>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?"

_ISO = re.compile(r"(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})(?:(?P=sign)(?P<day>\d{1,2}))?" + _TIME, re.I)
_COMPACT = re.compile(
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?:T(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?Z?)?"
)
_NAMED = [
    re.compile(
        _WEEKDAY + r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[-\s/]+" + _NAME + r"[-,\s/]+(?P<year>\d{4}|\d{2})" + _TIME, re.I
    ),
    re.compile(_WEEKDAY + _NAME + r"[-\s]+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?[-\s]+(?P<year>\d{4})" + _TIME, re.I),
    re.compile(_NAME + r"[-,\s]+(?P<year>\d{4})", re.I),
    re.compile(r"(?P<year>\d{4})[-\s]+" + _NAME + r"(?:[-\s]+(?P<day>\d{1,2}))?" + _TIME, re.I),
]
_AMBIGUOUS = re.compile(
    r"(?P<first>\d{1,2})(?P<sign>[-/.])(?P<second_>\d{1,2})(?P=sign)(?P<year>\d{4}|\d{2})" + _TIME, re.I
)
_OFFSET = re.compile(
    r":\d{2}(?:[.,]\d{1,9})?\s*(?:Z|UTC|GMT|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)$", re.I
)
_CLOCK_ONLY = re.compile(_CLOCK)


def parse_date(text: str, order: Order) -> datetime | None:
    """Return the moment that `text` writes under `order`, without a zone, or None where it writes none.

    Two-digit years 69-99 lie in the 1900s, 00-68 in the 2000s; a month without a day is its first day.
    """
    if order == "clock":
        match = _CLOCK_ONLY.fullmatch(text)
        return _moment(match.groupdict(), 1970, 1, 1) if match else None
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if match:
        parts = match.groupdict()
        return _moment(parts, int(parts["year"]), int(parts["month"]), int(parts["day"] or 1))
    match = _AMBIGUOUS.fullmatch(text)
    if match:
        if order == "ymd":
            return None
        parts = match.groupdict()
        first, second = int(parts["first"]), int(parts["second_"])
        day, month = (first, second) if order == "dmy" else (second, first)
        return _moment(parts, _year(parts["year"]), month, day)
    for pattern in _NAMED:
        match = pattern.fullmatch(text)
        if match:
            parts = match.groupdict()
            month = _MONTHS.index(parts["name"][:3].lower()) + 1
            return _moment(parts, _year(parts["year"]), month, int(parts.get("day") or 1))
    return None


def offset_of(text: str) -> float | None:
    """Return the seconds by which a time's clock is ahead of UTC, or None where the text names no zone."""
    match = _OFFSET.search(text)
    if match is None:
        return None
    if match["sign"] is None:
        return 0.0
    seconds = 3600 * int(match["hours"]) + 60 * int(match["minutes"] or 0)
    return float(-seconds if match["sign"] == "-" else seconds)


def find_order(texts: Iterable[str]) -> tuple[Order, bool] | None:
    """Return (order, whether the texts leave it open) under which every one of `texts` is a date, or None.

    Where day and month could be exchanged in every text, the part with more distinct values is taken for the day;
    then `/` speaks for month first, `.` and `-` for day first.
    """
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return None
    if all(_CLOCK_ONLY.fullmatch(text) for text in distinct):
        return ("clock", False) if all(parse_date(text, "clock") for text in distinct) else None
    ambiguous = [match for match in map(_AMBIGUOUS.fullmatch, distinct) if match]
    if not ambiguous:
        return ("ymd", False) if all(parse_date(text, "ymd") for text in distinct) else None
    orders: list[Order] = ["dmy", "mdy"]
    fitting = [order for order in orders if all(parse_date(text, order) for text in distinct)]
    if len(fitting) < 2:
        return (fitting[0], False) if fitting else None
    firsts, seconds = {match["first"] for match in ambiguous}, {match["second_"] for match in ambiguous}
    if len(firsts) != len(seconds):
        return ("dmy" if len(firsts) > len(seconds) else "mdy"), True
    return ("mdy" if ambiguous[0]["sign"] == "/" else "dmy"), True


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (1900 if year >= 69 else 2000)


def _moment(parts: dict[str, str | None], year: int, month: int, day: int) -> datetime | None:
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    half = (parts.get("half") or "")[:1].lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour == 24 and minute == second == 0:
        return None
    try:
        return datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:
        return None
