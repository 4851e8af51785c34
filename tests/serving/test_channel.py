from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from bedplate.core.errors import BundleError, InputError
from bedplate.serving.channel import Channel, error_from, error_to


async def answer(what: str, arguments: dict[str, Any]) -> Any:
    if what == "wait":
        await asyncio.sleep(arguments["seconds"])
        return arguments["seconds"]
    if what == "no":
        raise BundleError("damaged", where="here", expected="a", received="b", hint="take a fresh copy")
    if what == "fail":
        raise ZeroDivisionError
    return {"what": what, **arguments}


def test_questions_cross_without_waiting_for_each_other() -> None:
    async def work() -> None:
        ends = socket.socketpair()
        one, two = Channel(answer), Channel(answer)
        await one.start(ends[0])
        await two.start(ends[1])
        slow = asyncio.create_task(one.ask("wait", seconds=0.2))
        assert await one.ask("hello", big="x" * 200_000) == {"what": "hello", "big": "x" * 200_000}
        assert await two.ask("back", n=1) == {"what": "back", "n": 1}
        assert not slow.done()
        assert await slow == 0.2
        with pytest.raises(BundleError, match=r"here: damaged \(expected a; received b\)\. take a fresh copy"):
            await one.ask("no")
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await one.ask("fail")
        waiting = asyncio.create_task(one.ask("wait", seconds=30))
        await asyncio.sleep(0.05)
        two.close()
        with pytest.raises(ConnectionError):
            await waiting
        with pytest.raises(ConnectionError):
            await one.ask("hello")
        one.close()
        await asyncio.sleep(0.05)

    asyncio.run(work())


def test_errors_keep_their_kind_and_words() -> None:
    error = InputError("wrong", where="x", hint="do y")
    again = error_from(error_to(error))
    assert type(again) is InputError
    assert (again.message, again.exit_code) == (error.message, error.exit_code)
    assert type(error_from({"kind": "listing", "what": "odd"})).__name__ == "BedplateError"
