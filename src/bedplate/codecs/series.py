"""The series codec: the latest steps of one or more columns in, one tensor `history` out.

A payload is one moment's past: its steps in the order of time, the latest last. It may be a CSV with a header, rows as
objects, rows as lists in the columns' order, or each column's values by name.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bedplate.codecs.calendar import (
    CALENDAR,
    HARMONICS,
    SERIES_ORDERS,
    calendar_features,
    calendar_width,
    moment_of,
    seconds_of,
)  # fmt: skip
from bedplate.codecs.codec import Payload, TensorSpec
from bedplate.codecs.gathering import REDUCED, How
from bedplate.codecs.numbers import parse_number
from bedplate.codecs.rows import check_form, read_rows
from bedplate.codecs.series_even import evened
from bedplate.codecs.series_order import in_order
from bedplate.codecs.stride import Stride, following
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError, did_you_mean, json_kind, listing

HISTORY = "history"
"""The tensor of a series codec, and the name under which an object may hold a payload."""


log = logging.getLogger(__name__)

ALIKE = 0.75
"""How near a series' name must be to be taken for a typo: 'south' is none of 'north'."""

LARGEST = float(np.finfo(np.float32).max)
"""Graphs compute in float32."""


@dataclass(frozen=True)
class SeriesCodec:
    """Read the latest steps of a series.

    `columns` are forecast and read, in the tensor's order; `length` is how many steps are read; `mean` and `std` are
    each column's among the training rows; `time` is the column of times, and `step` the seconds between two of them, or
    `months` the calendar months (both 0: not known, so gaps in payloads aren't looked for); `decimals` is each column's
    decimal sign, nothing for points.
    Where rows were of several series, `by` is the column that named them, and `values` those that each had: `columns`
    are then theirs side by side, and payloads may have rows of either form; `left` are the series that training left
    out, whose rows are passed over. With `cycles` (of "day", "week" and "year")
    the latest step's place in them is a second tensor, `calendar`: it needs its time, written as in training (`order`).

    Example:
        >>> codec = SeriesCodec(("load",), 3, (0.0,), (1.0,), "hour", 3600)
        >>> codec.decode([{"load": [5, 6, 7, 8]}])["history"][0, :, 0].tolist()
        [6.0, 7.0, 8.0]
    """

    columns: tuple[str, ...]
    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    time: str = ""
    step: float = 0.0
    decimals: str = ""
    by: str = ""
    values: tuple[str, ...] = ()
    cycles: tuple[str, ...] = ()
    order: str = "ymd"
    left: tuple[str, ...] = ()
    months: int = 0
    gather: How | None = None
    fill: int = 0
    again: How | None = None

    kind = "series"

    @property
    def stride(self) -> Stride:
        """How far apart two steps are."""
        return Stride(self.step, self.months)

    @property
    def tensors(self) -> list[TensorSpec]:
        """`history`, float32 [length, columns], and with cycles `calendar`, float32 [features]."""
        history = TensorSpec(HISTORY, "float32", (self.length, len(self.columns)))
        if not self.cycles:
            return [history]
        return [history, TensorSpec(CALENDAR, "float32", (calendar_width(self.cycles),))]

    @property
    def prepare(self) -> None:
        """Nothing: the graph takes the tensor as it is."""
        return None

    @property
    def prepared(self) -> list[TensorSpec]:
        """The graph's inputs: the tensors."""
        return self.tensors

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return `{"history": float32 [N, length, columns]}` and perhaps `calendar`; the latest steps are read.

        Raises:
            PayloadError: names the payload by its number, and the fault.
        """
        found = {
            spec.name: np.empty((len(payloads), *map(int, spec.shape)), np.float32) for spec in self.tensors
        }  # fmt: skip
        for number, payload in enumerate(payloads):
            try:
                for name, array in self.past_of(payload).items():
                    found[name][number] = array
            except PayloadError as error:
                where = f"payload {number}" if len(payloads) > 1 else None
                parts = [part for part in (where, error.where) if part]
                raise PayloadError(
                    error.what, where=", ".join(parts) or None, expected=error.expected, received=error.received,
                    hint=error.hint,
                ) from error  # fmt: skip
        return found

    def past_of(self, payload: Payload) -> Arrays:
        """Return one payload's checked tensors: its latest steps [length, columns], perhaps their end in the calendar.

        Raises PayloadError.
        """
        steps, given, order = self._steps_of(payload)
        if len(steps) < self.length:
            raise PayloadError(
                "the past is too short", expected=f"{self.length} steps or more", received=f"{len(steps)}"
            )
        first = len(steps) - self.length
        found = {HISTORY: np.array([self._step(row, first + k + 1) for k, row in enumerate(steps[first:])], np.float32)}
        if self.cycles:
            found[CALENDAR] = self._ready_calendar(given) if given is not None else self._calendar(steps[-1], order)
        return found

    def times_after(self, payload: Payload, steps: int) -> list[str | float] | None:
        """Return the times of the steps that follow a payload's past; None where it, or training, named none.

        Args:
            payload: one that `past_of` takes.
            steps: how many follow.

        Returns:
            Texts as the latest step's time is written, dates by ISO 8601; numbers where times are such since 1970.
        """
        if not self.time or not self.stride:
            return None
        rows, _, order = self._steps_of(payload)
        latest = [str(row[self.time]).strip() if isinstance(row, Mapping) and self.time in row else "" for row in rows]
        moments = [moment_of(text, order) for text in latest[-self.length :]]
        known = [moment for moment in moments if moment is not None]
        if len(known) < len(moments):
            return None
        return following(self.stride, known, latest[-1], order, steps)

    def _steps_of(self, payload: Payload) -> tuple[Sequence[Any], Any, str]:
        """Return a payload's rows in the order of time, the calendar's features that it has, and its times' order."""
        if isinstance(payload, bytes | bytearray | memoryview | str):
            payload = _parsed(payload)
        given: Any = None
        if self.cycles and isinstance(payload, Mapping) and HISTORY in payload and CALENDAR in payload:
            given = payload[CALENDAR]
        if isinstance(payload, Mapping) and HISTORY in payload and HISTORY not in self.columns:
            payload = payload[HISTORY]
        if isinstance(payload, np.ndarray):
            payload = payload.tolist()
        if isinstance(payload, Mapping):
            payload = self._rows_of(payload)
        if self.by and isinstance(payload, Sequence) and payload and _all_have(payload, self.by):
            payload = self._side_by_side(payload)
        if not isinstance(payload, Sequence) or not payload:
            raise PayloadError(
                "not a series", expected=f"{self.length} steps of {listing(self.columns)}",
                received=json_kind(payload) if payload else "nothing",
            )  # fmt: skip
        if self.time and self.stride and (self.gather or self.fill or self.again):
            payload = evened(
                payload, self._step_or_gaps, self.columns, time=self.time, order=self.order, stride=self.stride,
                gather=self.gather, again=self.again, fill=self.fill, length=self.length,
            )  # fmt: skip
        order = self.order
        if self.time:
            payload, order = in_order(payload, self.time, order, self.stride, self.length)
        return payload, given, order

    def _calendar(self, row: Any, order: str) -> np.ndarray:
        """Return the features of the time of the latest step."""
        text = str(row[self.time]).strip() if isinstance(row, Mapping) and self.time in row else ""
        moment = moment_of(text, order)
        if moment is None:
            raise PayloadError(
                "the time of the latest step can't be read" if text else "the time of the latest step is missing",
                where=f"column '{self.time}'", expected="a time in every row, written as in training",
                received=text[:40] or "no such value",
                hint="this model reads the calendar; give rows as objects, or a CSV with a header",
            )  # fmt: skip
        return np.asarray(calendar_features(np.array([seconds_of(moment)]), self.cycles)[0])

    def _ready_calendar(self, given: Any) -> np.ndarray:
        """Return features that the caller has made, as the tensor's examples show them."""
        width = calendar_width(self.cycles)
        try:
            found = np.asarray(given, np.float32)
        except (TypeError, ValueError):
            found = np.empty(0, np.float32)
        if found.shape != (width,) or not (np.abs(found) <= 1).all():
            raise PayloadError(
                "no calendar features", where=f"'{CALENDAR}'", expected=f"{width} numbers from -1 to 1",
                received=str(given)[:60],
            )  # fmt: skip
        return found

    def _side_by_side(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return rows that each hold one series' values as rows that hold all of them, in the order of their times.

        Without times, the first row of each series is one step, and so on.
        """
        left = {str(row[self.by]).strip() for row in rows} & set(self.left)
        if left:
            _tell_left(self.by, tuple(sorted(left)))
            rows = [row for row in rows if str(row[self.by]).strip() not in left]
        if not rows:
            raise PayloadError(
                "all rows are of series that training left out", where=f"column '{self.by}'",
                expected=listing(self.columns, 8), received=listing(sorted(left), 8),
            )  # fmt: skip
        names = {series_column(str(row[self.by]).strip(), self.values[0], self.values) for row in rows}
        unknown = sorted(names - set(self.columns))
        if unknown:
            raise PayloadError(
                f"no such series: '{unknown[0]}'", where=f"column '{self.by}'", expected=listing(self.columns, 8),
                hint=did_you_mean(unknown[0], self.columns, ALIKE)
                or "leave its rows out: training knew no such series",
            )  # fmt: skip
        timed = bool(self.time) and _all_have(rows, self.time)
        steps: dict[Any, dict[str, Any]] = {}
        seen: dict[str, int] = {}
        for number, row in enumerate(rows, 1):
            name = str(row[self.by]).strip()
            seen[name] = seen.get(name, 0) + 1
            key = seen[name] if not timed else number if self.gather or self.again else str(row[self.time]).strip()
            step = steps.setdefault(key, {})
            if timed:
                step[self.time] = row[self.time]
            for value in self.values:
                column = series_column(name, value, self.values)
                if column in step:
                    raise PayloadError("two rows of one series have one time", where=f"row {number}", received=str(row))
                if value not in row:
                    raise PayloadError(f"column '{value}' is missing", where=f"row {number}")
                step[column] = row[value]
        return list(steps.values())

    def _rows_of(self, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return columns of values by name as rows."""
        long = bool(self.by) and self.by in columns
        if not long:
            self._check_names(columns, "the series")
        wanted = (self.by, *self.values, self.time) if long else (*self.columns, self.time)
        lists = {name: columns[name] for name in wanted if name in columns}
        for name, values in lists.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise PayloadError("not a list of values", where=f"column '{name}'", received=json_kind(values))
        sizes = {len(values) for values in lists.values()}
        if len(sizes) > 1:
            raise PayloadError("the columns have different lengths", received=listing(map(str, sorted(sizes))))
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

    def _check_names(self, given: Mapping[str, Any], where: str) -> None:
        lacking = [name for name in self.columns if name not in given]
        if lacking:
            raise PayloadError(
                f"column '{lacking[0]}' is missing", where=where, expected=listing(self.columns),
                received=listing(sorted(map(str, given))[:8]),
                hint=did_you_mean(lacking[0], map(str, given), ALIKE),
            )  # fmt: skip

    def _step_or_gaps(self, row: Any, number: int) -> list[float]:
        """Return a row's values, NaN for those that are missing."""
        return self._step(row, number, gaps=True)

    def _step(self, row: Any, number: int, *, gaps: bool = False) -> list[float]:
        where = f"step {number}"
        if isinstance(row, Mapping):
            # Rows of one series among several have its columns alone.
            if not (gaps and self.by and any(name in row for name in self.columns)):
                self._check_names(row, where)
            row = [row.get(name) for name in self.columns]
        elif len(self.columns) == 1 and not isinstance(row, list | tuple):
            row = [row]
        if not isinstance(row, list | tuple) or len(row) != len(self.columns):
            raise PayloadError(
                "not one value a column", where=where, expected=listing(self.columns), received=str(row)[:60]
            )
        signs = self.decimals or "." * len(self.columns)
        return [
            math.nan if gaps and _is_missing(value) else _number(value, f"{where}, column '{name}'", sign)
            for name, value, sign in zip(self.columns, row, signs, strict=True)
        ]

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        return {
            "kind": self.kind, "columns": list(self.columns), "length": self.length, "mean": list(self.mean),
            "std": list(self.std), "time": self.time, "step": self.step, "decimals": self.decimals, "by": self.by,
            "values": list(self.values), "cycles": list(self.cycles), "order": self.order,
            **({"left": list(self.left)} if self.left else {}), **({"months": self.months} if self.months else {}),
            **({"gather": self.gather} if self.gather else {}), **({"fill": self.fill} if self.fill else {}),
            **({"again": self.again} if self.again else {}),
        }  # fmt: skip

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> SeriesCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            columns = tuple(map(str, contract["columns"]))
            mean, std = (tuple(map(float, contract[name])) for name in ("mean", "std"))
            codec = cls(
                columns, int(contract["length"]), mean, std, str(contract["time"]), float(contract["step"]),
                str(contract.get("decimals", "")), str(contract.get("by", "")),
                tuple(map(str, contract.get("values", ()))), tuple(map(str, contract.get("cycles", ()))),
                str(contract.get("order", "ymd")), tuple(map(str, contract.get("left", ()))),
                int(contract.get("months", 0)), contract.get("gather"), int(contract.get("fill", 0)),
                contract.get("again"),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the contract of the series codec is damaged", received=repr(error)[:200]) from error
        sizes = {len(columns), len(mean), len(std)}
        if not columns or codec.length < 1 or len(sizes) > 1 or bool(codec.by) != bool(codec.values):
            raise BundleError("the contract of the series codec contradicts itself", received=str(dict(contract))[:200])
        gathers = codec.gather is None or (codec.gather in REDUCED and codec.step > 0)
        gathers = gathers and codec.again in (None, *REDUCED)
        known = not set(codec.cycles) - set(HARMONICS) and codec.order in SERIES_ORDERS
        if not (known and gathers) or ((codec.cycles or codec.gather) and not codec.time):
            raise BundleError("the contract of the series codec contradicts itself", received=str(dict(contract))[:200])
        return codec

    def graph(self) -> bytes | None:
        """Return None: the network scales."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the inputs themselves."""
        return inputs

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know: steps, columns, each column's mean and spread, calendar features."""
        return {
            "kind": self.kind, "length": self.length, "columns": len(self.columns), "mean": list(self.mean),
            "std": list(self.std), "calendar": calendar_width(self.cycles),
        }  # fmt: skip


def series_column(name: str, value: str, values: Sequence[str]) -> str:
    """Return what a value of one of several series is called: the series' name, and its column's if there are several.

    Example:
        >>> series_column("Oslo", "load", ["load", "price"])
        'Oslo/load'
    """
    return name if len(values) == 1 else f"{name}/{value}"


def _all_have(rows: Sequence[Any], name: str) -> bool:
    return all(isinstance(row, Mapping) and name in row for row in rows)


def _parsed(data: bytes | bytearray | memoryview | str) -> Any:
    """Return what a JSON text, or a table of text with a header, holds."""
    raw = data.encode() if isinstance(data, str) else bytes(data)
    check_form(raw, "the series")
    text = raw.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return []
    if text[:1] in (b"{", b"["):
        try:
            return json.loads(text)
        except ValueError as error:  # also where it isn't UTF-8
            raise PayloadError("not JSON", received=str(error)) from error
    return [row for _, row in read_rows(raw, name="the series")]


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and value != value)
    )


def _number(value: Any, where: str, sign: str) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise PayloadError(
            "a value is missing", where=where, expected="a number", hint="fill gaps first: none is filled here"
        )
    read = parse_number(value.strip(), sign) if isinstance(value, str) else value
    try:
        number = math.nan if isinstance(read, bool) or read is None else float(read)
    except (TypeError, ValueError):
        number = math.nan
    except OverflowError:  # a whole number of more than 300 digits
        number = 10.0 * LARGEST
    if not math.isfinite(number):
        raise PayloadError("not a number", where=where, expected="a finite number", received=f"{value!r}"[:40])
    if abs(number) > LARGEST:
        raise PayloadError(
            "the number is too large", where=where, expected=f"at most {LARGEST:.3g}", received=f"{value!r}"[:40]
        )
    return number


@lru_cache(maxsize=256)
def _tell_left(by: str, names: tuple[str, ...]) -> None:
    """Warn once that rows are passed over."""
    log.warning(
        "rows of %s are passed over: training left %s out (column '%s')",
        listing(names, 8),
        "this series" if len(names) == 1 else "these series",
        by,
    )
