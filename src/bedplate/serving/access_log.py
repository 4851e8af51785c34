"""One line of JSON for each request, tied to the caller's trace.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.web import Guard

log = logging.getLogger("bedplate.serving")

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

MOST_WAITING = 10_000
"""Lines that may wait to be written; more are counted and left out, so that a full disk stops no request."""


class AccessLog(Guard):
    """Write a line a request: time, request id, trace, client, whose token, method, path, status, bytes, ms.

    A request with a `traceparent` is answered with one of the same trace and a span of this server's own; without one,
    a trace begins here. Lines are written by a thread of their own.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self.lost = 0
        self._thread = threading.Thread(target=self._write, name="bedplate-access-log", daemon=True)
        self._thread.start()

    def finish(self, ask: Ask, reply: Reply, seconds: float) -> None:
        """Note a request, and tie the reply to its trace."""
        trace, parent, flags = trace_of(ask.headers.get("traceparent"))
        span = os.urandom(8).hex()
        reply.headers.append((b"traceparent", f"00-{trace}-{span}-{flags}".encode()))
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": ask.request_id,
            "trace_id": trace,
            "span_id": span,
            "parent_id": parent or None,
            "client": ask.client,
            "user": ask.user or None,
            "method": ask.method[:20],
            "path": ask.path[:500],
            "status": reply.status,
            "bytes_in": len(ask.body),
            "bytes_out": len(reply.body) if isinstance(reply.body, bytes) else None,
            "ms": round(seconds * 1e3, 3),
        }
        try:
            self._lines.put_nowait(orjson.dumps(line))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write what waits."""
        self._lines.put(None)
        self._thread.join(timeout=10)
        if self.lost:
            log.warning("%d lines of the access log couldn't be written", self.lost)

    async def finished(self) -> None:
        """Write what waits, off the event loop."""
        await asyncio.to_thread(self.close)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line.decode() + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # a full disk, a closed pipe
                self.lost += 1


def trace_of(header: str) -> tuple[str, str, str]:
    """Return (trace id, parent's span id, flags) of a `traceparent`; a new trace where there is none or a bad one."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None or (header.startswith("00-") and found[4]):
        return os.urandom(16).hex(), "", "00"
    return found[1], found[2], found[3]
