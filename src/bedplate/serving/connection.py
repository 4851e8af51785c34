"""One HTTP/1.1 connection: uvicorn's on httptools, with limits on what it may cost while nothing useful comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bedplate.serving.body import Limits

LINGER = 1.0
"""Seconds for which an idle connection is kept while the server stops: its next request may be on its way already."""


MOST_CONNECTIONS = 20_000
"""The most connections of a process, where it may have so many open files."""

_OTHER_FILES = 128
"""Files that loading a model, saving a state, answering over gRPC and accepting may need beside the connections."""


def most_connections() -> int:
    """Return how many connections this process can hold; its limit of open files is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    try:
        used = len(list(Path("/dev/fd").iterdir()))
    except OSError:
        used = _OTHER_FILES
    most = MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else soft - used - _OTHER_FILES
    return max(8, min(most, MOST_CONNECTIONS))


class HeadJoiner:
    """A transport that holds a reply's head back until its body comes, so that both go out in one system call.

    A head that is followed by nothing goes out at the loop's next turn. Writing is a quarter of what a small model's
    request costs; uvicorn writes twice.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or hold back what begins a reply."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close behind what was written."""
        self._flush()
        self._transport.close()

    def forget(self) -> None:
        """Take apart what asyncio's transport holds of itself, when it is closed."""
        getattr(self._transport, "__dict__", {}).pop("_read_ready_cb", None)

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, closed where a head is too large or too slow, or where a reply isn't taken.

    Where there are too many, the one goes that has been without a whole request the longest: so thousands that only
    hold a place keep nobody out.
    """

    limits = Limits()
    most = MOST_CONNECTIONS
    idle: dict[Connection, None]
    ending = False
    """Whether the server stops: set on the class, for connections that were accepted before and begin only now."""

    _stalled: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _begun = False
    _alarm: asyncio.TimerHandle | None = None
    _leaving = False
    _half_closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.transport = HeadJoiner(transport, self.loop)  # type: ignore[assignment]
        self.idle[self] = None
        if len(self.connections) > self.most:
            oldest = next(iter(self.idle))
            self.idle.pop(oldest)
            oldest.transport.close()
        self._alarm = self.loop.call_later(self.limits.head_seconds, self._too_slow)
        if self.ending:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._disarm()
        self.idle.pop(self, None)
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)
        # The request refers to this connection, and asyncio's transport to itself. Such cycles wait for the collector,
        # which seldom runs here: 12 MB of ended connections would lie about.
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle = None  # type: ignore[assignment]
        joiner: Any = self.transport
        joiner.forget()

    def pause_writing(self) -> None:
        """Note that the caller doesn't take its reply."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch_writing(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self.limits.body_seconds, self._if_stalled, left)

    def _if_stalled(self, before: int) -> None:
        """Hang up where nothing of a reply was taken for so long: it holds memory, and perhaps a model."""
        self._stalled = None
        if self.transport.get_write_buffer_size() < before:
            self._watch_writing()
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read, and look whether a head is still open behind it."""
        super().data_received(data)
        if not self._in_head:
            if self._alarm is not None:
                self._disarm()
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes:
            self._refuse(431, f"the request's head is too large: at most {self.limits.head_bytes:,} bytes")
        elif self._alarm is None:
            self._alarm = self.loop.call_later(self.limits.head_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._begun, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head has ended, and refuse it where it is too large."""
        self._in_head = False
        self.idle.pop(self, None)
        if len(self.headers) > 64 and sum(len(n) + len(v) + 4 for n, v in self.headers) > self.limits.head_bytes:
            self._refuse(431, f"the request's head is too large: at most {self.limits.head_bytes:,} bytes")
            return
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def eof_received(self) -> bool:  # type: ignore[override]
        """Go on where only the caller's side is closed: it may wait for the reply to what it has sent."""
        cycle = self.cycle
        self._half_closed = cycle is not None and not cycle.response_complete and not cycle.more_body
        return self._half_closed and self.scheme != "https"

    def on_response_complete(self) -> None:
        """Close where the caller's side is closed and nothing of it is left to answer."""
        super().on_response_complete()
        if self.cycle.response_complete:  # else another request waits behind this one
            self.idle[self] = None
        if self._half_closed and not self.pipeline and self.cycle.response_complete:
            self.transport.close()

    def shutdown(self) -> None:
        """Take leave: answer what is in hand, and a request that is on its way, each with `connection: close`."""
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LINGER, self._leave)

    def _leave(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_slow(self) -> None:
        self._alarm = None
        if self._begun:
            self._refuse(408, f"the request's head didn't come within {self.limits.head_seconds:g} seconds")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn would do so in plain text."""
        self._refuse(400, "this is no HTTP/1.1 request that can be read")

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        phrase = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}[status]
        body = json.dumps({"error": message}).encode()
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


def connection_class(limits: Limits) -> type[Any]:
    """Return the connection's class for some limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits, "idle": {}, "most": most_connections()})
