"""Read a table from a file: CSV and its kin, Parquet or JSON lines, compressed or not, into raw columns and row ids."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.codecs.columns import Raw
from bedplate.codecs.delimited import Delimited, open_delimited
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.recipe.schema import DataSpec

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".test", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
_MOST_BYTES = 16 << 30
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How files of Excel begin that are no zip."""


@dataclass
class RawTable:
    """A table as it was read: columns of raw values (lists of equal length), and where each row came from.

    `skipped` are rows left out under `on_bad_row: skip`: (row id, why). `reading` says how a delimited file was read.
    """

    name: str
    columns: dict[str, list[Raw]]
    ids: list[str]
    notes: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Sequence[int]) -> RawTable:
        """Return the rows at `index`."""
        columns = {name: [values[i] for i in index] for name, values in self.columns.items()}
        return RawTable(
            self.name, columns, [self.ids[i] for i in index], self.notes, self.skipped, self.reading, self.repeated
        )


def counted(times: int, noun: str = "row") -> str:
    """Return "1 row", "2,000 rows"."""
    return f"{times:,} {noun}{'' if times == 1 else 's'}"


def locate(text: str, base: Path) -> Path:
    """Return the path that a recipe writes: `~` and `$NAME` expanded, relative to `base`.

    Raises:
        DataError: a variable isn't set, or there is nothing at the path (it names the nearest neighbour).
    """
    expanded = str(Path(os.path.expandvars(text)).expanduser())
    unset = re.search(r"\$\{?(\w+)\}?", expanded)
    if unset and not (base / expanded).exists():
        raise DataError(
            f"the variable ${unset[1]} is not set",
            where=f"data: {text}",
            hint=f"set it to the folder that holds the data, for instance: export {unset[1]}=/path/to/data",
        )
    path = base / expanded  # an absolute path stays what it is
    if not path.exists():
        neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            "no such file or folder",
            where=str(path),
            hint=did_you_mean(path.name, neighbours)
            or (f"relative paths start at {base}" if not Path(expanded).is_absolute() else None),
        )
    return path


def read_table(path: Path, spec: DataSpec) -> RawTable:
    """Read the table at `path` as `spec` says (names, delimiter, encoding, comment, on_bad_row).

    Raises:
        DataError: it can't be read as a table, is empty, or has ragged rows (unless they are to be skipped).
    """
    name = path.name
    suffix = next((s for s in reversed(path.suffixes) if s.lower() not in PACKED_SUFFIXES), "").lower()
    data = unpack(path)
    if not data.strip():
        raise DataError("the file is empty", where=str(path), expected="a header and rows")
    if data[:4] == b"PAR1" or suffix in {".parquet", ".pq"}:
        table = _read_parquet(data, name)
    elif suffix in {".jsonl", ".ndjson", ".json"}:
        table = _read_json(data, name, spec)
    else:
        table = _read_delimited(data, name, spec)
    if not len(table):
        raise DataError(
            "the table has no rows",
            where=str(path),
            received=f"columns {listing(table.columns)} and nothing below them",
        )
    return table


def unpack(path: Path) -> bytes:
    """Return a file's bytes, unpacked where it is gzip, bzip2, xz, or a zip that holds one table."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:3] == b"BZh":
            return bz2.decompress(data)
        if data[:6] == b"\xfd7zXZ\x00":
            return lzma.decompress(data)
        if data[:4] == b"PK\x03\x04":
            return _unzip(data, path)
        if data[:8] == _OLD_OFFICE and path.suffix.lower() == ".xls":
            raise _excel(path)
    except (
        OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError,
    ) as error:  # fmt: skip
        raise DataError(
            "the file can't be read", where=str(path), received=str(error) or type(error).__name__
        ) from error
    return data


def _excel(path: Path) -> DataError:
    return DataError(
        "Excel files aren't read", where=str(path), expected="CSV, Parquet or JSON lines", hint="save the sheet as CSV"
    )


def _unzip(data: bytes, path: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.filename.startswith("xl/") for entry in archive.infolist()):
            raise _excel(path)
        inside = [
            entry
            for entry in archive.infolist()
            if not entry.is_dir() and not entry.filename.startswith(("__MACOSX/", "."))
        ]
        tables = [entry for entry in inside if Path(entry.filename).suffix.lower() in TABLE_SUFFIXES]
        if len(tables) != 1:
            raise DataError(
                "a zip file is read as a table when it holds exactly one",
                where=str(path),
                expected=f"one file ending in {listing(TABLE_SUFFIXES)}",
                received=listing(entry.filename for entry in (tables or inside)) or "nothing",
                hint="unpack it and name the table, or name its parts in data.files",
            )
        if tables[0].flag_bits & 1:
            raise DataError(
                "the zip is encrypted",
                where=str(path),
                received=tables[0].filename,
                hint="unpack it and name the table",
            )
        if tables[0].file_size > _MOST_BYTES:
            raise DataError(
                "the table in the zip is too large", where=str(path), received=f"{tables[0].file_size} bytes"
            )
        return archive.read(tables[0])


def _read_delimited(data: bytes, name: str, spec: DataSpec) -> RawTable:
    opened = open_delimited(
        data, name, delimiter=spec.delimiter, encoding=spec.encoding, comment=spec.comment, names=spec.names
    )
    rows: list[list[str]] = []
    ids: list[str] = []
    skipped: list[tuple[str, str]] = []
    width = len(opened.names)
    for line, cells in opened.rows():
        if len(cells) != width:
            why = f"{len(cells)} value{'' if len(cells) == 1 else 's'} instead of {width}"
            if spec.on_bad_row == "error":
                raise _ragged(opened, name, line, cells)
            skipped.append((f"{name}:{line}", why))
            continue
        rows.append(cells)
        ids.append(f"{name}:{line}")
    columns: dict[str, list[Raw]] = (
        dict(zip(opened.names, map(list, zip(*rows, strict=True)), strict=True))
        if rows
        else {column: [] for column in opened.names}
    )
    if not rows and skipped:
        raise DataError(
            "every row was skipped", where=name, received=f"{counted(len(skipped))}, the first with {skipped[0][1]}"
        )
    reading = {
        "delimiter": opened.delimiter,
        "encoding": spec.encoding,
        "comment": spec.comment,
        "header": opened.header,
    }
    return RawTable(name, columns, ids, list(opened.notes), skipped, reading, opened.renamed)


def _ragged(opened: Delimited, name: str, line: int, cells: Sequence[str]) -> DataError:
    shown = opened.delimiter.join(cells)
    return DataError(
        "the row has another number of values than the table has columns",
        where=f"{name}, line {line}",
        expected=f"{len(opened.names)} values",
        received=f"{len(cells)}: {shown[:80]}{'…' if len(shown) > 80 else ''}",
        hint="mend the line, or leave such rows out with data.on_bad_row: skip"
        + ("" if len(cells) > 1 else "; if the delimiter is wrong, set data.delimiter"),
    )


def _read_parquet(data: bytes, name: str) -> RawTable:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError("not a readable Parquet file", where=name, received=str(error).splitlines()[0]) from error
    if len(set(table.column_names)) != len(table.column_names):
        raise DataError("two columns have the same name", where=name, received=listing(table.column_names))
    columns = {column: raw_values(table.column(column)) for column in table.column_names}
    columns = {column: values for column, values in columns.items() if not is_pandas_index(column)}
    return RawTable(name, columns, [f"{name}:{row}" for row in range(1, table.num_rows + 1)])


def is_pandas_index(column: str) -> bool:
    """Whether pandas stored its index under this name; it is no data of the user's."""
    return re.fullmatch(r"__index_level_\d+__", column) is not None


def raw_values(column: Any) -> list[Raw]:
    """Return an Arrow column as raw values: dates as ISO texts, decimals as floats, bytes as texts."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pyarrow.types.is_decimal(kind):
        column = column.cast(pyarrow.float64())
    values: list[Raw] = column.to_pylist()
    if pyarrow.types.is_temporal(kind) and not pyarrow.types.is_duration(kind):
        return [None if value is None else value.isoformat() for value in values]
    if pyarrow.types.is_duration(kind):
        return [None if value is None else value.total_seconds() for value in values]
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return [None if value is None else value.decode("utf-8", "replace") for value in values]
    return [_scalar(value) for value in values] if pyarrow.types.is_nested(kind) else values


def _read_json(data: bytes, name: str, spec: DataSpec) -> RawTable:
    from bedplate.codecs.rows import json_rows

    rows: list[dict[str, Any]] = []
    ids: list[str] = []
    skipped: list[tuple[str, str]] = []
    for line, row in json_rows(data, name, spec.encoding):
        if not isinstance(row, dict):
            if spec.on_bad_row == "error":
                raise DataError(
                    "a row must be a JSON object",
                    where=f"{name}, line {line}",
                    expected='{"column": value, …}',
                    received=str(row)[:80],
                    hint="mend the line, or leave such rows out with data.on_bad_row: skip",
                )
            skipped.append((f"{name}:{line}", "not a JSON object"))
            continue
        rows.append(row)
        ids.append(f"{name}:{line}")
    names = list(dict.fromkeys(str(column) for row in rows for column in row))
    columns: dict[str, list[Raw]] = {column: [_scalar(row.get(column)) for row in rows] for column in names}
    sparse = [column for column in names if any(column not in row for row in rows)]
    notes = [f"columns that not every row has count as missing there: {listing(sparse)}"] if sparse else []
    return RawTable(name, columns, ids, notes, skipped)


def _scalar(value: Any) -> Raw:
    """Lists and objects become their JSON text, so that the column is seen, and set aside, as text."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value
