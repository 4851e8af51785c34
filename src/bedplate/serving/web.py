"""The face to the web: from a request to the handler of its route, and back, past those who guard it."""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Iterable

from bedplate.serving.body import Limits, Room, check_length
from bedplate.serving.compression import LEAST_BYTES, compress
from bedplate.serving.dataplane import DataPlane, problem_reply
from bedplate.serving.exchange import Ask, Call, Headers, Protocol, Reply, after
from bedplate.serving.problems import Problem
from bedplate.serving.repository import Missing
from bedplate.serving.routes import Handler, Route, Routes

log = logging.getLogger("bedplate.serving")

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
    """From a request whose head has come to its reply, whatever carries both.

    `begin` when the head is there, `answer` when the body is, `end` when the reply has gone.

    Attributes:
        plane: the data plane that its routes use.
        guards: what is asked before a body is read, and told before a reply is sent: tokens, CORS, the access log.
        room: what the bodies in hand may take together.
    """

    def __init__(
        self, plane: DataPlane, routes: Iterable[Route], *, limits: Limits | None = None, guards: Iterable[Guard] = ()
    ) -> None:
        self.plane = plane
        self.routes = Routes(routes)
        self.limits = limits or Limits()
        self.guards = list(guards)
        self.room = Room(self.limits.all_bytes or 16 * self.limits.body_bytes)
        self._in_hand = 0

    def begin(self, ask: Ask) -> Reply | None:
        """Look at a request before its body is read; return the reply where it goes no further."""
        ask.begun = time.perf_counter()
        self._in_hand += 1
        headers = ask.headers
        given = headers.get("x-request-id")
        ask.request_id = given if given and _ID.fullmatch(given) else new_request_id()
        try:
            if ask.method == "OPTIONS":
                for guard in self.guards:
                    early = guard.preflight(ask, None)
                    if early is not None:
                        return self._finished(ask, early)
            try:
                ask.route, ask.parameters = self.routes.find(ask.method, ask.path)
            finally:
                # Asked also where there is no such path: who may ask nothing learns nothing of what is there.
                for guard in self.guards:
                    guard.check(ask, ask.route)
            self._check_room(ask.route)
            ask.deadline = _deadline(headers, self.plane.timeout)
            check_length(headers.get("content-length"), self.limits)
        except Problem as problem:
            return self._finished(ask, problem_reply(problem))
        except Exception:  # noqa: BLE001 - `_failed` logs it
            return self._finished(ask, self._failed(ask))
        return None

    async def answer(self, ask: Ask) -> Reply:
        """Return the reply to a request that was let in and has its body."""
        assert ask.route is not None
        try:
            reply = await ask.route.handler(ask)
        except Problem as problem:
            reply = problem_reply(problem)
        except Exception:  # noqa: BLE001 - `_failed` logs it
            reply = self._failed(ask)
        self._finished(ask, reply)
        if isinstance(reply.body, bytes) and len(reply.body) >= LEAST_BYTES:
            await compress(reply, ask.headers.get("accept-encoding"))
        return reply

    def refuse(self, ask: Ask, problem: Problem) -> Reply:
        """Return the reply to a request whose body went wrong."""
        return self._finished(ask, problem_reply(problem))

    def end(self) -> None:
        """Note that a request which has begun is through."""
        self._in_hand -= 1

    def _check_room(self, route: Route) -> None:
        if self._in_hand > MOST_REQUESTS and route.role:
            raise Problem(503, f"{MOST_REQUESTS:,} requests are in hand already", retry_after=1)

    def _finished(self, ask: Ask, reply: Reply) -> Reply:
        for guard in self.guards:
            guard.finish(ask, reply, time.perf_counter() - ask.begun)
        return reply

    @staticmethod
    def _failed(ask: Ask) -> Reply:
        """Say that the server failed, the last resort; the log keeps the reason."""
        log.exception("%s %s failed (request %s)", ask.method, ask.path[:200], ask.request_id)
        return problem_reply(Problem(500, "the server failed on this request; its log says why"))


def new_request_id() -> str:
    """Return an id for a request that brings none."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"


def headers_of(ask: Ask, reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return a reply's headers but for those that say how long it is."""
    return [(b"content-type", reply.media_type), (b"x-request-id", ask.request_id.encode()), *reply.headers]


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
