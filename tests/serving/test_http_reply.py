from __future__ import annotations

import pytest

from bedplate.serving.http_reply import chunk, head

TYPE = (b"content-type", b"text/plain")


@pytest.mark.parametrize(
    ("status", "length", "keep", "old", "expected"),
    [
        (200, 3, True, False, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\n"),
        (404, 0, False, False, b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        (200, None, True, False, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"),
        (200, None, False, True, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"),
        (200, 3, True, True, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n"),
        (204, 0, True, False, b"HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n"),
        (499, 0, True, False, b"HTTP/1.1 499 \r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n"),
    ],
)  # fmt: skip
def test_a_head_says_how_its_body_ends(status: int, length: int | None, keep: bool, old: bool, expected: bytes) -> None:
    assert head(status, [TYPE], length, keep=keep, old=old) == expected


def test_a_chunk_says_how_long_it_is() -> None:
    assert chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
