"""Read a request's body within limits, and its JSON without surprises."""

from __future__ import annotations

import re
import zlib
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from bedplate.serving.problems import Problem, bad_request

MOST_BYTES = 64 << 20
"""The largest body, as sent and as unpacked."""


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body is too large: at most {most:,} bytes, as sent and unpacked")


async def read_body(request: Request, most: int = MOST_BYTES) -> bytes:
    """Return the whole body, unpacked where it is gzip or deflate. Raises Problem 400, 413 or 415."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
    except ClientDisconnect as error:
        raise bad_request("the request ended early") from error
    return _unpacked(b"".join(parts), request.headers.get("content-encoding", "identity").strip().lower(), most)


def _unpacked(data: bytes, encoding: str, most: int) -> bytes:
    if encoding in ("", "identity"):
        return data
    if encoding not in ("gzip", "deflate"):
        raise Problem(415, f"content encoding '{encoding[:40]}' isn't known; use gzip, deflate or none")
    unpacker = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
    try:
        plain = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise bad_request(f"the body isn't {encoding}: {error}") from error
    if len(plain) > most:
        raise _too_large(most)
    if not unpacker.eof:
        raise bad_request(f"the {encoding} body ends early")
    return plain


def parse_json(data: bytes) -> Any:
    """Return the JSON value of a body; NaN, infinity, nesting beyond 1,024 levels and junk are a Problem 400."""
    if not data.strip():
        raise bad_request("JSON Parse error: The document is empty")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if re.search(rb"[\[:,\s]-?(NaN|Infinity)\b", data):
            raise bad_request(
                "JSON Parse error: NaN and Infinity are no JSON; give null for a missing number"
            ) from error
        raise bad_request(f"JSON Parse error: {error}") from error


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a body."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise bad_request(f"JSON Parse error: expected an object, received {json_kind(value)}")
    return value


def json_kind(value: Any) -> str:
    """Return what JSON calls a value's type."""
    if value is None:
        return "null"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)
