"""Forms (multipart/form-data): the files and fields of one body, in memory and within limits."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from bedplate.serving.problems import Problem, bad_request

# It warns of every form that isn't one: the caller is told that, and a log that callers can fill helps nobody.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

MOST_PARTS = 1000
"""Files and fields of one form."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file or field of a form; `filename` is None for a field."""

    name: str
    filename: str | None
    kind: str
    data: bytes


class _Collector:
    """What the parser tells, gathered part by part."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.finished = False
        self._field, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise Problem(413, f"the form has more than {MOST_PARTS:,} files and fields; send several requests")
        self._headers, self._data = {}, bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise bad_request(f"part {len(self.parts) + 1} of the form has no name")
        filename = options.get(b"filename")
        self.parts.append(
            Part(
                options[b"name"].decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
                self._headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1"),
                bytes(self._data),
            )
        )

    def finish(self) -> None:
        self.finished = True


def read_form(body: bytes, content_type: str) -> list[Part]:
    """Return the parts of a form, in order; a file that wasn't chosen (no name, no content) is left out.

    Args:
        body: the whole body.
        content_type: the header's whole value; it says by what the parts are parted.

    Raises:
        Problem: 400 where it is no such form or ends early, 413 for too many parts.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise bad_request("multipart/form-data: Content-Type names no boundary")
    found = _Collector()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": found.begin,
                "on_header_field": found.header_field,
                "on_header_value": found.header_value,
                "on_header_end": found.header_end,
                "on_part_data": found.data,
                "on_part_end": found.end,
                "on_end": found.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise bad_request(f"multipart/form-data: {str(error)[:200]}") from error
    if not found.finished:
        raise bad_request("multipart/form-data: the form ends early")
    return [part for part in found.parts if part.filename != "" or part.data]
