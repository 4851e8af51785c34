"""Propose how a table's rows become a series: which column holds the times, and how far to look back and ahead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from bedplate.codecs.calendar import period_of
from bedplate.codecs.columns import Raw
from bedplate.codecs.dates import find_order
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.series_leak import steps_ahead
from bedplate.data.series_panel import names_series
from bedplate.data.series_times import (
    Grid,
    UnequalSteps,
    are_numbered_times,
    grid_of,
    likely_step,
    seconds_of_step,
)
from bedplate.data.tables import RawTable, counted
from bedplate.data.targets import read_numbers
from bedplate.recipe.schema import ColumnSpec

_LOOKED_AT = 500
_SEASONS_BACK = 14
_MOST_NAMED, _FEWEST_EVENTS = 50, 50
"""Names in a column that may be those of series, and rows of each, where times say nothing of it."""

_TIMES = r"(.*[_ ])?(year|yr|period|time|timestamp|epoch|unix|ts|date|datetime)"
"""How a column of times is called."""


def suggest_series(
    table: RawTable, target: str | None, time: str | None, data: dict[str, Any], reasons: list[str]
) -> str:
    """Put `target` and `series` into a recipe's data section, and return the target.

    Args:
        table: the rows.
        target: the column to forecast; None for the last one that holds numbers.
        time: the column of times; None for the first one that holds dates.
        data: written to.
        reasons: likewise.

    Raises:
        DataError: no such column, no times, or nothing that could be forecast.
    """
    if time is not None and time not in table.columns:
        raise DataError(
            "no such column", where="--time", expected=f"one of {listing(table.columns)}", received=time,
            hint=did_you_mean(time, table.columns),
        )  # fmt: skip
    if time is None:
        often = (1 / 2, 0.0)  # times that many rows share are those of several series; taken where there are no others
        held = (name for share in often for name, values in table.columns.items() if _holds_times(name, values, share))
        time = next(held, None)
        if time is None:
            reasons.append("no column holds times, so the rows are taken to follow one another at equal steps")
        else:
            reasons.append(f"'{time}' holds the times; choose another with --time")
    if target is None:
        target = next((name for name in reversed(table.columns) if name != time and _holds_numbers(table, name)), None)
        if target is None:
            raise DataError("no column holds numbers to forecast", where=table.name, received=listing(table.columns))
        reasons.append(f"'{target}' is forecast: the last column of numbers; choose another with --target")
    data["target"] = target
    series: dict[str, Any] = {} if time is None else {"time": time}
    steps, season, order = len(table), 1, np.arange(len(table))
    if time is not None:
        grid = _grid(table, time, series, reasons)
        order = grid.by_time
        steps, season = int(grid.places.max()) + 1, grid.season
        by = names_series(table, grid, {target, time}) if len(np.unique(grid.places)) < len(table) else None
        if by is None and "step" in series:
            by = _names_events(table, {target, time})
            if by is not None:
                series["by"], series["step"] = by, _longest_step(table, by, grid)
                grid = grid_of(table.columns[time], time, table.ids, series["step"])
                steps, season, order = int(grid.places.max()) + 1, grid.season, grid.by_time
                reasons.append(
                    f"'{by}' names few things of many rows each, so each is a series, of steps of {series['step']}; "
                    "take data.series.by out if not"
                )
        elif by is not None:
            series["by"] = by
            reasons.append(f"'{by}' and the time are every row's own, so it names several series; each is forecast")
        _mend(grid, steps, series, reasons)
        if "by" in series and "step" in series:
            series.setdefault("interpolate", max(1, season // 4))  # a step that has a row of one may lack another's
    lacking = int((~np.isfinite(read_numbers(table.columns[target], target, ColumnSpec()).values)).sum())
    if lacking:
        series.setdefault("interpolate", max(1, season // 4))
        reasons.append(
            f"{counted(lacking)} without a value of '{target}'; gaps of up to {series['interpolate']} are filled"
        )
    horizon = max(1, min(season if season > 1 else 12, steps // 20))
    history = max(horizon, min(_SEASONS_BACK * max(season, 12), steps // 10))
    if season > 1:  # a past that is shorter says nothing of it, and has no seasonal baseline
        history = max(history, next((season * times for times in (2, 1) if steps >= 5 * season * times), 0))
    series |= {"history": history, "horizon": horizon}
    reasons.append(
        f"{counted(horizon, 'step')} {'is' if horizon == 1 else 'are'} forecast from {history}"
        + (f": a season of {season} steps, from {history / season:.3g} of them" if 1 < season <= history else "")
    )
    others = [
        name for name in table.columns if name not in (target, time, series.get("by")) and _holds_numbers(table, name)
    ]
    known = {
        name: read_numbers(table.columns[name], name, ColumnSpec()).values[order]
        for name in (target, *(() if "by" in series else others))
    }
    early = [name for name in known if name != target and steps_ahead(known[name], known[target], horizon) is not None]
    others = [name for name in others if name not in early]
    if early:
        show = "shows" if len(early) == 1 else "show"
        reasons.append(f"LEAK: {listing(early, 8)} {show} '{target}' before it comes: not to be read")
    if others:
        reasons.append(
            f"{listing(others, 8)} could be read and forecast beside it: data.series.columns (dlinear maps each column "
            "by itself, tcn all of them together)"
        )
    data["series"] = series
    return target


def _grid(table: RawTable, time: str, series: dict[str, Any], reasons: list[str]) -> Grid:
    """Return the grid of the rows' times; where they lie at no equal steps, of such as they can be gathered into."""
    try:
        return grid_of(table.columns[time], time, table.ids)
    except UnequalSteps as error:
        series["step"] = error.step
        reasons.append(
            f"the times don't lie at equal steps: rows are gathered into means of {error.step}; data.series.step and "
            "gather say otherwise"
        )
        return grid_of(table.columns[time], time, table.ids, error.step)


def _names_events(table: RawTable, used: set[str]) -> str | None:
    """Return the first column of names under which rows at any times may be series of their own, or None."""
    for name, column in table.columns.items():
        names = Counter("" if value is None else str(value).strip() for value in column)
        if name in used or "" in names or not 1 < len(names) <= _MOST_NAMED or min(names.values()) < _FEWEST_EVENTS:
            continue
        if not _holds_numbers(table, name):
            return name
    return None


def _longest_step(table: RawTable, by: str, grid: Grid) -> str:
    """Return the step by which the rows of each name can be gathered: that of the sparsest."""
    names = np.array([str(value).strip() for value in table.columns[by]], dtype=object)
    return max((likely_step(grid.rank[names == name]) for name in set(names.tolist())), key=seconds_of_step)


def _mend(grid: Grid, steps: int, series: dict[str, Any], reasons: list[str]) -> None:
    """Say what to do with rows of one time, and with gaps."""
    distinct = len(np.unique(grid.places))
    if distinct < len(grid.places) and "by" not in series and "step" not in series:
        series["duplicates"] = "first"
        reasons.append(f"{counted(len(grid.places) - distinct)} with the time of another; the first is taken")
    if distinct < steps:
        series["interpolate"] = max(1, grid.season // 4, _usual_gap(grid))
        reasons.append(
            f"{counted(steps - distinct, 'step')} of {steps:,} without a row; gaps of up to {series['interpolate']} "
            "are filled, and no window crosses longer ones"
        )


def _usual_gap(grid: Grid) -> int:
    """Return how many steps are missing each time where gaps are of one length, such as weekends; 0: they aren't."""
    gaps = np.diff(np.unique(grid.places)) - 1
    lengths, times = np.unique(gaps[gaps > 0], return_counts=True)
    usual = int(lengths[times.argmax()])
    return usual if times.max() >= 0.5 * times.sum() and 2 * usual <= grid.season else 0


def _holds_times(name: str, values: list[Raw], share: float) -> bool:
    """Return whether a column holds times, of which more than `share` (and two at least) are different ones.

    Plain numbers could be anything: years, and seconds since 1970, are taken for times where the column is called so.
    """
    some = [str(value).strip() for value in values[:_LOOKED_AT] if value is not None and not isinstance(value, float)]
    if not some or len(set(some)) <= max(1, len(some) * share):
        return False
    found = find_order(some)
    if found is not None:
        return found[0] != "clock"
    if all(text.isdigit() for text in some):
        return re.fullmatch(_TIMES, name.strip(), re.I) is not None and are_numbered_times(some)
    return None not in map(period_of, some)


def _holds_numbers(table: RawTable, name: str) -> bool:
    some: Mapping[str, list[Raw]] = {name: table.columns[name][:_LOOKED_AT]}
    found = read_numbers(some[name], name, ColumnSpec())
    known = found.values[np.isfinite(found.values)]
    return not found.faults and len(known) > len(some[name]) / 2 and len(np.unique(known)) > 1
