"""One process that serves bundles until it is told to stop, and then finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from functools import partial

from bedplate.bundle import Bundle
from bedplate.serving.access_log import AccessLog
from bedplate.serving.app import application, rpc_handlers
from bedplate.serving.connections import Connections
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
    web = application(plane, limits=spec.limits, guards=guards)
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

    async def serving() -> None:
        # Connections that wait at a socket can still be taken when the server has closed its own.
        copies = [one.dup() for one in listeners]
        connections = Connections(web)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            if stop.is_set():  # told twice: whoever waits for a reply has waited long enough
                connections.cut()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told)
        await plane.start()
        tls = _tls(spec)
        servers = [
            await loop.create_server(connections, sock=one, ssl=tls, backlog=_ACCEPTED_AT_ONCE) for one in listeners
        ]
        await started()
        await stop.wait()
        plane.ready = False
        if rpc is not None:
            await rpc.stop(_DRAIN_SECONDS)
        # Without losing anything: take what waits at the door, answer what is in hand.
        connections.ending = True
        for server in servers:
            server.close()
        await _take_waiting(copies, connections, tls)
        cut = await connections.end(_DRAIN_SECONDS)
        if cut:
            say(f"{cut} connections were cut off: they weren't through after {_DRAIN_SECONDS} seconds")
        await plane.stop()

    asyncio.run(serving())
    if plane.left_behind:
        # A thread within an engine can't be ended, and Python's own end would pull the engine away from under it.
        say("a model hangs and is left behind; stopped")
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _take_waiting(
    listeners: Sequence[socket.socket], connections: Connections, tls: ssl.SSLContext | None
) -> None:
    """Accept the connections that the system has taken but this process has not."""
    loop = asyncio.get_running_loop()
    for listener in listeners:
        listener.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                waiting, _ = listener.accept()
                await loop.connect_accepted_socket(connections, waiting, ssl=tls)
        listener.close()


def _tls(spec: ServerSpec) -> ssl.SSLContext | None:
    if spec.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*spec.tls)
    return context


def _calm_collector() -> None:
    """Look for cycles more rarely, and never among what was loaded at the start.

    A JSON image is a thousand lists, so that by default each request would start a collection. They hold no cycles, and
    counting references frees them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
