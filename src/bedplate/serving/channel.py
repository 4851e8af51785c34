"""Two processes that ask each other things over a socket: JSON lines, any number of questions at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from bedplate.core import errors
from bedplate.core.errors import BedplateError
from bedplate.serving.problems import Problem

log = logging.getLogger("bedplate.serving")

Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]

MOST_BYTES = 64 << 20
"""The longest message."""


class Channel:
    """One end of a socket pair.

    Args:
        answer: (what, arguments) → JSON value; a BedplateError or Problem of its is raised again at the other end.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self.closed = asyncio.Event()

    async def start(self, end: socket.socket) -> None:
        """Begin to listen."""
        reader, self._writer = await asyncio.open_connection(sock=end, limit=MOST_BYTES)
        self._keep(self._listen(reader))

    async def ask(self, what: str, **arguments: Any) -> Any:
        """Return the other end's answer. Raises what it raised there, or ConnectionError where it has gone."""
        if self._writer is None or self.closed.is_set():
            raise ConnectionError("the other process has gone")
        number = next(self._numbers)
        future = self._open[number] = asyncio.get_running_loop().create_future()
        self._write({"number": number, "ask": what, "arguments": arguments})
        try:
            return await future
        finally:
            self._open.pop(number, None)

    async def tell(self, what: str, **arguments: Any) -> None:
        """Tell the other end something; whether it is still there makes no difference."""
        with contextlib.suppress(ConnectionError):
            await self.ask(what, **arguments)

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                message = json.loads(line)
                if "ask" in message:
                    self._keep(self._serve(message))
                    continue
                future = self._open.get(message["number"])
                if future is None or future.done():
                    continue
                if "error" in message:
                    future.set_exception(error_from(message["error"]))
                else:
                    future.set_result(message["reply"])
        self.closed.set()
        for future in self._open.values():
            if not future.done():
                future.set_exception(ConnectionError("the other process has gone"))

    async def _serve(self, message: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"number": message["number"]}
        try:
            reply["reply"] = await self._answer(message["ask"], message["arguments"])
        except (BedplateError, Problem) as error:
            reply["error"] = error_to(error)
        except Exception as error:
            log.exception("'%s' failed", message["ask"])
            reply["error"] = {"kind": "BedplateError", "what": f"{type(error).__name__}: {error}"}
        self._write(reply)


def error_to(error: BedplateError | Problem) -> dict[str, Any]:
    """Return an error as JSON from which it can be made again."""
    if isinstance(error, Problem):
        return {"kind": "Problem", "status": error.status, "message": error.message, "facts": error.facts}
    fields = ("what", "where", "expected", "received", "hint")
    return {"kind": type(error).__name__, **{name: getattr(error, name) for name in fields}}


def error_from(value: dict[str, Any]) -> BedplateError | Problem:
    """Return the error that `error_to` wrote."""
    name = value.pop("kind")
    if name == "Problem":
        return Problem(value["status"], value["message"], facts=value["facts"])
    found = getattr(errors, name, BedplateError)
    kind = found if isinstance(found, type) and issubclass(found, BedplateError) else BedplateError
    if kind is errors.RecipeError:
        kind = errors.InputError
    return kind(**value)
