"""Infer what a table's columns mean, with a reason for each; a recipe's `data.columns` overrides it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bedplate.codecs.columns import MISSING, MISSING_NUMBERS, ColumnSchema, Raw, clean
from bedplate.codecs.dates import ORDERS, find_order, parse_date
from bedplate.codecs.numbers import decimal_sign, number_text, parse_number
from bedplate.codecs.table_learning import MOST_CATEGORIES
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.recipe.schema import ColumnSpec

_ID_CAMEL = re.compile(r"[a-z0-9](Id|ID|Key|Index)$")
_ID_WORD = re.compile(r"(^|[_\s.\-])(id|uuid|guid|key|index|idx|rowid|rownum|row_?names?|row|nr|no)$|^unnamed\b", re.I)
_QUANTITY = re.compile(r"year|date|time|day|month|week|hour|age|price|temp", re.I)
_POSTAL = re.compile(r"(^|[_\s])(zip|zip_?code|post_?code|postal_?code)$", re.I)
_DATE_NAME = re.compile(r"date|day|time|^dt$|_dt$|_on$|_at$", re.I)
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which set no spaces between words."""
_PLACEHOLDERS = {
    "unknown",
    "missing",
    "none",
    "not available",
    "not applicable",
    "n.d.",
    "nd",
    "tbd",
    "other",
    "undefined",
    "unspecified",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "-infinity",
    "#value!",
    "#div/0!",
    "#ref!",
    "#name?",
    "#num!",
    "error",
    "nil",
    "x",
    "*",
}
_MOST_STRAYS = 3
_PLAIN_CODE = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?")


@dataclass(frozen=True)
class _Seen:
    """What a column holds: its distinct texts with their counts, missing ones left out."""

    texts: Counter[str]
    rows: int
    booleans: bool

    @property
    def present(self) -> int:
        return self.texts.total()

    @property
    def distinct(self) -> int:
        return len(self.texts)

    @property
    def ratio(self) -> float:
        return self.distinct / max(1, self.present)

    @property
    def missing(self) -> float:
        return 1 - self.present / max(1, self.rows)


def infer_schema(
    columns: Mapping[str, Sequence[Raw]], target: str, specs: Mapping[str, ColumnSpec], groups: str | None = None
) -> list[ColumnSchema]:
    """Return what each column but `target` means.

    Args:
        columns: raw values by column.
        target: the target's name.
        specs: the recipe's overrides by column.
        groups: the column that names the groups of a split; it is set aside, since no group comes again.

    Raises:
        DataError: `specs` names a column that isn't there.
    """
    for name in specs:
        if name not in columns:
            raise DataError(
                f"there is no column '{name}'",
                where=f"data.columns.{name}",
                expected=f"one of {listing(columns)}",
                hint=did_you_mean(name, columns),
            )
    schemas = []
    for name, values in columns.items():
        if name == target:
            continue
        spec = specs.get(name, ColumnSpec())
        schema = infer_column(name, values, spec)
        if name == groups and spec.type is None:
            schema = replace(
                schema, type="identifier", reason="it names the groups of the split, and no group comes again"
            )
        schemas.append(schema)
    return schemas


def infer_column(name: str, values: Sequence[Raw], spec: ColumnSpec | None = None) -> ColumnSchema:
    """Return what one column means: its type and form, what means missing in it, and why."""
    spec = spec or ColumnSpec()
    base = ColumnSchema(name, "ignore", missing=tuple(spec.missing), strip=spec.strip)
    seen = _look(values, base)
    if spec.type is not None:
        return _as_told(base, seen, spec)
    if seen.distinct == 0:
        return replace(base, type="constant", reason="every value is missing")
    if seen.distinct == 1 and seen.present == seen.rows:
        return replace(base, type="constant", reason=f"every value is '{next(iter(seen.texts))[:40]}'")
    tries: tuple[Callable[[ColumnSchema, _Seen], ColumnSchema | None], ...] = (
        _try_boolean,
        _try_number,
        _try_date,
        _try_text,
    )
    for attempt in tries:
        schema = attempt(base, seen)
        if schema is not None:
            return schema
    return _category(base, seen, "")


def _look(values: Sequence[Raw], column: ColumnSchema) -> _Seen:
    missing = MISSING | set(column.missing)
    raw: Counter[str] = Counter()
    booleans = 0
    for value in values:
        if value is None:
            continue
        if isinstance(value, str):
            raw[value] += 1
        elif isinstance(value, bool):
            booleans += 1
            raw["true" if value else "false"] += 1
        elif isinstance(value, int):
            raw[str(value)] += 1
        elif value == value:
            raw[number_text(float(value))] += 1
    texts: Counter[str] = Counter()
    for text, times in raw.items():
        cleaned = clean(text, column)
        if cleaned not in missing:
            texts[cleaned] += times
    return _Seen(texts, len(values), booleans > 0)


def _as_told(base: ColumnSchema, seen: _Seen, spec: ColumnSpec) -> ColumnSchema:
    """The column as the recipe says; what the recipe leaves open is still found out."""
    why = "the recipe says so"
    if spec.type == "number":
        numeric = [text for text in seen.texts if text not in MISSING_NUMBERS]
        return replace(base, type="number", form=decimal_sign(numeric), reason=why)
    if spec.type == "category":
        return replace(_category(base, seen, why), reason=why)
    if spec.type == "date":
        texts = [text for text in seen.texts if text not in MISSING_NUMBERS]
        found = find_order([text for text in texts if any(parse_date(text, order) for order in ORDERS)])
        order = found[0] if found else "ymd"
        return replace(base, type="date", form=order, clock=_has_clock(texts, order), reason=why)
    return replace(base, type=spec.type or "ignore", reason=why)


def _try_boolean(base: ColumnSchema, seen: _Seen) -> ColumnSchema | None:
    if {text.casefold() for text in seen.texts} <= {"true", "false"}:
        return replace(base, type="category", form="bool", reason="true or false")
    return None


def _strays(seen: _Seen, fits: Callable[[str], bool]) -> list[str] | None:
    """Return the few texts that don't fit and can be taken for placeholders, or None where they are too many."""
    odd = [text for text in seen.texts if text not in MISSING_NUMBERS and not fits(text)]
    fitting = seen.distinct - len(odd)
    if not odd:
        return odd if fitting and any(text not in MISSING_NUMBERS for text in seen.texts) else None
    share = sum(seen.texts[text] for text in odd) / seen.present
    named = all(text.casefold() in _PLACEHOLDERS for text in odd)
    enough = fitting >= 10 * len(odd) and seen.present >= 20
    return odd if len(odd) <= _MOST_STRAYS and enough and share <= (0.5 if named else 0.05) else None


def _try_number(base: ColumnSchema, seen: _Seen) -> ColumnSchema | None:
    sample = list(seen.texts)[:200]
    if sum(parse_number(t) is not None or parse_number(t, ",") is not None for t in sample) < 0.5 * len(sample):
        return None
    decimal = decimal_sign(seen.texts)
    numbers = {text: parse_number(text, decimal) for text in seen.texts}
    strays = _strays(seen, lambda text: numbers[text] is not None)
    if strays is None:
        return None
    values = {text: value for text, value in numbers.items() if value is not None and text not in MISSING_NUMBERS}
    if seen.booleans:
        return None
    if any(re.fullmatch(r"0\d+", text) for text in values):
        return _category(base, seen, "digits with leading zeros name things")
    dates = _compact_dates(base.name, list(values))
    if dates and not strays:
        return replace(base, type="date", form="ymd", reason="numbers of the form YYYYMMDD under a date's name")
    whole = all(value == value and abs(value) < 2**53 and value == int(value) for value in values.values())
    distinct = len(set(values.values()))
    if whole and not strays:
        unique = distinct == seen.present and distinct >= 10
        if unique and (_ID_WORD.search(base.name) or _ID_CAMEL.search(base.name)):
            return replace(
                base, type="identifier", reason="a whole number that never repeats, under an identifier's name"
            )
        low, high = min(values.values()), max(values.values())
        counts = low in {0, 1} and high - low == distinct - 1
        if unique and counts and seen.present == seen.rows and not _QUANTITY.search(base.name):
            return replace(base, type="identifier", reason="the numbers count the rows")
        named = _ID_WORD.search(base.name) or _ID_CAMEL.search(base.name)
        if named and seen.ratio > 0.5 and distinct >= 50:
            return replace(
                base, type="identifier", reason="a whole number that seldom repeats, under an identifier's name"
            )
        if (named or _POSTAL.search(base.name)) and distinct > 2:
            return _category(base, seen, "whole numbers that name things, by the column's name")
    reason = f"numbers, {distinct} distinct"
    if decimal == ",":
        reason += ", with a decimal comma"
    if strays:
        reason += f"; {listing(repr(text) for text in strays)} taken for missing"
    return replace(base, type="number", form=decimal, missing=(*base.missing, *strays), reason=reason)


def _compact_dates(name: str, texts: list[str]) -> bool:
    if not _DATE_NAME.search(name) or not all(re.fullmatch(r"(19|20)\d{6}", text) for text in texts):
        return False
    return all(parse_date(text, "ymd") for text in texts)


def _try_date(base: ColumnSchema, seen: _Seen) -> ColumnSchema | None:
    def some_date(text: str) -> bool:
        return any(parse_date(text, order) for order in ORDERS)

    sample = list(seen.texts)[:100]
    if sum(map(some_date, sample)) < 0.8 * len(sample):
        return None
    strays = _strays(seen, some_date)
    if strays is None:
        return None
    dates = [text for text in seen.texts if text not in MISSING_NUMBERS and text not in strays]
    found = find_order(dates)
    if found is None:
        return None
    order, open_question = found
    says = {"ymd": "dates", "dmy": "dates, day first", "mdy": "dates, month first", "clock": "times of day"}[order]
    reason = says + (" (the values leave open which: taken for the likelier)" if open_question else "")
    if strays:
        reason += f"; {listing(repr(text) for text in strays)} taken for missing"
    return replace(
        base, type="date", form=order, clock=_has_clock(dates, order), missing=(*base.missing, *strays), reason=reason
    )


def _has_clock(texts: Sequence[str], order: str) -> bool:
    moments = (parse_date(text, order) for text in texts)  # type: ignore[arg-type]
    return any(moment is not None and (moment.hour or moment.minute or moment.second) for moment in moments)


def count_words(text: str) -> int:
    """Return how many words a text has; in scripts without spaces between words, each character counts as one."""
    return len(_UNSPACED.sub(" x ", text).split())


def _try_text(base: ColumnSchema, seen: _Seen) -> ColumnSchema | None:
    """Free text and identifiers, which are set aside; None for a category."""
    present = seen.present
    words = sum(count_words(text) * times for text, times in seen.texts.items()) / present
    length = sum(len(text) * times for text, times in seen.texts.items()) / present
    wordy = words >= 3 or (length > 40 and words >= 2)
    if seen.ratio > 0.9 and seen.distinct >= 10:
        if wordy:
            return replace(
                base,
                type="text",
                reason=f"free text, {words:.0f} words on average; set aside: text-classification reads one",
            )
        return replace(base, type="identifier", reason=f"{seen.distinct} distinct texts in {present} rows")
    spaced = sum(len(text.split()) * times for text, times in seen.texts.items()) / present
    # Names of a script without spaces may have five characters: where they repeat, they are categories.
    if (spaced >= 5 or length > 60) and seen.distinct > 30 and seen.ratio > 0.2:
        return replace(
            base,
            type="text",
            reason=f"free text, {words:.0f} words on average; set aside: text-classification reads one",
        )
    if seen.ratio > 0.5 and seen.distinct > 50 and seen.missing < 0.2:
        return replace(
            base, type="identifier", reason=f"nearly every value occurs once: {seen.distinct} distinct in {present}"
        )
    return None


def _category(base: ColumnSchema, seen: _Seen, why: str) -> ColumnSchema:
    folded = {text.casefold() for text in seen.texts}
    form = "bool" if folded and folded <= {"true", "false"} else category_form(seen.texts)
    reason = why or f"{seen.distinct} distinct texts"
    if not why and seen.distinct > MOST_CATEGORIES:
        reason += f"; the {MOST_CATEGORIES} commonest are kept, the others count as unknown"
    elif not why and seen.ratio > 0.5 and seen.distinct > 50:
        reason += f"; kept since {seen.missing:.0%} missing may tell something"
    elif not why and seen.distinct == 1:
        reason = "one value, or missing"
    return replace(base, type="category", form=form, reason=reason)


def category_form(texts: Sequence[str] | Mapping[str, int]) -> str:
    """Return "code" where every text is a plain number (so that 2, 2.0 and "2" are one category), else "text"."""
    return "code" if texts and all(_PLAIN_CODE.fullmatch(text) for text in texts) else "text"
