"""Go on, in a task, with a coroutine that was begun outside of one: most requests never wait, and need no task."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from bedplate.serving.exchange import Reply


async def go_on(steps: Coroutine[Any, Any, Reply], awaited: Any) -> Reply:
    """Go on with a coroutine that was begun outside of a task and now waits for something."""
    return await _Begun(steps, awaited)


class _Begun:
    """Hands what a coroutine waits for to the task that goes on with it."""

    __slots__ = ("_awaited", "_steps")

    def __init__(self, steps: Coroutine[Any, Any, Reply], awaited: Any) -> None:
        self._steps, self._awaited = steps, awaited

    def __await__(self) -> Generator[Any, Any, Reply]:
        # What was waited for is let go of before its fault is passed on: it holds the fault, whose traceback holds this
        # frame, and such a circle is only freed when somebody looks for circles, which is seldom here.
        awaited, self._awaited = self._awaited, None
        try:
            while True:
                try:
                    try:
                        got = yield awaited
                    finally:
                        awaited = None
                except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the coroutine
                    awaited = self._steps.throw(error)
                else:
                    awaited = self._steps.send(got)
        except StopIteration as done:
            reply: Reply = done.value
            return reply
