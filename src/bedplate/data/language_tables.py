"""Read the texts that a table's rows hold as the one text that a language model learns."""

from __future__ import annotations

from pathlib import Path

from bedplate.core.errors import DataError
from bedplate.data.tables import PACKED_SUFFIXES, counted, read_table, unpack
from bedplate.data.text_pool import text_column
from bedplate.recipe.schema import DataSpec

_ALWAYS = (".csv", ".tsv", ".parquet", ".pq", ".ndjson")
_BY_CONTENT = (".jsonl", ".json")
"""These hold rows where they begin as JSON rows do; else they are texts, as any other."""


def is_text_table(path: Path) -> bool:
    """Return whether a file is read as a table's rows: by its name, packed or not; a .json or .jsonl by its content.

    Raises:
        DataError: a packed .json or .jsonl can't be unpacked.
    """
    plain = path.name.lower()
    for suffix in PACKED_SUFFIXES:
        plain = plain.removesuffix(suffix)
    if not path.is_file() or not plain.endswith(_ALWAYS + _BY_CONTENT):
        return False
    return plain.endswith(_ALWAYS) or unpack(path).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def read_rows(path: Path, spec: DataSpec) -> tuple[str, str, str]:
    """Return the texts of a table's column one after the other, the column's name, and what was read in a sentence.

    A line ends behind each text, so that none runs into the next. Empty cells are passed over.

    Args:
        path: a file that `is_text_table`.
        spec: says how it is read; `text.column` names the column, or None for that of the longest texts.

    Raises:
        DataError: it can't be read, has no such column, or none of its cells holds a text.
    """
    table = read_table(path, spec)
    column = text_column(table, None, spec)
    texts = [str(cell) for cell in table.columns[column] if cell is not None and str(cell).strip()]
    if not texts:
        raise DataError(
            f"the column '{column}' holds no text", where=str(path), expected="a text in each row",
            received=f"{counted(len(table))} without one", hint="name another in data.text.column",
        )  # fmt: skip
    said = f"{counted(len(texts), 'text')} of {path.name}'s column '{column}' (data.text.column), one after the other"
    lacking, skipped = len(table) - len(texts), len(table.skipped)
    said += f"; {counted(lacking)} without one" if lacking else ""
    said += f"; {counted(skipped)} left out, the first is {': '.join(table.skipped[0])}" if skipped else ""
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts), column, said
