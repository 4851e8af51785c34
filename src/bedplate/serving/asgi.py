"""The server's paths as an ASGI 3 application, to be embedded into another. `bedplate serve` itself needs no ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bedplate.serving.body import Incoming
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.exchange import Ask, Headers, Reply
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.web import WebApp, headers_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiApp:
    """An ASGI 3 application; `plane` holds its models, `web` its routes."""

    def __init__(self, web: WebApp) -> None:
        self.web = web

    @property
    def plane(self) -> DataPlane:
        """The data plane that it uses."""
        return self.web.plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or begin and end with the server."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
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

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        web = self.web
        ask = Ask(scope["method"], scope["path"], Headers(scope["headers"]), b"", scope["query_string"])
        client = scope.get("client")
        ask.client = client[0] if client else ""
        body = Incoming(web.limits, web.room)
        early = web.begin(ask)
        try:
            if early is not None:
                await _send(send, ask, early)
                return
            try:
                await self._read(body, receive)
                ask.body = body.whole(ask.headers.get("content-encoding"))
            except Problem as problem:
                await _send(send, ask, web.refuse(ask, problem))
            else:
                await _send(send, ask, await web.answer(ask))
        finally:
            body.release()
            web.end()

    async def _read(self, body: Incoming, receive: Receive) -> None:
        seconds = self.web.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise bad_request("the request ended early")
                    body.add(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise Problem(408, f"the body didn't come within {seconds:g} seconds") from error


async def _send(send: Send, ask: Ask, reply: Reply) -> None:
    body, headers = reply.body, headers_of(ask, reply)
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
        await reply.close()
