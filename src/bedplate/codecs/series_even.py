"""A past whose rows lie at any times, or with short gaps, as equal steps: what training does with its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from bedplate.codecs.calendar import EPOCH, seconds_of
from bedplate.codecs.dates import offset_of
from bedplate.codecs.gathering import How, begins, filled, gathered
from bedplate.codecs.series_order import moments_of
from bedplate.codecs.stride import Stride, written
from bedplate.core.errors import PayloadError


def evened(
    rows: Sequence[Any],
    read: Callable[[Any, int], Sequence[float]],
    names: Sequence[str],
    *,
    time: str,
    order: str,
    stride: Stride,
    gather: How | None,
    again: How | None,
    fill: int,
    length: int,
) -> Sequence[Any]:
    """Return the latest steps, each a mapping of its time and its columns' values; rows without times as they are.

    Args:
        rows: of one past, in any order.
        read: gives a row's values, NaN where one is missing, for the row and its number from 1.
        names: of the columns.
        time: the column of times.
        order: how training's times were written.
        stride: the distance of two steps; it is known.
        gather: what becomes of the rows in one step; None: each row is one, and lies where a step is.
        again: what becomes of rows of one time, where each is a step; None: they aren't brought to steps here.
        fill: gaps of so many steps are filled on a line.
        length: how many steps are wanted; more are given only where they are needed to fill a gap.

    Raises:
        PayloadError: a time or a value can't be read, or a step still has no value.
    """
    read_as = moments_of(rows, time, order, stride)
    if read_as is None:
        return rows
    moments, order = read_as
    texts = [str(row[time]).strip() for row in rows]
    utc = np.array([seconds_of(moment) for moment in moments])
    wall = utc + np.array([offset_of(text) or 0.0 for text in texts])
    if gather is not None:
        places, starts = begins(utc, wall, stride.seconds)
    else:
        whole = stride.places(moments, again=again is not None)
        if whole is None:
            return rows  # between two steps, or twice: what is wrong with them is told where they are put in order
        places, starts = whole, wall
    first = max(int(places.min()), int(places.max()) - length - fill)
    kept = [k for k in np.lexsort((utc, places)).tolist() if places[k] >= first]
    first = int(places[kept[0]])
    values = np.array([read(rows[k], k + 1) for k in kept], float)
    found = filled(
        gathered(places[kept] - first, values, gather or again or "first", int(places[kept[-1]]) - first + 1), fill
    )
    times: list[Any] = []
    there = {int(places[k]) - first: k for k in reversed(kept)}
    begin, text = EPOCH, ""
    for step in range(len(found)):
        if step in there:
            begin, text = EPOCH + timedelta(seconds=float(starts[there[step]])), texts[there[step]]
        else:
            begin = stride.later(begin, 1)
        times.append(written(begin, text, order))
    for step in range(max(0, len(found) - length), len(found)):
        lacking = np.flatnonzero(~np.isfinite(found[step]))
        if len(lacking):
            raise PayloadError(
                "a step has no value", where=f"{times[step]}, column '{names[int(lacking[0])]}'",
                expected="a number in every step" + (f", or gaps of at most {fill}" if fill else ""),
                hint="nothing stands behind the latest step to fill it by: give its value, or leave that step out whole"
                if step == len(found) - 1
                else f"give the latest {length:,} steps whole",
            )  # fmt: skip
    return [{time: at, **dict(zip(names, row, strict=True))} for at, row in zip(times, found.tolist(), strict=True)]
