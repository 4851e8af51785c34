"""The ASGI face: from the bytes of a request to the handler of its route, and back."""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from bedplate.serving.body import Limits, Room, Share, read_body
from bedplate.serving.compression import LEAST_BYTES, compress
from bedplate.serving.dataplane import DataPlane, problem_reply
from bedplate.serving.exchange import Ask, Call, Headers, Protocol, Reply, after
from bedplate.serving.problems import Problem
from bedplate.serving.repository import Missing
from bedplate.serving.routes import Handler, Route, Routes

log = logging.getLogger("bedplate.serving")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Request ids: random for the process, counted within it; asking the system for randomness costs more.
_PROCESS, _NUMBERS = os.urandom(4).hex(), itertools.count(1)
_ID = re.compile(r"[\x21-\x7e]{1,128}")

MOST_REQUESTS = 1000
"""Requests that may be in hand at once; health and the pages are answered beyond."""


class Guard:
    """What stands before every handler. `check` may raise a Problem; `finish` may change the reply and sees its end."""

    def preflight(self, ask: Ask, route: Route | None) -> Reply | None:
        """Answer a request in place of its handler, or return None."""
        return None

    def check(self, ask: Ask, route: Route | None) -> None:
        """Look at a request before its body is read."""

    def finish(self, ask: Ask, reply: Reply, seconds: float) -> None:
        """Look at a reply before it is sent."""


class WebApp:
    """An ASGI 3 application.

    Attributes:
        plane: the data plane that its routes use.
        guards: what is asked before a body is read, and told before a reply is sent: tokens, CORS, the access log.
    """

    def __init__(
        self, plane: DataPlane, routes: Iterable[Route], *, limits: Limits | None = None, guards: Iterable[Guard] = ()
    ) -> None:
        self.plane = plane
        self.routes = Routes(routes)
        self.limits = limits or Limits()
        self.guards = list(guards)
        self._in_hand = 0
        self._room = Room(self.limits.all_bytes or 16 * self.limits.body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection: HTTP, or the server's own life."""
        if scope["type"] == "http":
            self._in_hand += 1
            share = Share(self._room)
            try:
                await self._http(scope, receive, send, share)
            finally:
                self._in_hand -= 1
                share.release()
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.plane.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.plane.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send, share: Share) -> None:
        begun = time.perf_counter()
        headers = Headers(scope["headers"])
        client = scope.get("client")
        ask = Ask(scope["method"], scope["path"], headers, b"", scope["query_string"])
        ask.client = client[0] if client else ""
        given = headers.get("x-request-id")
        ask.request_id = given if given and _ID.fullmatch(given) else f"{_PROCESS}{next(_NUMBERS):08x}"
        route: Route | None = None
        read = False
        try:
            early = self._early(ask) if ask.method == "OPTIONS" else None
            if early is None:
                try:
                    route, ask.parameters = self.routes.find(ask.method, ask.path)
                finally:
                    # Asked also where there is no such path: who may ask nothing learns nothing of what is there.
                    for guard in self.guards:
                        guard.check(ask, route)
                self._check_room(route)
                ask.deadline = _deadline(headers, self.plane.timeout)
                if ask.method != "GET":
                    ask.body = await read_body(headers, receive, self.limits, share)
                read = True
                reply = await route.handler(ask)
            else:
                reply = early
        except Problem as problem:
            reply = problem_reply(problem)
        except Exception:  # the last resort: say that it failed, keep the reason in the log
            log.exception("%s %s failed (request %s)", ask.method, ask.path[:200], ask.request_id)
            reply = problem_reply(Problem(500, "the server failed on this request; its log says why"))
        for guard in self.guards:
            guard.finish(ask, reply, time.perf_counter() - begun)
        if not read and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers):
            # The rest of the body is still on its way; the connection can't be used for another request.
            reply.headers.append((b"connection", b"close"))
        if isinstance(reply.body, bytes) and len(reply.body) >= LEAST_BYTES:
            await compress(reply, headers.get("accept-encoding"))
        await _send(send, ask, reply)

    def _check_room(self, route: Route) -> None:
        if self._in_hand > MOST_REQUESTS and route.role:
            raise Problem(503, f"{MOST_REQUESTS:,} requests are in hand already", retry_after=1)

    def _early(self, ask: Ask) -> Reply | None:
        """Return what a guard answers in place of a handler."""
        for guard in self.guards:
            reply = guard.preflight(ask, None)
            if reply is not None:
                return reply
        return None


async def _send(send: Send, ask: Ask, reply: Reply) -> None:
    body = reply.body
    headers = [(b"content-type", reply.media_type), (b"x-request-id", ask.request_id.encode()), *reply.headers]
    if isinstance(body, bytes):
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if ask.method == "HEAD" else body})
        return
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        async for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def _deadline(headers: Headers, most: float) -> float:
    """Return when a request's time is up: `grpc-timeout`, or `x-request-timeout` in seconds, at most the server's."""
    given = headers.get("grpc-timeout")
    if given:
        match = _TIMEOUT.fullmatch(given)
        if match is None:
            raise Problem(400, f"grpc-timeout: expected up to 8 digits and one of H M S m u n, received {given[:40]!r}")
        return after(min(most, int(match[1]) * _UNITS[match[2]]))
    given = headers.get("x-request-timeout")
    if given:
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise Problem(400, f"x-request-timeout: expected seconds, received {given[:40]!r}")
        return after(min(most, seconds))
    return after(most)


def model_handler(plane: DataPlane, protocol: Protocol, missing: Missing | None = None) -> Handler:
    """Return the handler of a route that asks a model; `name`, `version` and `label` stand in its path."""
    find, answer = plane.repository.find, plane.answer

    async def handle(ask: Ask) -> Reply:
        path = ask.parameters
        try:
            model = find(path["name"], path.get("version", ""), path.get("label", ""), missing)
        except Problem as problem:
            plane.metrics.refused(protocol.name, str(problem.status))
            raise
        reply: Reply = await answer(protocol, Call(model, ask, len(ask.body), ask.deadline))
        return reply

    return handle
