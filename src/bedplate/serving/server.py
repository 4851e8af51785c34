"""One process that serves bundles until it is told to stop, and then finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import uvicorn

from bedplate.bundle import Bundle
from bedplate.serving.access_log import AccessLog
from bedplate.serving.app import application, rpc_handlers
from bedplate.serving.connection import connection_class
from bedplate.serving.cors import CorsGuard
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.follow import Follower
from bedplate.serving.grpc_server import GrpcServer
from bedplate.serving.grpc_tokens import TokenInterceptor
from bedplate.serving.hub import Hub
from bedplate.serving.spec import ServerSpec
from bedplate.serving.tokens import TokenGuard

_DRAIN_SECONDS = 30
_ACCEPTED_AT_ONCE = 16


class _Server(uvicorn.Server):
    """Uvicorn, told apart in two ways: it says when it is ready, and a signal ends it with a plain return."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], Awaitable[None]], stopping: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._when_started, self._when_stopping = started, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Copies: connections that wait at a socket can still be taken when uvicorn has closed its own.
        self._copies = [one.dup() for one in sockets or []]
        await super().startup(sockets=sockets)
        if self.started:
            await self._when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without losing anything: say so, take what waits at the door, answer what is in hand."""
        await self._when_stopping()
        connections: Any = self.config.http_protocol_class
        connections.ending = True
        for server in self.servers:
            server.close()
        await self._take_waiting()
        await super().shutdown(sockets=sockets)

    async def _take_waiting(self) -> None:
        """Accept the connections that the system has taken but this process has not."""
        loop = asyncio.get_running_loop()
        for listener in self._copies:
            listener.setblocking(False)
            with contextlib.suppress(OSError):
                while True:
                    waiting, _ = listener.accept()
                    await loop.connect_accepted_socket(self._connection, waiting, ssl=self.config.ssl)
            listener.close()

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    spec: ServerSpec,
    listeners: Sequence[socket.socket],
    *,
    say: Callable[[str], None],
    when_ready: Callable[[], None] | None = None,
    hub: Hub | None = None,
) -> int:
    """Serve on a socket until SIGTERM or SIGINT; return the exit code.

    Args:
        spec: what is served, and how.
        listeners: bound sockets; all are answered alike.
        say: is told what a person wants to know, a line at a time.
        when_ready: is called once, when requests are answered.
        hub: the tie to other processes on the same port.

    Raises:
        BundleError: a bundle is damaged, or answers otherwise on this machine.
        InputError: a name is taken, or the state folder can't be used.
    """
    plane = DataPlane(
        threads=spec.threads, engine=spec.engine, batching=spec.batching, timeout=spec.timeout, state=spec.state,
        compat=spec.compat, say=say,
    )  # fmt: skip
    # Opened without a replay: the golden rows are replayed with the very engine that will serve.
    plane.serve([(name, Bundle.open(path, replay=False)) for name, path in spec.bundles])
    log_guard = AccessLog() if spec.access_log else None
    tokens = TokenGuard(spec.token_file) if spec.token_file else None
    guards = [
        *([CorsGuard(spec.cors)] if spec.cors else []), *([tokens] if tokens else []),
        *([log_guard] if log_guard else []),
    ]  # fmt: skip
    app = application(plane, limits=spec.limits, guards=guards)
    if log_guard is not None:
        plane.stopping.append(log_guard.finished)
    if spec.repository is not None:
        follower = Follower(plane.repository, spec.repository, say)
        plane.starting.append(follower.start)
        plane.stopping.append(follower.stop)
    rpc: GrpcServer | None = None

    if hub is not None:
        # Before the first request: what was changed earlier holds, and metrics are those of all, from its beginning.
        plane.starting.append(partial(hub.start, plane))

    async def started() -> None:
        nonlocal rpc
        for model in plane.repository.models.values():
            say(f"serving '{model.name}' ({model.bundle.task}, {model.chosen.words}, bundle {model.bundle.id[:12]})")
        if spec.grpc_port is not None:
            rpc = GrpcServer(
                plane, rpc_handlers(plane), host=spec.host, port=spec.grpc_port, most_bytes=spec.limits.body_bytes,
                tls=spec.tls, interceptors=[TokenInterceptor(tokens.allow)] if tokens else [],
                reuse_port=spec.processes > 1,
            )  # fmt: skip
            await rpc.start()
        _calm_collector()
        if hub is not None:
            await hub.ready()
        if when_ready is not None:
            when_ready()

    async def stopping() -> None:
        plane.ready = False
        if rpc is not None:
            await rpc.stop(_DRAIN_SECONDS)

    config = uvicorn.Config(
        # Its own logging asks standard output whether it is a terminal, and there may be none.
        app, log_config=None, log_level="warning", access_log=False, lifespan="on", ws="none",
        server_header=False, loop="asyncio",
        http=connection_class(spec.limits), timeout_graceful_shutdown=_DRAIN_SECONDS, timeout_keep_alive=75,
        date_header=False, proxy_headers=False, backlog=_ACCEPTED_AT_ONCE,
        ssl_certfile=spec.tls[0] if spec.tls else None, ssl_keyfile=spec.tls[1] if spec.tls else None,
    )  # fmt: skip
    server = _Server(config, started, stopping)
    server.run(sockets=list(listeners))
    code = 0 if server.started else os.EX_SOFTWARE
    if plane.left_behind:
        # A thread within an engine can't be ended, and Python's own end would pull the engine away from under it.
        say("a model hangs and is left behind; stopped")
        sys.stdout.flush()
        os._exit(code)
    return code


def _calm_collector() -> None:
    """Look for cycles more rarely, and never among what was loaded at the start.

    A JSON image is a thousand lists, so that by default each request would start a collection. They hold no cycles, and
    counting references frees them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
