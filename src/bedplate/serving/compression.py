"""Compress replies, where the caller asks for it and it is worth the time."""

from __future__ import annotations

import asyncio
import zlib

from bedplate.serving.exchange import Reply

LEAST_BYTES = 4096
"""Shorter replies are sent as they are: they fit into a few packets anyway."""

_IN_THREAD = 64 << 10
_LEVEL = 1  # the quickest; higher levels save few bytes of numbers and cost several times the time


async def compress(reply: Reply, accepted: str) -> None:
    """Compress a reply's body as `Accept-Encoding` says, unless that makes it no smaller."""
    encoding = choose_encoding(accepted)
    if encoding is None or not isinstance(reply.body, bytes):
        return
    if any(name == b"content-encoding" for name, _ in reply.headers):
        return
    plain = reply.body
    if len(plain) > _IN_THREAD:
        packed = await asyncio.get_running_loop().run_in_executor(None, _packed, plain, encoding)
    else:
        packed = _packed(plain, encoding)
    reply.headers.append((b"vary", b"accept-encoding"))
    if len(packed) < len(plain):
        reply.body = packed
        reply.headers.append((b"content-encoding", encoding.encode()))


def choose_encoding(accepted: str) -> str | None:
    """Return gzip or deflate, whichever `Accept-Encoding` allows (gzip where both), or None."""
    allowed: dict[str, bool] = {}
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        allowed[name.strip()] = weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    for encoding in ("gzip", "deflate"):
        if allowed.get(encoding, allowed.get("*", False)):
            return encoding
    return None


def _packed(plain: bytes, encoding: str) -> bytes:
    packer = zlib.compressobj(_LEVEL, wbits=31 if encoding == "gzip" else 15)
    return packer.compress(plain) + packer.flush()
