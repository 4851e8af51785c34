"""One process that serves bundles over HTTP until it is told to stop, and then finishes what it has begun."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from bedplate.bundle import Bundle
from bedplate.core.errors import InputError
from bedplate.serving.app import application
from bedplate.serving.connection import connection_class
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.spec import ServerSpec

_DRAIN_SECONDS = 30
_MOST_CONNECTIONS = 1000


class _Server(uvicorn.Server):
    """Uvicorn, told apart in two ways: it says when it is ready, and a signal ends it with a plain return."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._when_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises InputError where the port is taken or the address isn't this machine's."""
    where = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # The protocol is named because asyncio switches Nagle's algorithm off only where it is (else: 40 ms a reply).
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError("can't listen here", where=where, received=str(error), hint="give another --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise InputError(
                "the port is in use", where=where, hint="choose another with --port; --port 0 takes a free one"
            ) from error
        raise InputError("can't listen here", where=where, received=str(error), hint="choose another --port") from error
    return listener


def serve(
    bundles: Sequence[tuple[str, str | Path]] = (),
    *,
    spec: ServerSpec | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    state: Path | None = None,
    announce: Callable[[str], None] | None = None,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve bundles until SIGTERM or SIGINT; return 0 when all requests in hand are answered and the state is saved.

    Args:
        bundles: (name to serve under, folder or archive); an empty name takes the bundle's own.
        spec: all that can be told, in place of the other arguments.
        host: the address to listen on.
        port: 0 takes a free one; `ready` is told which.
        state: the folder where the sketches for `bedplate monitor` are kept; None keeps them in memory only.
        announce: is told what a person wants to know, a line at a time; None writes to standard error.
        ready: is called once with the URL, when the models are warm and requests are answered.

    Raises:
        BundleError: a bundle is damaged, or answers otherwise on this machine.
        InputError: nothing to serve, a name or port is taken, or the state folder can't be used.
    """
    say = announce or (lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    if spec is None:
        named = tuple((name, Path(path)) for name, path in bundles)
        spec = ServerSpec(named, host=host, port=port, state=state)
    if not spec.bundles and spec.repository is None:
        raise InputError("nothing to serve", expected="at least one bundle")
    listener = bind(spec.host, spec.port)
    try:
        plane = DataPlane(
            threads=spec.threads, engine=spec.engine, batching=spec.batching, timeout=spec.timeout, state=spec.state,
            say=say,
        )  # fmt: skip
        # Opened without a replay: the golden rows are replayed with the very engine that will serve.
        plane.serve([(name, Bundle.open(path, replay=False)) for name, path in spec.bundles])
        app = application(plane, limits=spec.limits)
    except BaseException:
        listener.close()
        raise
    url = _url(spec.host, listener.getsockname()[1])

    def when_ready() -> None:
        for model in plane.repository.models.values():
            say(f"serving '{model.name}' ({model.bundle.task}, {model.chosen.words}, bundle {model.bundle.id[:12]})")
        say(f"{url}  (page: /, interface: /docs, metrics: /metrics; {plane.threads} threads; Ctrl-C stops)")
        if ready is not None:
            ready(url)

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="on", ws="none", server_header=False, loop="uvloop",
        http=connection_class(spec.limits), timeout_graceful_shutdown=_DRAIN_SECONDS, timeout_keep_alive=75,
        limit_concurrency=_MOST_CONNECTIONS, date_header=False,
    )  # fmt: skip
    server = _Server(config, when_ready)
    server.run(sockets=[listener])
    say("stopped")
    return 0 if server.started else os.EX_SOFTWARE


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"
