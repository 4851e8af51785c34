"""The sockets on which a server listens."""

from __future__ import annotations

import errno
import socket

from bedplate.core.errors import InputError

WAITING = 2048
"""Connections that the system holds until they are accepted."""


class Listener(socket.socket):
    """A listening socket whose queue stays long, however few connections asyncio accepts in one turn.

    asyncio takes one number for both. It accepts before it lets go, so many in one turn would run out of open files
    where there are too many connections.
    """

    def listen(self, backlog: int = WAITING) -> None:
        """Listen, with room for as many as the system allows."""
        super().listen(max(backlog, WAITING))


def bind(host: str, port: int, *, shared: bool = False, flag: str = "--port") -> Listener:
    """Return a listening socket; one of several on the same port where it is `shared`. `flag` named the port.

    Raises:
        InputError: the port is taken, or the address isn't this machine's.
    """
    where = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # The protocol is named because asyncio switches Nagle's algorithm off only where it is (else: 40 ms a reply).
        listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError("can't listen here", where=where, received=str(error), hint="give another --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise InputError(
                "the port is in use", where=where, hint=f"choose another with {flag}; {flag} 0 takes a free one"
            ) from error
        raise InputError(
            "can't listen here", where=where, received=str(error), hint=f"choose another {flag}"
        ) from error
    return listener


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """Return the URL under which a server on this machine is reached."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{shown}:{port}"
