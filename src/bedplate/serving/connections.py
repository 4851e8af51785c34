"""What the HTTP connections of one server share: their limits, who is open, who is idle, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from pathlib import Path

from bedplate.serving.connection import Connection
from bedplate.serving.web import WebApp

MOST_CONNECTIONS = 20_000
"""The most connections of a process, where it may have so many open files."""

_OTHER_FILES = 128
"""Files that loading a model, saving a state, answering over gRPC and accepting may need beside the connections."""


class Connections:
    """Makes the connections of one server, knows them all, and ends them.

    Where there are too many, the one goes that has been without a whole request the longest: so thousands that only
    hold a place keep nobody out.

    Attributes:
        ending: whether the server stops; connections that were accepted before and begin only now take leave at once.
    """

    def __init__(self, web: WebApp, *, most: int | None = None) -> None:
        self.web = web
        self.ending = False
        self._most = most or most_connections()
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        self._empty = asyncio.Event()

    def __call__(self) -> Connection:
        """Return a new connection, as asyncio's servers ask for it."""
        return Connection(self.web, self)

    def opened(self, connection: Connection) -> None:
        """Take a connection in; where there are too many, the oldest idle one is closed."""
        self._open.add(connection)
        self._idle[connection] = None
        if len(self._open) > self._most:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.close()
        if self.ending:
            connection.take_leave()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._idle.pop(connection, None)
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    def idle(self, connection: Connection) -> None:
        """Note that a connection waits for its next request."""
        self._idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """Note that a connection has a request in hand."""
        self._idle.pop(connection, None)

    async def end(self, seconds: float) -> int:
        """Let all take leave, and wait so long for them; return how many were cut off then."""
        self.ending = True
        for connection in list(self._open):
            connection.take_leave()
        self._empty.clear()
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return self.cut()

    def cut(self) -> int:
        """Close all at once; return how many there were."""
        left = list(self._open)
        for connection in left:
            connection.abort()
        return len(left)


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
