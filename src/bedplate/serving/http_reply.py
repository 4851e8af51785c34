"""Replies as HTTP/1.1 writes them: https://www.rfc-editor.org/rfc/rfc9112."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def head(status: int, headers: Sequence[tuple[bytes, bytes]], length: int | None, *, keep: bool, old: bool) -> bytes:
    """Return a reply's head.

    Args:
        status: the reply's status.
        headers: all but those that frame the reply.
        length: the bytes of its body; None where it comes in parts.
        keep: whether the connection is kept for another request.
        old: whether the caller speaks HTTP/1.0, which knows no chunks and keeps connections only where told.
    """
    lines = [STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    if length is not None:
        if status >= 200 and status != 204:
            lines.append(b"content-length: %d\r\n" % length)
    elif not old:
        lines.append(b"transfer-encoding: chunked\r\n")
    if not keep:
        lines.append(b"connection: close\r\n")
    elif old:
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(part: bytes) -> bytes:
    """Return one part of a body that is sent in chunks."""
    return b"%x\r\n%b\r\n" % (len(part), part)
