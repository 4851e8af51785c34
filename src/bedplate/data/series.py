"""Load a time series as a `Dataset`: windows of a past and the future to forecast, split by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bedplate.codecs.answers import Answers
from bedplate.codecs.calendar import CALENDAR, HARMONICS, calendar_features
from bedplate.codecs.gathering import filled, gathered
from bedplate.codecs.numbers import decimal_sign
from bedplate.codecs.series import HISTORY, LARGEST, SeriesCodec
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.core.hashing import array_digest, fingerprint
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.profile import series_profile
from bedplate.data.series_leak import steps_ahead
from bedplate.data.series_panel import Panel, names_series, panel_of
from bedplate.data.series_times import Grid, grid_of, rows_as_grid
from bedplate.data.table_parts import read_tables
from bedplate.data.tables import RawTable, counted
from bedplate.data.targets import read_numbers
from bedplate.recipe.schema import ColumnSpec, DataSpec, SeriesSpec

_LEAST_RESOLUTION = 0.05
"""Of a series' mean change a step: float32's rounding may be so much of it."""

MOST_BYTES = 4 << 30
"""Of windows; more would rather be read as they are needed."""


def load_series(spec: DataSpec, *, base: Path, announce: Announce) -> Dataset:
    """Return the series that `spec` names; see `bedplate.data.load.load_dataset` for the arguments."""
    _check_spec(spec)
    tables, name, target = read_tables(spec, base, announce)
    table, notes = tables["train"], list(tables["train"].notes)
    series = spec.series
    columns = _columns(table, target, series)
    grid = _grid(table, series)
    decimals = _decimals(table, columns)
    if series.by is None:
        panel = None
        values, texts = on_grid(table, columns, grid, spec, notes)
    else:
        panel = panel_of(table, series.by, columns, series.time or "")
        panel, values, texts = panel_on_grid(table, panel, grid, spec, notes)
        columns, decimals = panel.columns, decimals and "".join(decimals for _ in panel.names)
        target = columns[0]
    notes += grid.notes
    if series.step is not None:
        notes.append(
            f"{counted(len(table))} are gathered into {counted(len(values), 'step')} of {series.step}: "
            f"the {series.gather} of those in each"
        )
    length, horizon = series.history or max(24, 4 * series.horizon), series.horizon
    borders = _borders(len(values), spec)
    known = np.isfinite(values).all(axis=1)
    training = values[: borders[0]][known[: borders[0]]]
    if len(training) < 2:
        raise DataError("too few steps to learn from", where=table.name, received=counted(len(training), "step"))
    mean, std = training.mean(axis=0), training.std(axis=0)
    _check_constant(columns, std, training, notes)
    _check_resolution(columns, training)
    if panel is None:
        notes += _leaks(columns, target, values[: borders[0]], horizon)
    windows = _windows(known, borders, length, horizon, table.name)
    windows["train"] = _limited(windows["train"], spec.limit)
    _check_memory(windows, len(columns) * (length + horizon))
    season = series.season or grid.season
    if series.season is not None and season > length:
        raise DataError(
            "a past that is shorter says nothing of a season", where="data.series.season",
            expected=f"at most {length}, which is data.series.history", received=str(season),
        )  # fmt: skip
    season = season if season <= length else 1
    codec = SeriesCodec(
        tuple(columns), length, tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()),
        series.time or "", grid.step, decimals, series.by or "", panel.values if panel else (),
        tuple(cycle for cycle in HARMONICS if cycle in series.calendar), grid.order,
        panel.left if panel else (), grid.months, series.gather if series.step else None, series.interpolate,
        None if series.step or series.duplicates == "error" else series.duplicates,
    )  # fmt: skip
    answers = Answers(
        target, columns=tuple(columns), horizon=horizon, scale=codec.std,
        naive=tuple(naive_error(values[: borders[0]], season).tolist()), season=season,
    )  # fmt: skip
    rows = {split: rows_of(values, texts, begin, length, horizon) for split, begin in windows.items()}
    if codec.cycles:
        moments = calendar_features(wall_of(grid, len(values)), codec.cycles)
        for split, one in rows.items():
            rows[split] = replace(one, inputs={**one.inputs, CALENDAR: moments[windows[split] - 1]})
    facts = (
        f"{len(values):,} steps of {listing(columns, 8)}; {length} are read, {horizon} forecast; "
        f"{'no season is known' if season < 2 else f'a season has {season} steps'}"
    )
    announce(facts)
    return Dataset(
        name, codec, answers, rows["train"], rows["validation"], rows["test"],
        {
            "kind": "series", "forecast": columns, "target": target, "time": series.time, "step_seconds": grid.step,
            "history": length, "horizon": horizon, "season": season,
        },
        series_profile({split: len(one) for split, one in rows.items()}, columns, values[: borders[0]], texts),
        fingerprint({"kind": "series", "columns": columns, "values": array_digest(values), "times": list(texts[:1])}),
        fingerprint({split: array_digest(one) for split, one in windows.items()}),
        (*notes, facts),
    )  # fmt: skip


def _check_spec(spec: DataSpec) -> None:
    """Refuse what would let the future into the past, and what isn't carried."""
    if spec.series.step is not None and spec.series.time is None:
        raise DataError("without times there are no steps", where="data.series.step", hint="set data.series.time")
    if spec.series.step is None and spec.series.gather != "mean":  # which a recipe that was written out names, too
        raise DataError(
            "without a step nothing is gathered", where="data.series.gather", hint="set data.series.step, such as 1h"
        )
    if spec.series.step is not None and spec.series.duplicates != "error":
        raise DataError(
            "rows of one step are gathered, so none is a duplicate", where="data.series.duplicates",
            hint="say in data.series.gather what becomes of them",
        )  # fmt: skip
    if spec.series.calendar and spec.series.time is None:
        raise DataError("without times there is no calendar", where="data.series.calendar", hint="set data.series.time")
    if spec.files is not None:
        raise DataError(
            "a series lies in one file",
            where="data.files",
            hint="give data.source; it is split by time, the latest last",
        )
    if "by" in spec.split.model_fields_set and spec.split.by != "time":
        raise DataError(
            f"a series split by {spec.split.by} would be trained on its own future", where="data.split.by",
            expected="time", received=spec.split.by,
        )  # fmt: skip
    if spec.split.folds is not None:
        raise DataError(
            "a series has no folds: they would be trained on their own future",
            where="data.split.folds",
            hint="judge several borders by runs with other data.split fractions",
        )


def _columns(table: RawTable, target: str, spec: SeriesSpec) -> list[str]:
    """Return what is forecast, in the table's order."""
    for name in (*spec.columns, *(name for name in (spec.time, spec.by) if name is not None)):
        if name not in table.columns:
            raise DataError(
                "no such column", where="data.series", expected=f"one of {listing(table.columns)}", received=name,
                hint=did_you_mean(name, table.columns),
            )  # fmt: skip
    wanted = {target, *spec.columns}
    if spec.time in wanted:
        raise DataError("the times can't be forecast", where="data.series.time", received=spec.time)
    if spec.by is not None and (spec.by in wanted or spec.by == spec.time or spec.time is None):
        raise DataError(
            "several series need a column of times and one of names, apart from what is forecast",
            where="data.series.by", received=f"time: {spec.time}, by: {spec.by}, forecast: {listing(sorted(wanted))}",
        )  # fmt: skip
    return [name for name in table.columns if name in wanted]


def _decimals(table: RawTable, columns: Sequence[str]) -> str:
    """Return each column's decimal sign, or nothing where all are points."""
    texts = ([value for value in table.columns[name] if isinstance(value, str)] for name in columns)
    signs = "".join(decimal_sign(one) for one in texts)
    return signs if "," in signs else ""


def _grid(table: RawTable, spec: SeriesSpec) -> Grid:
    if spec.time is None:
        return rows_as_grid(len(table))
    return grid_of(table.columns[spec.time], spec.time, table.ids, spec.step)


def on_grid(
    table: RawTable, columns: Sequence[str], grid: Grid, spec: DataSpec, notes: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Return values [steps, columns] (NaN where there is no row or value) and each step's time, as text.

    Raises:
        DataError: values that are no numbers, two rows of one time, or a missing value, as `spec` says.
    """
    read = _read(table, columns, spec)
    rows = grid.by_time[: spec.series.rows]
    values = _placed(read, rows, grid, table, spec, int(grid.places[rows].max()) + 1, notes)
    texts = _texts(grid, rows, len(values))
    found = filled(values, spec.series.interpolate)
    _tell_gaps(found, values, texts, spec.series, notes)
    return found, texts


def panel_on_grid(
    table: RawTable, panel: Panel, grid: Grid, spec: DataSpec, notes: list[str]
) -> tuple[Panel, np.ndarray, list[str]]:
    """Return the series that have values nearly everywhere, these values [steps, columns], and each step's time.

    Raises:
        DataError: as `on_grid`, or no series has values in enough of the steps.
    """
    read = _read(table, panel.values, spec)
    steps = int(grid.places.max()) + 1 if spec.series.rows is None else spec.series.rows
    parts, when = [], np.empty(len(table), np.int64)
    when[grid.by_time] = np.arange(len(table))
    for rows in panel.rows:
        order = rows[np.argsort(when[rows])]
        order = order[grid.places[order] < steps]
        parts.append(_placed(read, order, grid, table, spec, steps, notes))
    texts = _texts(grid, np.flatnonzero(grid.places < steps), steps)
    panel, whole = panel.with_values([filled(part, spec.series.interpolate) for part in parts], table.name, notes)
    values = np.concatenate([parts[k] for k in whole], axis=1)
    found = filled(values, spec.series.interpolate)
    _tell_gaps(found, values, texts, spec.series, notes)
    return panel, found, texts


def _read(table: RawTable, columns: Sequence[str], spec: DataSpec) -> np.ndarray:
    """Return the columns' numbers [rows, columns], NaN where one is missing or left out as a bad row."""
    read = np.empty((len(table), len(columns)))
    for k, name in enumerate(columns):
        found = read_numbers(table.columns[name], name, spec.columns.get(name, ColumnSpec()))
        if found.faults and spec.on_bad_row == "error":
            row = min(found.faults)
            words = 2 * len(found.faults) > len(table)
            raise DataError(
                f"column '{name}': {found.faults[row]}", where=table.ids[row],
                hint="a series is of numbers: give categories a column of zeros and ones each, or leave it out"
                if words else "mend the data, or leave such rows out with data.on_bad_row: skip",
            )  # fmt: skip
        read[:, k] = found.values
        _check_size(table, read[:, k], name)
    return read


def _check_size(table: RawTable, values: np.ndarray, name: str) -> None:
    """Refuse what float32, in which the network computes, can't hold."""
    large = np.flatnonzero(np.abs(values) > LARGEST)
    if len(large):
        raise DataError(
            "the number is too large", where=f"{table.ids[large[0]]}, column '{name}'",
            expected=f"at most {LARGEST:.3g}",
            received=f"{values[large[0]]:g}; {counted(len(large))} of {len(values):,} are such",
            hint="give the series in another unit, such as thousands",
        )  # fmt: skip


def _placed(
    read: np.ndarray, rows: np.ndarray, grid: Grid, table: RawTable, spec: DataSpec, steps: int, notes: list[str]
) -> np.ndarray:
    """Return the values [steps, columns] of one series' `rows`, which are in the order of time."""
    places = grid.places[rows]
    if spec.series.step is not None:
        return gathered(places, read[rows], spec.series.gather, steps)
    again = np.flatnonzero(np.diff(places) == 0)
    if len(again) and spec.series.duplicates == "error":
        row = rows[again[0] + 1]
        raise DataError(
            "two rows have one time", where=table.ids[row], expected="every time once",
            received=f"{grid.texts[row]} again; {counted(len(again))} of {len(rows):,} are such",
            hint=_several(table, rows, grid, spec) or "set data.series.duplicates: first or mean",
        )  # fmt: skip
    if len(again):
        notes.append(f"{counted(len(again))} had the time of another; taken: the {spec.series.duplicates}")
    return gathered(places, read[rows], "mean" if spec.series.duplicates == "mean" else "first", steps)


def _several(table: RawTable, rows: np.ndarray, grid: Grid, spec: DataSpec) -> str | None:
    """Return what to do where rows of one time are told apart by a column: they are several series."""
    if spec.series.by is not None:
        return None
    name = names_series(table, grid, used={spec.target or "", spec.series.time or "", *spec.series.columns})
    return name and f"'{name}' tells them apart: set data.series.by: {name} for a series each"


def _texts(grid: Grid, rows: np.ndarray, steps: int) -> list[str]:
    texts = [""] * steps
    for row in rows[::-1].tolist():
        texts[int(grid.places[row])] = grid.texts[row]
    return texts


def _tell_gaps(after: np.ndarray, before: np.ndarray, texts: Sequence[str], spec: SeriesSpec, notes: list[str]) -> None:
    known, lacking = np.isfinite(before).all(axis=1), np.isfinite(after).all(axis=1)
    if not known.all():
        first = int(np.flatnonzero(~known)[0])
        left = int((~lacking).sum())
        place = f"at {texts[first]}" if texts[first] else f"after {texts[first - 1]}"
        lack = int((~known).sum())
        notes.append(
            f"{counted(lack, 'step')} of {len(known):,} {'has' if lack == 1 else 'have'} no value, the first {place}; "
            f"gaps of up to {spec.interpolate} steps are filled, and no window crosses the {counted(left, 'step')} left"
        )


def _borders(steps: int, spec: DataSpec) -> tuple[int, int]:
    test, validation = (round(steps * share) for share in (spec.split.test, spec.split.validation))
    return steps - test - validation, steps - test


def starts(known: np.ndarray, begin: int, end: int, length: int, horizon: int) -> np.ndarray:
    """Return the first steps of the futures that lie in [begin, end), with a past before each and no gap in either.

    A past may reach back before `begin`: it is known by then.
    """
    first = max(begin, length)
    places = np.arange(first, max(first, end - horizon + 1))
    lacking = np.concatenate([[0], np.cumsum(~known)])
    return places[lacking[places + horizon] == lacking[places - length]] if len(places) else places


def _windows(
    known: np.ndarray, borders: tuple[int, int], length: int, horizon: int, where: str
) -> dict[str, np.ndarray]:
    """Return the first steps of each split's futures, of which there must be some."""
    ends = {"train": (0, borders[0]), "validation": borders, "test": (borders[1], len(known))}
    windows = {split: starts(known, begin, end, length, horizon) for split, (begin, end) in ends.items()}
    for split, found in windows.items():
        if len(found) < 2:
            gaps = " without a gap" if not known.all() else ""
            raise DataError(
                f"too few windows for the {split} split", where=where,
                expected=f"{length} + {horizon} steps one after the other{gaps}",
                received=f"{counted(len(found), 'window')}; the series has {counted(len(known), 'step')}",
                hint="lower data.series.history or horizon"
                + (", or fill short gaps with data.series.interpolate" if gaps else ""),
            )  # fmt: skip
    return windows


def wall_of(grid: Grid, steps: int) -> np.ndarray:
    """Return each step's seconds since 1970 on the wall [steps]; those without a row lie on the line between others."""
    places, first = np.unique(grid.places, return_index=True)
    return np.asarray(np.interp(np.arange(steps), places, grid.wall[first]))


def _check_memory(windows: dict[str, np.ndarray], numbers: int) -> None:
    size = 4 * numbers * sum(len(one) for one in windows.values())
    if size > MOST_BYTES:
        raise DataError(
            "the windows of this series don't fit into memory", expected=f"below {MOST_BYTES >> 30} GiB",
            received=f"{size / 2**30:.1f} GiB", hint="lower data.series.history, or set data.limit",
        )  # fmt: skip


def _check_constant(columns: Sequence[str], std: np.ndarray, training: np.ndarray, notes: list[str]) -> None:
    constant = [name for name, spread in zip(columns, std.tolist(), strict=True) if spread == 0]
    if len(constant) == len(columns):
        raise DataError(
            "the series never changes, so there is nothing to forecast", where=listing(constant),
            expected="different values among the training steps", received=f"{training[0, 0]:g} in all of them",
        )  # fmt: skip
    if constant:
        notes.append(f"{listing(constant)} never changes among the training steps")


def _leaks(columns: Sequence[str], target: str, training: np.ndarray, horizon: int) -> list[str]:
    """Return a note on each column that is the target some steps early."""
    found, own = [], training[:, columns.index(target)]
    for name, values in zip(columns, training.T, strict=True):
        ahead = steps_ahead(values, own, horizon) if name != target else None
        if ahead is not None:
            found.append(
                f"LEAK: '{name}' is '{target}' {counted(ahead, 'step')} early, which nobody knows when the model is "
                "asked, so its figures are too good; leave it out of data.series.columns"
            )
    return found


def _check_resolution(columns: Sequence[str], training: np.ndarray) -> None:
    """Refuse numbers so far from 0 that float32, in which histories travel, rounds away what they change by."""
    for name, values in zip(columns, training.T, strict=True):
        rounding = float(np.spacing(np.float32(np.abs(values).max()))) / 2
        change = float(np.abs(np.diff(values)).mean())
        if change and rounding > _LEAST_RESOLUTION * change:
            raise DataError(
                "the numbers are too large for what they change by", where=f"column '{name}'",
                expected=f"changes of {rounding / _LEAST_RESOLUTION:.3g} or more a step: float32 holds such numbers to "
                f"±{rounding:.3g}",
                received=f"numbers of up to {np.abs(values).max():.6g} that change by {change:.3g} on average",
                hint="give the series less a constant, such as its first value, or its differences",
            )  # fmt: skip


def _limited(places: np.ndarray, limit: int | None) -> np.ndarray:
    if limit is None or len(places) <= limit:
        return places
    return np.asarray(places[np.linspace(0, len(places) - 1, limit).round().astype(int)])


def naive_error(values: np.ndarray, season: int) -> np.ndarray:
    """Return each column's mean absolute error of "as a season ago" [columns]; 1 where it is 0 or not defined."""
    with np.errstate(invalid="ignore"):
        gaps = np.abs(values[season:] - values[:-season])
    known = np.isfinite(gaps)
    total = np.where(known, gaps, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.where(total > 0, total, 1.0))


def rows_of(values: np.ndarray, texts: Sequence[str], places: np.ndarray, length: int, horizon: int) -> Rows:
    """Return the windows whose futures begin at `places`."""
    single = values.astype(np.float32)
    windows = sliding_window_view(single, length + horizon, axis=0)[places - length].transpose(0, 2, 1)
    return Rows(
        {HISTORY: np.ascontiguousarray(windows[:, :length])},
        np.ascontiguousarray(windows[:, length:]),
        [texts[place] or f"step {place}" for place in places.tolist()],
    )
