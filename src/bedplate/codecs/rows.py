"""Rows for prediction from a file or standard input: CSV, JSON lines, or one JSON array, without pyarrow."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bedplate.codecs.codec import TEXT, Payload
from bedplate.codecs.delimited import decode_text, delimiter_of_header, open_delimited
from bedplate.codecs.table import TableCodec
from bedplate.core.errors import DataError, PayloadError, listing

_FOREIGN = (
    (b"PAR1", "Parquet", "write the rows as CSV or JSON lines, as pandas' to_csv does"),
    (b"PK\x03\x04", "Excel, or a zip,", "save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "Excel", "save the sheet as CSV"),
)
"""First bytes of files that people send and that need libraries which predicting does without."""


def check_form(data: bytes, name: str) -> None:
    """Raise PayloadError, which says what to do, where data is of a form that isn't read here."""
    for begin, form, hint in _FOREIGN:
        if data.startswith(begin):
            raise PayloadError(f"{form} isn't read here", where=name, expected="CSV, JSON or JSON lines", hint=hint)


def content_of(source: Path | bytes, name: str | None) -> tuple[bytes, str]:
    """Return a file's bytes (or those given) and what to call them in messages. Raises PayloadError."""
    if not isinstance(source, Path):
        return source, name or "rows"
    name = name or source.name
    try:
        return source.read_bytes(), name
    except OSError as error:
        raise PayloadError("can't be read", where=name, received=error.strerror or str(error)) from error


def read_rows(
    source: Path | bytes, *, name: str | None = None, codec: TableCodec | None = None, column: str | None = None
) -> Iterator[tuple[str, Payload]]:
    """Yield (`name:line`, row) for every row of a file or of its bytes, ready for a table codec's `decode`.

    The form is found from the content: a `[` or `{` opens JSON (an array of objects, one object, or one a line), and
    anything else is delimited text, read by the rules of training. With `codec`, a file without a header is understood
    too: its columns are those of the training file, in that order, with the target or without it. With `column`, which
    holds texts, the first line that names it says what delimits, and not the texts below.

    A row that is no row (a JSON number, a line with too few cells) is yielded as it is, for `decode` to refuse, so that
    the rows around it can be answered.

    Raises:
        PayloadError: there is no such file, or it can't be read as rows at all.
    """
    content, name = content_of(source, name)
    data = unpacked(content, name)
    check_form(data, name)
    is_json = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")
    rows = json_rows(data, name, None) if is_json else _delimited_rows(data, name, codec, column)
    try:
        for line, row in rows:
            yield f"{name}:{line}", row
    except DataError as error:  # at prediction, a file that can't be read is a payload at fault
        hint = "save it as UTF-8" if error.hint and "data.encoding" in error.hint else None
        raise PayloadError(
            error.what, where=error.where, expected=error.expected, received=error.received, hint=hint
        ) from error


def json_rows(data: bytes, name: str, encoding: str | None) -> Iterator[tuple[int, Any]]:
    """Yield (line or place from 1, JSON value) of JSON lines, of one array, or of one object. NaN is taken for null.

    Lines may be lists, too: a first line that is one, where the whole isn't, makes them so.

    Raises:
        DataError: a line is not JSON.
    """
    text = decode_text(data, encoding, name)
    if text.lstrip()[:1] == "[" and not _are_lists(text):
        whole = _parse(text, name, None)
        if not isinstance(whole, list):
            raise DataError("expected a JSON array of objects", where=name)
        yield from enumerate(whole, start=1)
        return
    lines = text.split("\n")
    if text.lstrip()[:1] == "{" and not _is_json(next(line for line in lines if line.strip())):
        yield 1, _parse(text, name, None)  # one object over several lines
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _parse(line, name, number)


def _delimited_rows(
    data: bytes, name: str, codec: TableCodec | None, column: str | None
) -> Iterator[tuple[int, Payload]]:
    reading = codec.reading if codec else {}
    order = codec.order if codec else ()
    by_header = None if column is None else delimiter_of_header(_first_line(data), (column, TEXT))
    opened = open_delimited(
        data,
        name,
        delimiter=_delimiter(data, codec) if column is None else by_header,
        encoding=reading.get("encoding"),
        comment=reading.get("comment"),
        known=order if by_header is None or column is None else (column, TEXT),
    )
    names: Sequence[str] = opened.names
    if codec is not None and not opened.header:
        without = [column for column in order if column != codec.target]
        fitting = [columns for columns in (list(order), without) if len(columns) == len(names)]
        if not fitting:
            raise PayloadError(
                "the first line names no known column, and the number of columns is not the training table's",
                where=name,
                expected=f"{len(order)} columns ({listing(order)}), or one less without the target",
                received=f"{len(names)} columns",
                hint="give the file a header",
            )
        names = fitting[0]
    for line, cells in opened.rows():
        yield line, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else cells


def _delimiter(data: bytes, codec: TableCodec | None) -> str | None:
    """The training file's delimiter where the first line holds it, for files too short to sniff; else None."""
    trained: str | None = codec.reading.get("delimiter") if codec else None
    if codec is None or trained is None:
        return None
    first = data.lstrip().split(b"\n", 1)[0]
    return trained if trained.encode() in first or len(codec.order) <= 2 else None


def _first_line(data: bytes) -> str:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0].decode(errors="replace")


def unpacked(data: bytes, name: str) -> bytes:
    """Return what gzip, bz2 or xz packed, known by its first bytes; others as they are. Raises PayloadError."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:3] == b"BZh":
            return bz2.decompress(data)
        return lzma.decompress(data) if data[:6] == b"\xfd7zXZ\x00" else data
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise PayloadError("the file can't be unpacked", where=name, received=str(error)) from error


def _are_lists(text: str) -> bool:
    """Whether a text that begins with `[` holds a list a line, rather than one array."""
    first, _, others = text.strip().partition("\n")
    return bool(others) and _is_json(first) and not _is_json(text)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _parse(text: str, name: str, line: int | None) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:  # Python's own writer gives NaN and Infinity, which orjson refuses
        return json.loads(text, parse_constant=float)
    except (ValueError, RecursionError) as error:
        where = f"{name}, line {line}" if line else name
        raise DataError("not readable as JSON", where=where, received=str(error)) from error
