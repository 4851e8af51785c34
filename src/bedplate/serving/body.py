"""Read a request's body within limits, and its JSON without surprises."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from bedplate.core.errors import json_kind
from bedplate.serving.problems import Problem, bad_request

MOST_BYTES = 64 << 20
"""The largest body by default, as sent and as unpacked."""


@dataclass(frozen=True)
class Limits:
    """What one request may cost: bytes of its body (as sent and unpacked) and of its head, seconds to send either.

    `all_bytes` is what the bodies of all requests in hand may take together, in one process; 0 means sixteen of the
    largest.
    """

    body_bytes: int = MOST_BYTES
    all_bytes: int = 0
    head_bytes: int = 64 << 10
    head_seconds: float = 20.0
    body_seconds: float = 60.0


class Room:
    """What the bodies in hand take together."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.held, self.most = 0, most


class Share:
    """What one request takes of the room, until `release`."""

    __slots__ = ("_bytes", "_room")

    def __init__(self, room: Room) -> None:
        self._room, self._bytes = room, 0

    def add(self, size: int) -> None:
        """Take more. Raises Problem 503 where there is no room for it."""
        if self._room.held + size > self._room.most:
            raise Problem(
                503, f"the requests in hand take {self._room.held:,} bytes already; come back later", retry_after=1
            )
        self._room.held += size
        self._bytes += size

    def release(self) -> None:
        """Give all back."""
        self._room.held -= self._bytes
        self._bytes = 0


def too_large(most: int) -> Problem:
    """Return what a body of more bytes is answered."""
    return Problem(413, f"the body is too large: at most {most:,} bytes, as sent and unpacked")


class Incoming:
    """A body on its way. One that comes in one part is kept as it is; what comes in many costs its bytes alone."""

    __slots__ = ("_limits", "_parts", "_share")

    def __init__(self, limits: Limits, room: Room) -> None:
        self._limits, self._share = limits, Share(room)
        self._parts: bytes | bytearray = b""

    def add(self, part: bytes) -> None:
        """Take a part. Raises Problem 413 where the body is too large, 503 where there is no room for it."""
        if not self._parts:
            self._parts = part
        else:
            if isinstance(self._parts, bytes):
                self._share.add(len(self._parts))
                self._parts = bytearray(self._parts)
            self._share.add(len(part))
            self._parts += part
        if len(self._parts) > self._limits.body_bytes:
            raise too_large(self._limits.body_bytes)

    def whole(self, encoding: str) -> bytes:
        """Return the body, unpacked where it is gzip or deflate. Raises Problem 400, 413, 415 or 503."""
        if not encoding:
            return bytes(self._parts)
        plain = _unpacked(bytes(self._parts), encoding.strip().lower(), self._limits.body_bytes)
        self._share.add(len(plain))
        return plain

    def release(self) -> None:
        """Give its room back: the request was answered."""
        self._share.release()


def check_length(said: str, limits: Limits) -> None:
    """Raise Problem 413 where a `Content-Length` says already that the body is too large."""
    if said.isdigit() and int(said) > limits.body_bytes:
        raise too_large(limits.body_bytes)


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
        raise too_large(most)
    if not unpacker.eof:
        raise bad_request(f"the {encoding} body ends early")
    if unpacker.unused_data:
        raise bad_request(f"{len(unpacker.unused_data)} bytes follow the {encoding} body; pack it as one part")
    return plain


def parse_json(data: bytes) -> Any:
    """Return the JSON value of a body; NaN, infinity, nesting beyond 1,024 levels and junk are a Problem 400."""
    if not data.strip():
        raise bad_request("JSON Parse error: The document is empty")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            data.decode()
        except UnicodeDecodeError as wrong:
            raise bad_request(
                f"JSON Parse error: the body isn't UTF-8, so no JSON ({wrong.reason} at {wrong.start})"
            ) from error
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
