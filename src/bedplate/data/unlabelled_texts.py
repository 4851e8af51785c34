"""Texts without labels, to pre-train on: a text a line, a table's column, or a folder or archive with a text a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bedplate.codecs.files import is_archive, walk
from bedplate.codecs.strings import checked_text
from bedplate.core.errors import DataError, InputError, PayloadError
from bedplate.data.download import Announce
from bedplate.data.official import refuse
from bedplate.data.tables import PACKED_SUFFIXES, counted, locate, read_table, unpack
from bedplate.data.text_pool import text_column
from bedplate.recipe.schema import DataSpec

TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
"""Names' ends, without what packs them, of files that are read as tables; all others hold a text a line."""

ENDINGS = (".txt", ".text", ".md")
"""How files with one text each are called, in a folder or an archive."""

Found = tuple[str, str | bytes, str | None]
"""Where a text lies, the text or its bytes, and why it can't be had, if so."""


def read_unlabelled_texts(
    source: str, column: str, spec: DataSpec, *, base: Path, announce: Announce
) -> tuple[np.ndarray, list[str]]:
    """Return the texts at `source`, object `str` [N] in the file's order, and notes on what was left out.

    Empty lines are passed over; of a table, `column` counts if it is there, else the recipe's or the longest one, and
    its target is not read.

    Args:
        source: a path, with `~` and `$NAME` expanded; relative ones start from `base`.
        column: what the texts are called in the training data.
        spec: the recipe's `data`, for `on_bad_row` and for how a table is read.
        base: the folder that relative paths start from.
        announce: told what is read.

    Raises:
        DataError: the source can't be read, holds no texts, or has bad ones that are not to be skipped.
    """
    path = locate(source, base)
    if not path.is_dir() and _is_table(path, spec, base):
        found = _cells(path, column, spec)
    else:
        found = _files(path) if path.is_dir() or is_archive(path) else _lines(path)
    texts: list[str] = []
    bad: dict[str, str] = {}
    notes: list[str] = []
    for place, payload, fault in found:
        try:
            texts.append(checked_text(payload))
        except PayloadError as error:
            bad[place] = fault or error.message
    refuse(bad, spec, path.name, notes, "text")
    if not texts:
        raise DataError("no texts without labels", where=str(path), expected="one or more")
    announce(f"{counted(len(texts), 'text')} without labels in {path.name}")
    return np.array(texts, object), notes


def _is_table(path: Path, spec: DataSpec, base: Path) -> bool:
    """Whether a file is a table: by its name, or since the labelled rows were read from it as one."""
    suffix = next((one for one in reversed(path.suffixes) if one.lower() not in PACKED_SUFFIXES), "").lower()
    given = [spec.source] if spec.files is None else list(spec.files.model_dump().values())
    labelled = [base / Path(os.path.expandvars(one)).expanduser() for one in given if one and spec.target]
    return suffix in TABLES or path.resolve() in [one.resolve() for one in labelled]


def _lines(path: Path) -> Iterator[Found]:
    """Yield each line that isn't empty; a line ends at a line feed alone, since texts may hold other line breaks."""
    data = unpack(path).removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise DataError("the file is empty", where=str(path), expected="a text a line")
    if b"\0" in data:
        raise DataError(
            "this is no plain text", where=str(path), expected="UTF-8, a text a line",
            received=f"a NUL at byte {data.index(0)}", hint="UTF-16 and binary files aren't read: save it as UTF-8",
        )  # fmt: skip
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield f"{path.name}:{number}", line.strip(), None


def _cells(path: Path, column: str, spec: DataSpec) -> Iterator[Found]:
    table = read_table(path, spec)
    name = column if column in table.columns else text_column(table, spec.target or "", spec)
    for place, value in zip(table.ids, table.columns[name], strict=True):
        yield place, "" if value is None else str(value), None


def _files(path: Path) -> Iterator[Found]:
    try:
        members = [member for member in walk(path) if member.name.lower().endswith(ENDINGS)]
    except InputError as error:
        raise DataError(error.what, where=error.where, received=error.received, hint=error.hint) from error
    if not members:
        raise DataError("no texts in it", where=str(path), expected=f"files ending in {', '.join(ENDINGS)}")
    for member in members:
        yield f"{path.name}/{member.name}", member.data, member.fault
