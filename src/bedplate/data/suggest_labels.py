"""Recognise a column whose rows have several labels each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bedplate.core.errors import DataError, listing
from bedplate.data.label_sets import LISTS, indicators, read_cell, separator_of
from bedplate.data.suggest_text import text_column_of
from bedplate.data.tables import RawTable

_LIKELY = r"(.*[_ ])?(labels|tags|topics|categories|genres|keywords|classes|emotions)"
_LOOKED_AT = 500


def list_column(table: RawTable, target: str | None) -> str | None:
    """Return the column (or the target) whose cells are lists of texts; None where there is none."""
    for name in (target,) if target is not None else tuple(table.columns):
        cells = [cell for cell in table.columns.get(name, ())[:_LOOKED_AT] if cell is not None and str(cell).strip()]
        lists = [str(cell).strip() for cell in cells]
        if not lists or not all(text.startswith("[") and ('"' in text or text == "[]") for text in lists):
            continue  # lists of numbers are no labels
        try:
            found = [read_cell(cell, LISTS) for cell in cells]
        except ValueError:
            continue
        if len({label for row in found for label in row}) <= max(20, len(cells)) and any(len(row) > 1 for row in found):
            return name
    return None


def label_column(table: RawTable, target: str | None) -> tuple[str, str]:
    """Return the column of labels, and why it is taken for one.

    Raises:
        DataError: none is called so, and none holds lists.
    """
    if target is not None:
        name, why = target, "as asked"
    elif (found := list_column(table, None)) is not None:
        name, why = found, "it holds lists"
    else:
        named = [name for name in table.columns if re.fullmatch(_LIKELY, name.strip(), re.I)]
        if not named:
            raise DataError(
                "no column looks as if a row had several labels in it", where=table.name,
                received=listing(table.columns), hint="name it with --target",
            )  # fmt: skip
        name, why = named[0], "it is a usual name"
    return name, why


def indicator_columns(table: RawTable, target: str | None) -> list[str]:
    """Return the columns of zeros and ones that are labels, where no other column holds several: two or more."""
    named = [name for name in table.columns if re.fullmatch(_LIKELY, name.strip(), re.I)]
    if target is not None or named or list_column(table, None) is not None:
        return []
    found = indicators(table)
    return found if len(found) > 1 else []


def told(table: RawTable, target: str) -> str:
    """Return in a sentence how many labels there are and what separates them."""
    cells = table.columns[target]
    sign = separator_of(cells)
    rows = []
    for cell in cells[:_LOOKED_AT]:
        try:
            rows.append(read_cell(cell, sign))
        except ValueError:  # loading says what is wrong with it
            continue
    names = {label for row in rows for label in row}
    how = "in lists" if sign == LISTS else f"separated by '{sign}'" if sign else "one by itself"
    mean = float(np.mean([len(row) for row in rows])) if rows else 0.0
    return f"'{target}' holds {len(names)} labels {how}, {mean:.1f} in a row on average"


def several_labels(table: RawTable, target: str) -> str | None:
    """Return a sentence where a column of classes may hold several labels a row, which `init` only says."""
    texts = ("" if cell is None else str(cell).strip() for cell in table.columns[target][:_LOOKED_AT])
    cells = [text for text in texts if text]
    sign = separator_of(cells)
    what = None
    if sign is not None and sign != LISTS:
        rows = [read_cell(cell, sign) for cell in cells]
        counts = Counter(label for row in rows for label in row)
        apart = sum(len(row) > 1 for row in rows)
        # Labels recur, by themselves and beside others; a class with a comma in its name, or a sentence, doesn't.
        if 5 * apart >= len(rows) and len(counts) < len(set(cells)) and sum(counts.values()) >= 3 * len(counts):
            what = f"the cells of '{target}' look like several labels, separated by '{sign}'"
    beside = indicators(table)
    if what is None and target in beside and len(beside) > 2 and _one_text(table, beside):
        what = f"{listing(beside)} hold zeros and ones beside a text, as labels do of which a row may have several"
    return what and f"note: {what}; --task multi-label-classification answers each by itself"


def _one_text(table: RawTable, labels: Sequence[str]) -> bool:
    """Whether there is nothing but a text to learn the labels from."""
    rest = {name: values for name, values in table.columns.items() if name not in labels[1:]}
    return text_column_of(replace(table, columns=rest), labels[0]) is not None
