"""Read which labels each row has, where a row may have several or none: a cell holds a JSON list, or labels apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bedplate.codecs.columns import Raw
from bedplate.codecs.files import natural
from bedplate.core.errors import DataError, listing
from bedplate.data.official import balance
from bedplate.data.tables import RawTable

LISTS = "[]"
"""In a separator's place: every cell is a JSON list."""

SEPARATORS = ("|", ";", ",")
"""What stands between two labels, the first of them that occurs where the recipe names none."""

NO_LABEL = "(none)"
"""How a row without labels is called where a row has one name."""


def joined(labels: Sequence[str]) -> str:
    """Return a row's labels as one text, which `apart` takes apart again; equal sets are equal texts."""
    return json.dumps(sorted(set(labels), key=natural), ensure_ascii=False)


def apart(text: str) -> list[str]:
    """Return the labels of `joined`'s text."""
    found: list[str] = json.loads(text)
    return found


def separator_of(cells: Sequence[object]) -> str | None:
    """Return what separates labels in a column's cells; None where they hold JSON lists, or one label at most each.

    They hold lists where most of them do: one that doesn't is at fault, and `read_cell` says so.
    """
    texts = [str(cell).strip() for cell in cells if cell is not None and str(cell).strip()]
    if 2 * sum(text.startswith("[") for text in texts) > len(texts):
        return LISTS
    return next((sign for sign in SEPARATORS if any(sign in text for text in texts)), None)


def read_cell(cell: object, separator: str | None) -> list[str]:
    """Return the labels in a cell; an empty one, or an empty list, has none.

    Args:
        cell: a text, a number, or None.
        separator: what stands between two labels; `LISTS`: the cell is a JSON list; None: it is one label.

    Raises:
        ValueError: it says what was expected.
    """
    text = "" if cell is None or cell != cell else str(cell).strip()
    if not text:
        return []
    if separator == LISTS:
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, list):
            raise ValueError(f"expected a list of labels, as other rows have, received {text[:60]}")
        if not all(isinstance(one, str | int) and not isinstance(one, bool) and str(one).strip() for one in found):
            raise ValueError(f"expected a list of labels (texts), received {text[:60]}")
        return [str(one).strip() for one in found]
    parts = [part.strip() for part in text.split(separator)] if separator else [text]
    return [part for part in parts if part]


TOGETHER = "labels"
"""How several columns of zeros and ones are called when they are one column of labels."""

_THERE = dict.fromkeys(("1", "1.0", "true", "yes"), True) | dict.fromkeys(("0", "0.0", "false", "no", ""), False)


def gathered(table: RawTable, names: Sequence[str]) -> tuple[RawTable, dict[str, str]]:
    """Return a table whose columns of zeros and ones are one column of labels, and the rows at fault with the faults.

    Args:
        table: it has the columns.
        names: of the columns, which are the labels.
    """
    rows: list[list[str]] = [[] for _ in table.ids]
    faults: dict[str, str] = {}
    for name in names:
        for row, cell in enumerate(table.columns[name]):
            text = "" if cell is None or cell != cell else str(cell).strip().casefold()
            if text not in _THERE:
                faults[table.ids[row]] = f"column '{name}': expected 0 or 1, received {str(cell)[:40]}"
            elif _THERE[text]:
                rows[row].append(name)
    columns = {name: values for name, values in table.columns.items() if name not in names}
    cells: list[Raw] = [joined(row) for row in rows]
    return replace(table, columns=columns | {TOGETHER: cells}), faults


def indicators(table: RawTable) -> list[str]:
    """Return the columns that hold zeros and ones alone, both of them."""
    found = []
    for name, cells in table.columns.items():
        texts = {"" if cell is None or cell != cell else str(cell).strip().casefold() for cell in cells} - {""}
        if texts <= set(_THERE) and {_THERE[text] for text in texts} == {True, False}:
            found.append(name)
    return found


def stratum(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """Return for each row its rarest label, object `str` [N]: splitting by it gives every part some of each label.

    Sechidis et al. 2011 ("On the Stratification of Multi-Label Data") split by the rarest label first, too.
    """
    counts = Counter(label for row in rows for label in row)
    return np.array([min(row, key=lambda label: (counts[label], label)) if row else NO_LABEL for row in rows], object)


def label_names(rows: Sequence[Sequence[str]], where: str) -> tuple[str, ...]:
    """Return the labels of the training rows, in order.

    Raises:
        DataError: there is no label, or every row has all of them.
    """
    names = tuple(sorted({label for row in rows for label in row}, key=natural))
    if not names or all(len(set(row)) == len(names) for row in rows):
        raise DataError(
            "there is nothing to tell apart", where=where, expected="labels that some rows have and others don't",
            received=f"every training row has {listing(names)}" if names else "no training row with a label",
            hint="which column holds the labels says data.target",
        )  # fmt: skip
    return names


def as_matrix(rows: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """Return which row has which label, uint8 [rows, labels]; labels that aren't among `names` are left out."""
    places = {name: k for k, name in enumerate(names)}
    found = np.zeros((len(rows), len(names)), np.uint8)
    for k, row in enumerate(rows):
        found[k, [places[label] for label in row if label in places]] = 1
    return found


def check_known(rows: Sequence[Sequence[str]], names: Sequence[str], where: str) -> None:
    """Raise DataError where rows beside the training rows have labels that these lack."""
    unknown = sorted({label for row in rows for label in row} - set(names), key=natural)
    if unknown:
        raise DataError(
            "labels that no training row has", where=where, expected=f"only {listing(names)}",
            received=listing(unknown), hint="give such training rows, or remove the labels from the other splits",
        )  # fmt: skip


def label_balance(targets: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Return how many rows have each label, and how many have none, where some have none."""
    without = int((targets.sum(axis=1) == 0).sum())
    rows, columns = np.nonzero(targets)
    del rows
    return balance(columns, names) | ({NO_LABEL: without} if without else {})
