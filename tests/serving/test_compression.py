"""Replies are compressed where the caller asks for it, and only where it pays."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib

import pytest

from bedplate.serving.compression import choose_encoding, compress
from bedplate.serving.exchange import Reply


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.0, deflate", "deflate"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0, *", "deflate"),
        (";;,,=", None),
    ],
)
def test_what_accept_encoding_allows(accepted: str, chosen: str | None) -> None:
    assert choose_encoding(accepted) == chosen


@pytest.mark.parametrize("size", [5000, 200_000])
@pytest.mark.parametrize(("encoding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_what_is_sent_is_what_was_said(size: int, encoding: str, unpack: object) -> None:
    plain = b"0.25," * (size // 5)
    reply = Reply(plain)
    asyncio.run(compress(reply, encoding))
    assert isinstance(reply.body, bytes)
    assert len(reply.body) < len(plain) / 10
    assert unpack(reply.body) == plain  # type: ignore[operator]
    assert (b"content-encoding", encoding.encode()) in reply.headers
    assert (b"vary", b"accept-encoding") in reply.headers


def test_what_does_not_get_smaller_stays_as_it_is() -> None:
    noise = os.urandom(10_000)
    reply = Reply(noise)
    asyncio.run(compress(reply, "gzip"))
    assert reply.body == noise
    assert b"content-encoding" not in dict(reply.headers)
    packed = Reply(noise, headers=[(b"content-encoding", b"gzip")])
    asyncio.run(compress(packed, "deflate"))
    assert packed.headers == [(b"content-encoding", b"gzip")]
