"""What `bedplate predict` is given: files, folders, tables of texts, or a text on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from bedplate.codecs.codec import Payload
from bedplate.codecs.files import is_junk
from bedplate.core.errors import InputError, PayloadError

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_PACKED = (".gz", ".bz2", ".xz")


def the_text(arguments: argparse.Namespace) -> Iterator[tuple[str, Payload]]:
    """Yield ("--text", text) for each that is given. Raises InputError where files are named, too."""
    if arguments.inputs:
        raise InputError("either --text or files", received=" ".join(arguments.inputs))
    alone = len(arguments.text) == 1
    yield from ((("--text" if alone else f"--text {number}"), text) for number, text in enumerate(arguments.text, 1))


def files_of(path: Path) -> list[Path]:
    """Return the files of a folder, in order, or the file itself. Raises PayloadError where none can be read."""
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls") and path.is_file():
        raise PayloadError("Excel files aren't read", where=str(path), hint="save the sheet as CSV")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not is_junk(file.relative_to(path).parts))
    if not files:
        raise PayloadError("the folder holds no files", where=str(path), expected="files to predict")
    return files


def is_table(path: Path) -> bool:
    """Whether a file is named like a table, packed or not."""
    name = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return name.name.lower().endswith(_TABLES)
