"""Read a table's target: class labels as texts, or finite numbers; and guess which column it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bedplate.codecs.columns import MISSING, ColumnSchema, Fault, Raw, clean, read_categories, read_columns
from bedplate.codecs.numbers import decimal_sign, number_text, parse_number
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.schema import category_form, infer_column
from bedplate.recipe.schema import ColumnSpec

MOST_CLASSES = 1000

_LIKELY = (
    r"target",
    r"label",
    r"class",
    r"y",
    r"outcome",
    r"response",
    r"is_?fraud",
    r"survived",
    r"churn(ed)?",
    r"diagnosis",
    r"species",
    r"default",
    r"quality",
    r"(is_?)?spam",
    r"price|sale_?price",
    r"(class|target|label)[_ ].*",
    r".*[_ ](class|target|label)",
    r"result",
    r"category",
    r"income",
    r"medv|median_house_value",
)
_UNLIKELY = (
    r"(.*[_ .-])?(id|key|code|zip|zip_?code|index|day|month|year|week(day)?|hour|minute|quarter|date|time|"
    r"lat|latitude|lon|lng|long|longitude)"
)
"""Names of columns that say where, when or which, and so are seldom what is to be predicted."""

_AMOUNT = r"price|amount|cost|salary|rate|score|age$|count|cnt"
_POSITIVE = (
    "1",
    "true",
    "yes",
    "y",
    "t",
    "positive",
    "pos",
    ">50k",
    "spam",
    "fraud",
    "malignant",
    "churned",
    "churn",
    "default",
    "anomaly",
    "attack",
    "defect",
    "sick",
    "disease",
)


@dataclass(frozen=True)
class Target:
    """A target that was read: `values` are texts (object array) or floats; `missing` are the rows without one."""

    values: np.ndarray
    missing: np.ndarray
    faults: dict[int, str]


def check_target(columns: Sequence[str] | Mapping[str, object], target: str | None, where: str) -> str:
    """Return `target` if the table has it; else raise a DataError with the nearest spelling."""
    if target is None:
        raise DataError(
            "no target is named",
            where="data.target",
            expected=f"one of {listing(columns)}",
            hint="`bedplate init` proposes one",
        )
    if target not in columns:
        parts = [part.strip() for part in target.split(",")]
        if len(parts) > 1 and all(part in columns for part in parts):
            raise DataError(
                "one model answers one column",
                where=f"data.target in {where}",
                expected="one column",
                received=target,
                hint="name one; a forecast takes others in data.series.columns, and labels of which a row may have "
                "several are label_columns of --task multi-label-classification",
            )
        raise DataError(
            f"there is no column '{target}'",
            where=f"data.target in {where}",
            expected=f"one of {listing(columns)}",
            hint="the file was read as one column: is data.delimiter right?"
            if len(columns) == 1
            else did_you_mean(target, columns),
        )
    return target


def read_labels(values: Sequence[Raw], name: str, spec: ColumnSpec) -> Target:
    """Return class labels as texts ("" where missing); `1`, `1.0` and "1" are one label where all are numbers."""
    column = ColumnSchema(name, "category", form="label", missing=tuple(spec.missing), strip=spec.strip)
    faults: list[Fault] = []
    texts = read_categories(values, column, faults)
    if category_form(sorted(set(texts[texts != ""].tolist()))) == "code":
        spelling = {text: number_text(float(text)) if text else "" for text in set(texts.tolist())}
        texts = np.array([spelling[text] for text in texts.tolist()], object)
    wrong = {fault.row: f"expected {fault.expected}, received {fault.received}" for fault in faults}
    missing = np.flatnonzero(texts == "")
    return Target(texts, missing[~np.isin(missing, list(wrong))], wrong)


def read_numbers(values: Sequence[Raw], name: str, spec: ColumnSpec) -> Target:
    """Return a numeric target as float64 (NaN where missing); texts that are no finite numbers are faults."""
    base = ColumnSchema(name, "number", missing=tuple(spec.missing), strip=spec.strip)
    texts = {clean(value, base) for value in values if isinstance(value, str)}
    column = ColumnSchema(name, "number", decimal_sign(texts), missing=tuple(spec.missing), strip=spec.strip)
    decoded = read_columns({name: values}, [column])
    read = next(iter(decoded.tensors.values()))
    wrong = {fault.row: f"expected {fault.expected}, received {fault.received}" for fault in decoded.faults}
    missing = np.flatnonzero(np.isnan(read))
    return Target(read, missing[~np.isin(missing, list(wrong))], wrong)


def sorted_labels(texts: Sequence[str]) -> tuple[str, ...]:
    """Return distinct labels in order: by number where all are numbers, else by text."""
    distinct = set(texts)
    numbers = {text: parse_number(text) for text in distinct}
    if all(value is not None for value in numbers.values()):
        return tuple(sorted(distinct, key=lambda text: (numbers[text], text)))
    return tuple(sorted(distinct))


def positive_index(labels: Sequence[str], counts: Mapping[str, int], wanted: str | None) -> int | None:
    """Return the index of the label that binary metrics speak of; None where there are not two labels.

    It is the recipe's `data.positive`, else a label that says so ("1", "yes", "true", ">50K" …), else the rarer one.
    """
    if wanted is not None:
        folded = {label.casefold(): place for place, label in enumerate(labels)}
        place = folded.get(wanted.strip().casefold())
        if wanted in labels:
            place = list(labels).index(wanted)
        if place is None:
            raise DataError(
                f"there is no label '{wanted}'",
                where="data.positive",
                expected=f"one of {listing(labels)}",
                received=wanted,
                hint=did_you_mean(wanted, labels),
            )
        return place if len(labels) == 2 else None
    if len(labels) != 2:
        return None
    saying = [place for place, label in enumerate(labels) if label.casefold() in _POSITIVE]
    if len(saying) == 1:
        return saying[0]
    return min((0, 1), key=lambda place: (counts.get(labels[place], 0), -place))


def guess_target(columns: Mapping[str, Sequence[Raw]], header: bool) -> tuple[str, str]:
    """Return (column, reason): a column with a target's name, else the last one that can be one."""
    names = list(columns)
    if header:
        for pattern in _LIKELY:
            for name in names:
                if name.casefold() == "y" and "z" in (other.casefold() for other in names):
                    continue  # a coordinate
                if re.fullmatch(pattern, name.strip(), re.I) and _can_be_target(name, columns[name], named=True):
                    return name, f"'{name}' is a usual name for a target"
    possible = [name for name in reversed(names) if _can_be_target(name, columns[name])]
    for name in [name for name in possible if not (header and re.fullmatch(_UNLIKELY, name.strip(), re.I))] or possible:
        return name, "the last column" if name == names[-1] else "the last column that is likely to be predicted"
    raise DataError("no column can be a target", received=listing(names), hint="name one with --target")


def _can_be_target(name: str, values: Sequence[Raw], *, named: bool = False) -> bool:
    """Whether a column can be predicted; one that is `named` as a target counts though constant, to be told so."""
    if not named and sum(
        value is None or value != value or str(value).strip() in MISSING for value in values
    ) > 0.3 * len(values):
        return False
    return infer_column(name, values).type in ({"number", "category", "constant"} if named else {"number", "category"})


def guess_task(values: Sequence[Raw], name: str, spec: ColumnSpec | None = None) -> tuple[str, str]:
    """Return (task, reason) for a target column: few distinct values or texts are classes, other numbers a quantity.

    Raises:
        DataError: the column is no target: constant, a date, or texts that seldom repeat.
    """
    spec = spec or ColumnSpec()
    schema = infer_column(name, values, ColumnSpec(missing=spec.missing, strip=spec.strip))
    labels = read_labels(values, name, spec)
    counts = Counter(text for text in labels.values.tolist() if text)
    present = counts.total()
    if len(counts) < 2:
        raise DataError(
            f"the target '{name}' has one value only" if counts else f"the target '{name}' is always missing",
            expected="at least two classes, or numbers that differ",
            received=listing(counts) or "no value",
            hint="name another column with --target",
        )
    numeric = _numbers(counts)
    if numeric is not None:
        whole = all(value == int(value) for value in numeric if abs(value) < 2**53)
        few = len(counts) <= 2 or (whole and len(counts) <= 20 and present >= 5 * len(counts))
        if (few and not re.search(_AMOUNT, name, re.I)) or len(counts) == 2:
            return "tabular-classification", f"'{name}' has {len(counts)} distinct whole values"
        return "tabular-regression", f"'{name}' holds numbers, {len(counts)} distinct"
    if schema.type in {"identifier", "text", "date"} or len(counts) > min(MOST_CLASSES, max(20, present // 2)):
        raise DataError(
            f"'{name}' can't be a target",
            expected="numbers, or classes that repeat",
            received=f"{len(counts)} distinct values in {present} rows ({schema.type})",
            hint="name another column with --target",
        )
    return "tabular-classification", f"'{name}' holds {len(counts)} distinct texts"


def _numbers(texts: Mapping[str, int]) -> list[float] | None:
    decimal = decimal_sign(texts)
    values = [parse_number(text, decimal) for text in texts]
    return None if any(value is None for value in values) else [value for value in values if value is not None]
