"""Recognise texts: folders and archives of them by class, and the column of a table that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bedplate.codecs.columns import Raw
from bedplate.codecs.files import is_archive, walk
from bedplate.core.errors import DataError, InputError, listing
from bedplate.data.layout import IMAGE_SUFFIXES
from bedplate.data.schema import count_words, infer_column
from bedplate.data.tables import RawTable
from bedplate.data.targets import guess_target

_SUFFIXES = {".txt", ".text", ".md", ""}
_ENOUGH = 20
"""So many files are looked at."""

WORDS = 4
"""So many words, on average, make a column of texts: names and addresses have fewer."""

SEVERAL = 1.5
"""So many words, on average, are more than a name or an identifier: a title, at least."""


def holds_texts(where: Path) -> bool:
    """Whether a folder or archive holds text files: UTF-8, and called so."""
    if not (where.is_dir() or is_archive(where)):
        return False
    seen = texts = 0
    try:
        for member in walk(where):
            suffix = PurePosixPath(member.name).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                return False
            seen += 1
            texts += suffix in _SUFFIXES and "/" in member.name and _is_utf8(member.data)
            if seen >= _ENOUGH:
                break
    except InputError:
        return False
    return texts > seen / 2


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return bool(data.strip())


def text_column_of(table: RawTable, target: str) -> tuple[str, str] | None:
    """Return the column of texts and why it is taken for one, where a table has one and nothing else to learn from."""
    texts: list[tuple[float, str]] = []
    for name, values in table.columns.items():
        if name == target:
            continue
        words = _words_where_text(name, values)
        if words >= WORDS:
            texts.append((words, name))
        elif infer_column(name, values).type not in ("identifier", "ignore", "text"):
            return None  # numbers and categories tell something, too: it is a table
    if not texts:
        return None
    words, name = max(texts)
    return (
        name,
        f"'{name}' holds texts of {words:.0f} words on average, and no column of numbers or categories is there",
    )


def _other_texts(table: RawTable, *read: str) -> list[str]:
    """Return the columns beside those that are `read` whose cells are of several words each: texts, titles, names."""
    return [
        name
        for name, values in table.columns.items()
        if name not in read and _words_where_text(name, values) >= SEVERAL
    ]


def long_texts(table: RawTable, target: str) -> list[str]:
    """Return the columns beside the target that text classification would read."""
    return [
        name for name, values in table.columns.items() if name != target and _words_where_text(name, values) >= WORDS
    ]


def _words_where_text(name: str, values: Sequence[Raw]) -> float:
    """Return how many words a column's cells have on average; 0 where they are no texts, or seldom distinct."""
    known = [str(value) for value in values if value is not None and str(value).strip()]
    if len(set(known)) <= len(known) / 2 or infer_column(name, values).type not in ("text", "category", "identifier"):
        return 0.0
    return float(np.mean([count_words(text) for text in known[:2000]]))


def guess_column(table: RawTable, headless: bool, vectors: bool) -> tuple[str, str]:
    """Return the column to predict, and why.

    Args:
        table: the training rows.
        headless: whether its columns' names were made up.
        vectors: whether the labels are there to judge vectors by.

    Raises:
        DataError: no column can be one; of texts, what can be done without is said.
    """
    try:
        return guess_target(table.columns, header=not headless)
    except DataError as error:
        hint = error.hint
        if vectors:
            hint = "vectors are judged by a column of classes, whose texts belong together: add one, or " + str(hint)
        elif long_texts(table, ""):
            hint = (
                f"{hint}; classes of texts need a column of their own, and --task language-modelling learns the texts "
                "alone, to go on with them"
            )
        raise DataError(
            error.what, where=table.name, expected=error.expected, received=error.received, hint=hint
        ) from None


def tell_unread(table: RawTable, read: Sequence[str], reasons: list[str]) -> None:
    """Add a note on texts in columns beside those that are `read`, where there are any."""
    if others := _other_texts(table, *read):
        reasons.append(
            f"note: {listing(others)} hold{'s' if len(others) == 1 else ''} texts, too, which aren't read: choose the "
            "column with data.text.column, or join them into one column of the table"
        )


def check_task(wanted: str | None, found: str) -> None:
    """Raise InputError where the data allows another task only."""
    if wanted is not None and wanted != found:
        raise InputError(
            "the data doesn't go with this task", where="--task", expected=found, received=wanted,
            hint="another --target may; or leave --task out",
        )  # fmt: skip
