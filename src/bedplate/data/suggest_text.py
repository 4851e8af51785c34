"""Recognise texts: folders and archives of them by class, and the column of a table that holds them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from bedplate.codecs.files import is_archive, walk
from bedplate.core.errors import InputError
from bedplate.data.layout import IMAGE_SUFFIXES
from bedplate.data.schema import infer_column
from bedplate.data.tables import RawTable

_SUFFIXES = {".txt", ".text", ".md", ""}
_ENOUGH = 20
"""So many files are looked at."""

WORDS = 4
"""So many words, on average, make a column of texts: names and addresses have fewer."""


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
        known = [str(value) for value in values if value is not None and str(value).strip()]
        kind = infer_column(name, values).type
        words = float(np.mean([len(text.split()) for text in known[:2000]])) if known else 0.0
        distinct = len(set(known)) > len(known) / 2
        if kind in ("text", "category", "identifier") and words >= WORDS and distinct:
            texts.append((words, name))
        elif kind not in ("identifier", "ignore", "text"):
            return None  # numbers and categories tell something, too: it is a table
    if not texts:
        return None
    words, name = max(texts)
    return name, f"'{name}' holds texts of {words:.0f} words on average, and there is nothing else to learn from"


def check_task(wanted: str | None, found: str) -> None:
    """Raise InputError where the data allows another task only."""
    if wanted is not None and wanted != found:
        raise InputError(
            "the data doesn't go with this task", where="--task", expected=found, received=wanted,
            hint="another --target may; or leave --task out",
        )  # fmt: skip
