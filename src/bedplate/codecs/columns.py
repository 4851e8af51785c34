"""Read a table's columns into the tensors at the graph's boundary: the one path of training, evaluation and serving.

A column is a list of raw values: text as it stood in a file, or a JSON value. What the column means is its
`ColumnSchema`; nothing here depends on what was learnt from the data.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.dates import Order, parse_date
from bedplate.codecs.numbers import number_text, parse_number
from bedplate.core.errors import json_text

ColumnType = Literal["number", "category", "date", "identifier", "text", "constant", "ignore"]
READ_TYPES = ("number", "category", "date")
"""The types that become tensors; columns of the other types are set aside."""

Raw = Any
"""A raw value: str, int, float, bool or None."""

MISSING = frozenset({
    "", "NA", "N/A", "n/a", "na", "#N/A", "NaN", "nan", "NAN", "-nan", "NULL", "null", "Null", "None", "<NA>", "NaT",
    "?",
})  # fmt: skip
"""Texts that mean a missing value, in every column. Part of the table contract's version 1."""

MISSING_NUMBERS = MISSING | {"-", "--", ".", "none", "N.A.", "n.a."}
"""Texts that mean a missing value in a column of numbers or dates."""

MISSING_LABELS = MISSING - {"None", "?"}
"""Texts that mean a missing class label: "None" may well be a class."""

RESERVED = frozenset({"numeric", "categories", "probabilities", "value", "image", "text", "tokens"})
"""Names that tensors inside a bundle's graph have; a column of that name gets a tensor with `_` behind it."""

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class ColumnSchema:
    """What a column means.

    `form` refines the type: the decimal sign of a number ("." or ","); "text", "code" (numbers that name things) or
    "bool" for a category ("label" for a target); the order of a date ("ymd", "dmy", "mdy", "clock"). `clock` says
    whether a date has a time of day. `missing` are texts that mean missing beside the usual ones; `strip` are
    characters cut from both ends.
    """

    name: str
    type: ColumnType
    form: str = ""
    clock: bool = False
    missing: tuple[str, ...] = ()
    strip: str | None = None
    reason: str = ""

    @property
    def read(self) -> bool:
        """Whether the column becomes tensors (else it is set aside)."""
        return self.type in READ_TYPES

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON-ready fields."""
        return {**asdict(self), "missing": list(self.missing)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ColumnSchema:
        """Rebuild from `to_json()`'s fields."""
        return cls(**{**fields, "missing": tuple(fields["missing"])})


@dataclass(frozen=True)
class Fault:
    """One value that doesn't fit its column."""

    row: int
    column: str
    expected: str
    received: str


@dataclass
class Decoded:
    """What reading columns gave: tensors, and the values that did not fit (their rows hold a missing value)."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def date_parts(column: ColumnSchema) -> tuple[str, ...]:
    """Return the names of the numbers that a date column becomes."""
    if column.form == "clock":
        return ("hour",)
    return ("days", "year", "month", "day", "weekday") + (("hour",) if column.clock else ())


def tensor_names(columns: Sequence[ColumnSchema]) -> dict[tuple[str, str], str]:
    """Return the tensor's name for each (column, part); the part is "" but for dates. Names are unique."""
    names: dict[tuple[str, str], str] = {}
    taken = set(RESERVED) | {column.name for column in columns if column.read and column.type == "date"}
    for column in sorted((column for column in columns if column.read), key=lambda column: column.type == "date"):
        for part in date_parts(column) if column.type == "date" else ("",):
            name = f"{column.name}.{part}" if part else column.name
            while name in taken:
                name += "_"
            taken.add(name)
            names[column.name, part] = name
    return names


def tensor_specs(columns: Sequence[ColumnSchema]) -> list[TensorSpec]:
    """Return the tensors that `columns` become, in the columns' order."""
    names = tensor_names(columns)
    specs = []
    for column in columns:
        if column.read:
            dtype = "string" if column.type == "category" else "float64"
            parts = date_parts(column) if column.type == "date" else ("",)
            specs += [TensorSpec(names[column.name, part], dtype) for part in parts]
    return specs


def read_columns(
    values: Mapping[str, Sequence[Raw]],
    columns: Sequence[ColumnSchema],
    names: Mapping[tuple[str, str], str] | None = None,
) -> Decoded:
    """Read every used column of `values`; values that don't fit are returned as faults, in row order.

    `names` are the `tensor_names` of the columns, for who reads often.
    """
    names = tensor_names(columns) if names is None else names
    decoded = Decoded()
    for column in columns:
        if not column.read:
            continue
        faults: list[Fault] = []
        if column.type == "date":
            for part, array in _read_dates(values[column.name], column, faults).items():
                decoded.tensors[names[column.name, part]] = array
        else:
            read = _read_numbers if column.type == "number" else read_categories
            decoded.tensors[names[column.name, ""]] = read(values[column.name], column, faults)
        decoded.faults += faults
    decoded.faults.sort(key=lambda fault: fault.row)
    return decoded


def clean(text: str, column: ColumnSchema) -> str:
    """Return a text without the blanks, and the column's `strip` characters, at its ends."""
    text = text.strip()
    return text.strip(column.strip).strip() if column.strip else text


_PLAIN = {float, int, type(None)}


@functools.lru_cache(maxsize=256)
def _with(usual: frozenset[str], own: tuple[str, ...]) -> frozenset[str]:
    """Return all texts that mean missing; a server asks for each column of each row."""
    return usual | set(own)


def _read_numbers(values: Sequence[Raw], column: ColumnSchema, faults: list[Fault]) -> np.ndarray:
    kinds = set(map(type, values))
    if kinds <= _PLAIN and not column.missing:
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError:  # a whole number beyond all floats: below it becomes a fault
            pass
        else:
            if not np.isinf(array).any():
                return array
    missing = _with(MISSING_NUMBERS, column.missing)
    decimal = column.form or "."
    memo: dict[str, float | None] = {}

    def number(value: Raw) -> float | None:
        """The number, NaN where missing, None where it is no number."""
        if isinstance(value, str):
            if value not in memo:
                text = clean(value, column)
                memo[value] = math.nan if text in missing else parse_number(text, decimal)
            return memo[value]
        if value is None:
            return math.nan
        if isinstance(value, bool | int | float | np.number | np.bool_):
            if column.missing and number_text(float(value)) in missing:
                return math.nan
            return float(value)
        return None

    array = np.empty(len(values), np.float64)
    for row, value in enumerate(values):
        try:
            read = number(value)
        except OverflowError:
            read = math.inf
        if read is None or math.isinf(read):
            expected = "a finite number" if read is not None else "a number, or null where missing"
            faults.append(Fault(row, column.name, expected, json_text(value)))
            read = math.nan
        array[row] = read
    return array


def read_categories(values: Sequence[Raw], column: ColumnSchema, faults: list[Fault]) -> np.ndarray:
    """Return the canonical texts of a category column (object array of str, "" where missing)."""
    missing = _with(MISSING_LABELS if column.form == "label" else MISSING, column.missing)
    memo: dict[str, str] = {}

    def category(value: Raw) -> str | None:
        """The canonical text, "" where missing, None where it is no category."""
        if isinstance(value, str):
            if value not in memo:
                text = clean(value, column)
                memo[value] = "" if text in missing else _canonical(text, column.form)
            return memo[value]
        if value is None:
            return ""
        if isinstance(value, bool | np.bool_):
            return ("1" if value else "0") if column.form == "code" else ("true" if value else "false")
        if isinstance(value, int | float | np.number):
            if math.isinf(value):
                return None
            text = "" if math.isnan(value) else str(value) if isinstance(value, int) else number_text(float(value))
            return "" if text in missing else text
        return None

    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        read = category(value)
        if read is None:
            faults.append(Fault(row, column.name, "a text, a finite number, true, false or null", json_text(value)))
            read = ""
        array[row] = read
    return array


def _canonical(text: str, form: str) -> str:
    """Return the one text of a category: numbers and booleans in one spelling, and nothing that no graph can hold."""
    if form == "bool":
        return text.casefold()
    if form == "code":
        value = parse_number(text)
        return text if value is None or not math.isfinite(value) else number_text(value)
    if text.isascii() and "\0" not in text:
        return text
    # ONNX strings are UTF-8 and end at a NUL, so lone surrogates and NULs are replaced.
    text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return unicodedata.normalize("NFC", text)


def _read_dates(values: Sequence[Raw], column: ColumnSchema, faults: list[Fault]) -> dict[str, np.ndarray]:
    missing = _with(MISSING_NUMBERS, column.missing)
    order: Order = column.form or "ymd"  # type: ignore[assignment]
    parts = date_parts(column)
    absent = (math.nan,) * len(parts)
    memo: dict[str, tuple[float, ...] | None] = {}

    def numbers(value: Raw) -> tuple[float, ...] | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return absent
        if isinstance(value, datetime | date):
            value = value.isoformat()
        if isinstance(value, int) and order == "ymd" and not isinstance(value, bool):
            value = str(value)  # a compact date, 20200131, read from JSON as a number
        if not isinstance(value, str):
            return None
        if value not in memo:
            text = clean(value, column)
            moment = None if text in missing else parse_date(text, order)
            memo[value] = absent if text in missing else _date_numbers(moment, parts) if moment else None
        return memo[value]

    rows = []
    for row, value in enumerate(values):
        read = numbers(value)
        if read is None:
            faults.append(Fault(row, column.name, f"{_EXAMPLES[order]}, or null where missing", json_text(value)))
            read = absent
        rows.append(read)
    matrix = np.array(rows, np.float64).reshape(len(rows), len(parts))
    return {part: np.ascontiguousarray(matrix[:, k]) for k, part in enumerate(parts)}


_EXAMPLES: dict[str, str] = {
    "ymd": "a date such as 2020-01-31",
    "dmy": "a date such as 31/01/2020 (day first) or 2020-01-31",
    "mdy": "a date such as 01/31/2020 (month first) or 2020-01-31",
    "clock": "a time of day such as 14:30",
}


def _date_numbers(moment: datetime, parts: tuple[str, ...]) -> tuple[float, ...]:
    """Days since 1970 (with the day's fraction), year, month 1-12, day 1-31, weekday 0-6 from Monday, hour 0-24."""
    known = {
        "days": (moment - _EPOCH).total_seconds() / 86_400,
        "year": float(moment.year),
        "month": float(moment.month),
        "day": float(moment.day),
        "weekday": float(moment.weekday()),
        "hour": moment.hour + moment.minute / 60 + moment.second / 3600,
    }
    return tuple(known[part] for part in parts)
