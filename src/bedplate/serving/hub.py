"""A process's tie to the others that serve on the same port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

from bedplate.serving.channel import Channel
from bedplate.serving.dataplane import DataPlane


class Hub:
    """What one process asks of all, and what it is asked by the supervisor."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._channel = Channel(self._asked)
        self._plane: DataPlane | None = None
        self._level = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()

    async def start(self, plane: DataPlane) -> None:
        """Join the others: learn what was changed before this process began, and say that it answers."""
        self._plane = plane
        await self._channel.start(self._end)
        for what, arguments in await self._channel.ask("changes"):
            reason = await plane.repeat(what, arguments)
            if reason:
                await self._channel.ask("left_out", change=what, arguments=arguments, reason=reason)
        self._level.set()
        plane.hub = self
        plane.repository.relabelled.append(self._relabelled)
        self._task = asyncio.get_running_loop().create_task(self._follow())

    def _relabelled(self, name: str, label: str) -> None:
        """Tell that a label's folder has spoken last: where it was put before no longer counts."""
        telling = asyncio.get_running_loop().create_task(self._channel.tell("relabelled", name=name, label=label))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _follow(self) -> None:
        """End with the supervisor: nobody else would stop this process."""
        await self._channel.closed.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    async def ready(self) -> None:
        """Say that this process answers requests."""
        await self._channel.ask("ready")

    async def metrics(self) -> bytes:
        """Return the metrics of all processes as one."""
        text: str = await self._channel.ask("metrics")
        return text.encode()

    async def everywhere(self, what: str, arguments: dict[str, Any]) -> Any:
        """Make a change in this process, and in all others where it went well here."""
        return await self._channel.ask("everywhere", change=what, arguments=arguments)

    async def _asked(self, what: str, arguments: dict[str, Any]) -> Any:
        assert self._plane is not None
        if what == "ping":
            return True
        if what == "metrics":
            return self._plane.metrics.text().decode()
        await self._level.wait()  # a change that is made meanwhile comes after those before it
        return await self._plane.change(what, arguments)
