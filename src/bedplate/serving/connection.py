"""One HTTP/1.1 connection on httptools: requests in, replies out, and a limit on what each may cost.

A request is answered where its last byte was read: the handler's coroutine is run until it waits for something, and
only then becomes a task. A model that is run on the event loop never waits, and a task, a future and a turn of the loop
would cost more than such a model does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools

from bedplate.serving.begun import go_on
from bedplate.serving.body import Incoming
from bedplate.serving.dataplane import problem_reply
from bedplate.serving.exchange import Ask, Headers, Reply
from bedplate.serving.http_reply import CONTINUE, LAST_CHUNK, chunk, head
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.web import WebApp, headers_of, new_request_id

if TYPE_CHECKING:
    from bedplate.serving.connections import Connections

log = logging.getLogger("bedplate.serving")

LINGER = 1.0
"""Seconds for which an idle connection is kept while the server stops: its next request may be on its way already.
Also for how long the rest of a refused request is read and thrown away, so that the caller reads the refusal."""

FAREWELL = 0.2
"""Seconds for which the end of TLS is waited for where a connection is idle."""

HALF_OPEN = 5.0
"""Seconds that a reply may still take for a caller that has closed its side."""

KEPT = 75.0
"""Seconds for which a connection is kept between two requests."""

MOST_THROWN_AWAY = 16 << 20
"""Bytes of a refused request that are read for that."""

_NEVER = float("inf")


class _Request:
    """A request on its way in, and what its reply needs to know of it. `early` is set where it is refused unread."""

    __slots__ = ("ask", "body", "early", "keep", "old")

    def __init__(self, ask: Ask, body: Incoming, early: Reply | None, *, keep: bool, old: bool) -> None:
        self.ask, self.body, self.early, self.keep, self.old = ask, body, early, keep, old


class Connection(asyncio.Protocol):
    """One caller's connection: closed where a head is too large or too slow, or where a reply isn't taken.

    Replies go out in the order of the requests. Requests that come before the last one was answered wait, and nothing
    more is read while they do.
    """

    def __init__(self, web: WebApp, all_: Connections) -> None:
        self._web, self._limits, self._all = web, web.limits, all_
        self._loop = asyncio.get_running_loop()
        self._parser: Any = None
        self._transport: Any = None
        self._client = ""
        self._secure = False
        # What is being read
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._chunk = 0
        self._head_bytes = 0
        self._in_head = False
        self._request: _Request | None = None
        self._deaf = False  # what comes is thrown away
        self._thrown_away = 0
        # What is being answered
        self._waiting: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._answering: _Request | None = None
        self._leaving = False
        self._half_closed = False
        self._paused: asyncio.Future[None] | None = None
        # Time limits. One timer looks now and then, since making and unmaking one for each request costs more.
        self._due = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._tick = min(self._limits.head_seconds, self._limits.body_seconds, KEPT) / 4
        self._stalled: asyncio.TimerHandle | None = None

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._due = self._loop.time() + self._limits.head_seconds
        self._timer = self._loop.call_later(self._tick, self._look)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer; give up what is only worth its caller."""
        self._all.closed(self)
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        for request in (self._request, *self._waiting):
            if request is not None:
                self._end(request)
        self._request, self._parser = None, None  # the parser refers to this connection
        self._waiting.clear()
        self._deaf = True
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        answering = self._answering
        if self._task is not None and answering is not None:
            route = answering.ask.route
            if route is not None and route.role == "predict":  # what changes something is carried through
                self._task.cancel()
                self._end(answering)
        # asyncio's transport refers to itself. Such cycles wait for the collector, which seldom runs here.
        getattr(self._transport, "__dict__", {}).pop("_read_ready_cb", None)

    def close(self) -> None:
        """Close behind what was written.

        TLS waits half a minute for the caller's farewell. One that is idle may never send it, and nothing is lost
        without it, so it isn't waited for.
        """
        written = self._transport.get_write_buffer_size() == 0
        self._transport.close()
        if self._secure and written:
            self._loop.call_later(FAREWELL, self._transport.abort)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def take_leave(self) -> None:
        """Answer what is in hand, and a request that is on its way, each with `connection: close`."""
        self._leaving = True
        if self._resting:
            self._loop.call_later(LINGER, self._leave)

    @property
    def _resting(self) -> bool:
        """Whether no request is on its way in, waits or is answered."""
        return self._answering is None and not self._waiting and self._request is None and not self._in_head

    def _leave(self) -> None:
        if self._resting and not self._transport.is_closing():
            self.close()

    def eof_received(self) -> bool:
        """Go on where only the caller's side is closed: it may wait for the reply to what it has sent."""
        self._half_closed = self._answering is not None or bool(self._waiting)
        if self._half_closed and not self._secure:
            # Who has gone altogether looks the same until something is written: nobody is waited for without end.
            self._loop.call_later(HALF_OPEN, self._if_gone)
        return self._half_closed and not self._secure

    def _if_gone(self) -> None:
        """Hang up on a caller that closed its side so long ago, unless it takes a reply just now."""
        if not self._transport.is_closing() and self._transport.get_write_buffer_size() == 0:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Note that the caller doesn't take its reply; nothing more is read from it meanwhile."""
        self._paused = self._loop.create_future()
        self._transport.pause_reading()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        self._read_on()

    def _read_on(self) -> None:
        if self._paused is None and not self._waiting and not self._transport.is_closing():
            self._transport.resume_reading()

    def _watch_writing(self) -> None:
        left = self._transport.get_write_buffer_size()
        self._stalled = self._loop.call_later(self._limits.body_seconds, self._if_stalled, left)

    def _if_stalled(self, before: int) -> None:
        """Hang up where nothing of a reply was taken for so long: it holds memory, and perhaps a model."""
        self._stalled = None
        if self._transport.get_write_buffer_size() < before:
            self._watch_writing()
        else:
            self._transport.abort()

    def _look(self) -> None:
        """Look whether the time of what is awaited is up."""
        left = self._due - self._loop.time()
        if left <= 0:
            self._due = _NEVER
            self._too_slow()
        if not self._transport.is_closing():
            self._timer = self._loop.call_later(
                max(min(left, self._tick), 0.001) if left > 0 else self._tick, self._look
            )

    def _too_slow(self) -> None:
        limits = self._limits
        if self._deaf:
            self._transport.close()
        elif self._in_head:
            self._refuse(408, f"the request's head didn't come within {limits.head_seconds:g} seconds")
        elif self._request is not None:
            problem = Problem(408, f"the body didn't come within {limits.body_seconds:g} seconds")
            self._give_up(self._request, problem)
        else:
            self.close()

    # --- the parser's callbacks; what they raise would end the parser ---

    def data_received(self, data: bytes) -> None:
        """Read, and answer what is complete."""
        if self._deaf:
            self._thrown_away += len(data)
            if self._thrown_away > MOST_THROWN_AWAY:
                self._transport.abort()
            return
        self._chunk = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:  # ours to answer for, not the caller's
            log.exception("a request of %s failed", self._client)
            self._transport.abort()
            return
        except httptools.HttpParserUpgrade:
            self._deaf = True  # no other protocol is spoken here; the reply ended this one
        except httptools.HttpParserError:
            self._refuse(400, "this is no HTTP/1.1 request that can be read")
            return
        if self._in_head and not self._deaf:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._head_too_large()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._url, self._headers, self._head_bytes, self._in_head = b"", {}, 0, True
        self._due = self._loop.time() + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """Take the URL, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; where one stands twice, the last counts."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Let the request in, or refuse it before its body."""
        self._in_head = False
        if self._deaf:
            return
        headers, limits, parser = self._headers, self._limits, self._parser
        if self._chunk > limits.head_bytes or len(headers) > 64:
            size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in headers.items())
            if size > limits.head_bytes:
                self._head_too_large()
                return
        try:
            path, query = _path(self._url)
        except ValueError:
            self._refuse(400, "this is no HTTP/1.1 request that can be read")
            return
        ask = Ask(parser.get_method().decode("latin-1"), path, Headers(headers), b"", query)
        ask.client = self._client
        early = self._web.begin(ask)
        keep = parser.should_keep_alive() and not parser.should_upgrade()
        old = parser.get_http_version() == "1.0"
        self._request = request = _Request(ask, Incoming(limits, self._web.room), early, keep=keep, old=old)
        self._all.busy(self)
        self._due = self._loop.time() + limits.body_seconds
        if b"content-length" in headers or b"transfer-encoding" in headers:
            if early is not None:
                self._stop_reading(request)
            elif b"expect" in headers and self._answering is None and headers[b"expect"].lower() == b"100-continue":
                self._transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        request = self._request
        if request is None or self._deaf:
            return
        try:
            request.body.add(part)
        except Problem as problem:
            self._give_up(request, problem)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for those before it."""
        request, self._request = self._request, None
        if request is None or self._deaf:
            return
        self._due = _NEVER
        if request.early is None:
            try:
                request.ask.body = request.body.whole(request.ask.headers.get("content-encoding"))
            except Problem as problem:
                request.early = self._web.refuse(request.ask, problem)
        self._take(request)

    def _give_up(self, request: _Request, problem: Problem) -> None:
        """Refuse a request whose body went wrong."""
        request.early = self._web.refuse(request.ask, problem)
        self._stop_reading(request)

    def _stop_reading(self, request: _Request) -> None:
        """Answer a refused request whose body is still on its way: there can be no other behind it."""
        self._deaf, self._request, request.keep = True, None, False
        self._take(request)

    def _head_too_large(self) -> None:
        self._refuse(431, f"the request's head is too large: at most {self._limits.head_bytes:,} bytes")

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request that could be let in."""
        if self._request is not None:  # its body can't be read
            request = self._request
            self._give_up(request, bad_request(message))
            return
        if self._deaf or self._transport.is_closing():
            return
        self._deaf = True
        body, early = Incoming(self._limits, self._web.room), problem_reply(Problem(status, message))
        self._take(_Request(Ask("", "", request_id=new_request_id()), body, early, keep=False, old=False))

    # --- answering ---

    def _take(self, request: _Request) -> None:
        if self._answering is not None or self._waiting:
            self._waiting.append(request)
            self._transport.pause_reading()
        else:
            self._answer(request)

    def _answer(self, request: _Request) -> None:
        """Answer a request, and those that waited behind it, until one has to be waited for."""
        while True:
            self._answering = request
            if request.early is not None:
                reply: Reply = request.early
            else:
                steps = self._web.answer(request.ask)
                try:
                    awaited = steps.send(None)
                except StopIteration as done:
                    reply = done.value
                else:
                    self._task = self._loop.create_task(self._later(request, go_on(steps, awaited)))
                    return
            if not isinstance(reply.body, bytes):
                self._task = self._loop.create_task(self._later(request, None, reply))
                return
            self._write(request, reply)
            following = self._done(request)
            if following is None:
                return
            request = following

    async def _later(
        self, request: _Request, steps: Coroutine[Any, Any, Reply] | None, reply: Reply | None = None
    ) -> None:
        """Answer a request that couldn't be answered at once."""
        try:
            if reply is None:
                assert steps is not None
                reply = await steps
            if isinstance(reply.body, bytes):
                self._write(request, reply)
            else:
                await self._stream(request, reply)
        except BaseException as error:
            # A reply that is cut off must not look like one that is whole.
            self._transport.abort()
            self._end(request)
            if isinstance(error, asyncio.CancelledError):
                raise
            log.exception("a reply to %s failed (request %s)", request.ask.path[:200], request.ask.request_id)
            return
        self._task = None
        following = self._done(request)
        if following is not None:
            self._answer(following)

    def _write(self, request: _Request, reply: Reply) -> None:
        if self._transport.is_closing():
            return
        body = reply.body
        assert isinstance(body, bytes)
        keep = request.keep = request.keep and (not self._leaving or bool(self._waiting))
        text = head(reply.status, headers_of(request.ask, reply), len(body), keep=keep, old=request.old)
        self._transport.write(text if request.ask.method == "HEAD" else text + body)

    async def _stream(self, request: _Request, reply: Reply) -> None:
        """Send a reply in parts, no faster than they are taken."""
        keep = request.keep = request.keep and not request.old and (not self._leaving or bool(self._waiting))
        assert not isinstance(reply.body, bytes)
        try:
            self._transport.write(head(reply.status, headers_of(request.ask, reply), None, keep=keep, old=request.old))
            if request.ask.method != "HEAD":
                async for part in reply.body:
                    if self._transport.is_closing():  # the caller has gone; who writes on fills the log
                        return
                    if part:
                        self._transport.write(part if request.old else chunk(part))
                    if self._paused is not None:
                        await self._paused
                if not request.old:
                    self._transport.write(LAST_CHUNK)
        finally:
            await reply.close()

    def _done(self, request: _Request) -> _Request | None:
        """Close or keep the connection behind a reply; return the request that waits."""
        self._end(request)
        self._answering = None
        transport = self._transport
        if transport.is_closing():
            return None
        if not request.keep:
            self._close_gently()
            return None
        if self._waiting:
            following = self._waiting.popleft()
            if not self._waiting:
                self._read_on()
            return following
        if self._half_closed:
            transport.close()
        elif self._request is None and not self._in_head:
            self._all.idle(self)
            self._due = self._loop.time() + KEPT
        return None

    def _close_gently(self) -> None:
        """Close behind a last reply. Where the caller still sends, a plain close would take the reply from it."""
        if not self._deaf or self._secure or self._half_closed or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._due = self._loop.time() + LINGER
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER, self._look)

    def _end(self, request: _Request) -> None:
        request.body.release()
        if request.ask.begun:
            request.ask.begun = 0.0
            self._web.end()


def _path(url: bytes) -> tuple[str, bytes]:
    """Return a request's path, decoded, and its query. Raises ValueError for what is no URL."""
    if url[:1] != b"/" and url != b"*":  # https://host/path, or what CONNECT says
        try:
            parts = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError as error:
            raise ValueError("no URL") from error
        path, query = parts.path or b"/", parts.query or b""
    else:
        path, _, query = url.partition(b"?")
    text = path.decode("ascii")
    return unquote(text) if "%" in text else text, query
