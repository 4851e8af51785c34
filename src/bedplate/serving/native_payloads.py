"""Find the payloads in a body, whatever form they have: images, rows and tensors; plain, as JSON, or in a form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from bedplate.codecs.codec import STRINGS
from bedplate.codecs.rows import json_rows, read_rows
from bedplate.codecs.series import SeriesCodec
from bedplate.codecs.strings import column_of
from bedplate.codecs.table import TableCodec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import DataError, PayloadError, json_kind
from bedplate.serving.body import parse_json
from bedplate.serving.models import Model
from bedplate.serving.native_forms import Part, read_form
from bedplate.serving.oip_binary import text
from bedplate.serving.problems import Problem, bad_request, from_error
from bedplate.serving.tensors import speaks_of_truths

IMAGE_FIELDS = ("file", "image", "data")
"""The fields of a form that may hold an image where the form has no file."""

JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
"""Content types of a JSON value a line."""
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")


@dataclass(frozen=True)
class Payloads:
    """One request's payloads, a row each, and what makes tensors of some of them."""

    items: Iterable[Any]
    decode: Callable[[Sequence[Any]], Arrays]


def payloads(model: Model, body: bytes, content_type: str) -> Payloads:
    """Return the payloads of a body. Rows of a table are read as they are asked for.

    Raises:
        Problem: 400 for what can't be read, 413 for too many parts of a form, 415 for packed files.
    """
    if not body.strip():
        raise bad_request("the body is empty")
    kind = content_type.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _from_form(model, read_form(body, content_type))
    if model.is_table:
        return Payloads(_rows(model, body, kind), _decoder(model, body))
    if model.bundle.codec.kind in STRINGS and kind == "text/csv":
        return Payloads(_lines(body, column_of(model.bundle.codec)), model.decode)
    if model.bundle.codec.kind in ("series", *STRINGS) and not _is_json(kind, body) and kind not in JSON_LINES:
        return Payloads([body], model.decode)
    if model.is_tensor and kind in JSON_LINES:
        return Payloads(_objects(model, body), model.decode)
    if model.is_tensor:
        try:
            value = _parsed(model, body)
        except Problem:
            if not _are_lines(body):
                raise
            return Payloads(_objects(model, body), model.decode)
        one = (isinstance(value, str) and model.bundle.codec.kind in STRINGS) or (
            isinstance(model.bundle.codec, SeriesCodec) and _are_steps(value, model.bundle.codec)
        )
        return Payloads([value] if one else _list(value), model.decode)
    return _images(model, body, kind)


def _are_lines(body: bytes) -> bool:
    """Whether a body that is no JSON holds objects a line; the reader of lines names the one that is at fault."""
    return b"\n{" in body.strip() and body.lstrip()[:1] == b"{"


def _are_steps(value: Any, codec: SeriesCodec) -> bool:
    """Return whether a JSON value is one past: its steps, each an object of single values, or a list of one a column.

    Of a single column a step may be its value alone. A list that is as short can be no past, where more steps are read.
    """
    if not isinstance(value, list) or not value:
        return False
    if all(isinstance(row, dict) for row in value):
        return not any(isinstance(cell, list | dict) for row in value for cell in row.values())
    columns = len(codec.columns)
    if columns == 1 and not any(isinstance(row, list | dict) for row in value):
        return True
    return (columns > 1 or codec.length > 1) and all(
        isinstance(row, list) and len(row) == columns and not any(isinstance(cell, list | dict) for cell in row)
        for row in value
    )


def _lines(body: bytes, column: str | None) -> Iterator[Any]:
    """Yield a table's rows, each of which holds a text."""
    try:
        for _, row in read_rows(body, name="the body", column=column):
            yield row
    except PayloadError as error:
        raise from_error(error) from error


def _is_json(kind: str, body: bytes) -> bool:
    return kind == "application/json" or kind.endswith("+json") or body.lstrip()[:1] in (b"{", b"[")


def _images(model: Model, body: bytes, kind: str) -> Payloads:
    if not _is_json(kind, body):
        return Payloads([body], model.decode)
    value = _parsed(model, body)
    shape = model.inputs[0].shape
    if isinstance(value, list) and _sizes(value) in (shape, shape[: 2 if shape[2] == 1 else 3]):
        value = [value]  # one image's nested lists; a grey one may leave its channel out
    return Payloads(_list(value), lambda values: model.decode_json(values, "images"))


def _parsed(model: Model, body: bytes) -> Any:
    value = parse_json(body)
    if speaks_of_truths(body):
        model.refuse_truths(value, "the body")
    return value


def _decoder(model: Model, *bodies: bytes) -> Callable[[Sequence[Any]], Arrays]:
    """Return what makes tensors of a table's rows; truth values among them are looked for where there may be any."""
    if not any(map(speaks_of_truths, bodies)):
        return model.decode

    def decode(rows: Sequence[Any]) -> Arrays:
        arrays = model.decode(rows)
        model.refuse_truths(rows, "the body")
        return arrays

    return decode


def _rows(model: Model, body: bytes, kind: str) -> Iterable[Any]:
    if _is_json(kind, body) and kind not in ("text/csv", *JSON_LINES):
        try:
            return _list(parse_json(body))
        except Problem:
            if not _are_lines(body):
                raise
    if body.startswith(_PACKED):
        # A packed file is unpacked without a limit by the reader of files; the header has one.
        raise Problem(415, "packed files aren't read; send the plain rows, or gzip with Content-Encoding: gzip")
    codec = model.bundle.codec
    assert isinstance(codec, TableCodec)
    return _read(body, codec)


def _read(body: bytes, codec: TableCodec) -> Iterator[Any]:
    try:
        for _, row in read_rows(body, name="the body", codec=codec):
            yield row
    except PayloadError as error:
        raise from_error(error) from error


def _objects(model: Model, body: bytes) -> Iterator[Any]:
    """Yield the JSON values of a body that has one a line."""
    truths = speaks_of_truths(body)
    try:
        for line, value in json_rows(body, "the body", None):
            if truths:
                model.refuse_truths(value, f"the body:{line}")
            yield value
    except DataError as error:
        raise from_error(error) from error


def _from_form(model: Model, parts: list[Part]) -> Payloads:
    """Return a form's payloads: its files; without files, an image's field, or all fields as one row."""
    files = [part for part in parts if part.filename is not None]
    if not files and model.bundle.codec.kind == "image":
        files = [part for part in parts if part.name in IMAGE_FIELDS]
    if len(files) == 1:
        return payloads(model, files[0].data, files[0].kind)
    if files and model.is_table:
        items = chain.from_iterable(_rows(model, part.data, part.kind) for part in files)
        return Payloads(items, _decoder(model, *(part.data for part in files)))
    if files:
        return Payloads([part.data for part in files], model.decode)
    if model.bundle.codec.kind == "image":
        raise bad_request(f"the form holds no file; send one, or a field named one of {list(IMAGE_FIELDS)}")
    row: dict[str, Any] = {}
    for part in parts:
        if part.name in row:
            raise bad_request(f"field '{part.name[:100]}' is given twice")
        value = text(part.data, f"field '{part.name[:100]}'")
        row[part.name] = value if model.is_table else parse_json(part.data)
    return Payloads([row], model.decode)


def _list(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise bad_request(f"expected a JSON object or a list, received {json_kind(value)}")
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    """Return the lengths of nested lists, along their first items."""
    sizes: list[int] = []
    while isinstance(value, list) and value and len(sizes) < 8:
        sizes.append(len(value))
        value = value[0]
    return tuple(sizes)
