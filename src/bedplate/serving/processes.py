"""Several processes on one port: started, watched, started again where they die, asked together, stopped together.

The supervisor opens one listening socket a process on the same port (SO_REUSEPORT) and keeps all of them. So where a
process is killed, the connections that wait at its socket stay there until its successor takes them. It answers no
request itself, and imports no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedplate.core.errors import BedplateError
from bedplate.serving.channel import Channel, error_from
from bedplate.serving.exposition import counters_of, merged
from bedplate.serving.problems import Problem
from bedplate.serving.spec import ServerSpec, spec_to_json

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a process that died is started again; doubled each time it dies within a minute."""

PING_SECONDS, MOST_MISSED = 5.0, 4
"""How often a process is asked whether it lives, and how many answers it may miss."""

_STOP_SECONDS = 45.0
_LONGEST_END = 90.0
"""Seconds after which a process that was told to end is killed: its two drains, and closing, take 70 at most."""


@dataclass
class _Worker:
    """One process, and its successors."""

    number: int
    listeners: Sequence[socket.socket]
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    joined: bool = False  # whether this very process has asked what was changed before it: from then on it is told
    begun: float = 0.0
    pause: float = FIRST_PAUSE
    restarts: int = 0
    metrics: str = ""


class Supervisor:
    """Starts and minds the processes of one server.

    Args:
        spec: what each process serves; `processes` says how many.
        listeners: for each process its listening sockets: HTTP, and gRPC where that is wanted.
        say: is told what a person wants to know.
        ready: is called once, when all processes answer.
    """

    def __init__(
        self,
        spec: ServerSpec,
        listeners: Sequence[Sequence[socket.socket]],
        say: Callable[[str], None],
        ready: Callable[[], None],
    ) -> None:
        self._spec, self._say, self._ready = spec, say, ready
        self._workers = [_Worker(number, own) for number, own in enumerate(listeners)]
        self._stopping = asyncio.Event()
        self._failed: BedplateError | None = None
        # What processes that have ended had counted, as far as it was ever shown: counters never go back.
        self._ended: list[str] = []
        # What was changed while running, so that a successor begins where its predecessor was.
        self._changes: list[tuple[str, dict[str, Any]]] = []

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the exit code. Raises BedplateError where the first start fails."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told)
        minders = [loop.create_task(self._mind(worker)) for worker in self._workers]
        announce = loop.create_task(self._announce())
        await self._stopping.wait()
        announce.cancel()
        # So that each process holds the last copy of its socket, and takes what waits there before it lets go.
        for worker in self._workers:
            for listener in worker.listeners:
                listener.close()
        self._pass_on()
        # One that stands still hears no signal but this one.
        loop.call_later(_LONGEST_END, self._kill_all)
        await asyncio.gather(*minders)
        if self._failed is not None:
            raise self._failed
        return 0

    def _told(self) -> None:
        """Stop; told twice, tell all twice as well: whoever waits for a reply has waited long enough."""
        if self._stopping.is_set():
            self._pass_on()
        self._stopping.set()

    def _pass_on(self) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                self._say(f"process {worker.number} has not ended; killed")
                worker.process.kill()

    async def _announce(self) -> None:
        for worker in self._workers:
            await worker.ready.wait()
        self._ready()

    async def _mind(self, worker: _Worker) -> None:
        """Keep one process alive."""
        while not self._stopping.is_set():
            await self._live(worker)
            if self._stopping.is_set():
                return
            if not worker.ready.is_set() and worker.restarts == 0:
                # It never answered: what keeps it from starting will keep its successors, too.
                self._failed = self._failed or BedplateError(
                    "a process of the server ended before it was ready",
                    received=f"exit code {worker.process.returncode if worker.process else '?'}",
                )
                self._stopping.set()
                return
            worker.restarts += 1
            if worker.metrics:
                self._ended = [merged([*self._ended, counters_of(worker.metrics)])]
                worker.metrics = ""
            worker.pause = min(worker.pause * 2, LONGEST_PAUSE) if time.monotonic() - worker.begun < 60 else FIRST_PAUSE
            code = worker.process.returncode if worker.process else None
            self._say(f"process {worker.number} ended ({_ending(code)}); starting it again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), worker.pause)

    async def _live(self, worker: _Worker) -> None:
        """Start a process and wait until it ends."""
        ours, theirs = socket.socketpair()
        descriptors = [listener.fileno() for listener in worker.listeners]
        order = {
            "spec": spec_to_json(self._spec), "number": worker.number, "channel": theirs.fileno(),
            "listeners": descriptors,
        }  # fmt: skip
        worker.begun, worker.joined = time.monotonic(), False
        worker.process = subprocess.Popen(
            [sys.executable, "-m", "bedplate.serving.worker", json.dumps(order)],
            pass_fds=[theirs.fileno(), *descriptors],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the supervisor's to understand
        )
        theirs.close()
        worker.channel = Channel(lambda what, arguments: self._asked(worker, what, arguments))
        await worker.channel.start(ours)
        watch = asyncio.get_running_loop().create_task(self._watch(worker))
        await worker.channel.closed.wait()
        watch.cancel()
        worker.channel.close()
        worker.channel = None
        deadline = time.monotonic() + _STOP_SECONDS
        while worker.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()

    async def _watch(self, worker: _Worker) -> None:
        """Kill a process that has stopped answering its supervisor: its event loop serves nobody either."""
        missed = 0
        while True:
            await asyncio.sleep(PING_SECONDS)
            if not worker.ready.is_set() or worker.process is None:
                continue
            missed = 0 if await self._tell(worker, "ping", {}) else missed + 1
            if missed >= MOST_MISSED and worker.process.poll() is None:
                self._say(
                    f"process {worker.number} has not answered for {MOST_MISSED * PING_SECONDS:g} seconds; killed"
                )
                worker.process.kill()

    async def _asked(self, worker: _Worker, what: str, arguments: dict[str, Any]) -> Any:
        """Answer a worker."""
        if what == "say":
            if worker.restarts == 0 and worker.number == 0:
                self._say(arguments["line"])
            return None
        if what == "changes":
            worker.joined = True
            return self._changes
        if what == "ready":
            worker.ready.set()
            return None
        if what == "relabelled":
            self._changes = changes_beside(self._changes, "set_label", arguments)
            return None
        if what == "left_out":
            self._say(
                f"process {worker.number}: a change that was made before is left out"
                f" ({_words(arguments['change'], arguments['arguments'])}): {arguments['reason']}"
            )
            return None
        if what == "failed":
            error = error_from(arguments["error"])
            if not worker.ready.is_set() and isinstance(error, BedplateError):
                self._failed = self._failed or error
            return None
        if what == "metrics":
            for one, text in zip(self._workers, await self._all("metrics"), strict=True):
                # Of one that doesn't answer in time, what it said last.
                one.metrics = text if isinstance(text, str) else one.metrics
            return merged([*self._ended, *(one.metrics for one in self._workers if one.metrics)])
        if what == "everywhere":
            return await self._everywhere(worker, arguments["change"], arguments["arguments"])
        raise BedplateError("no such question", received=what)

    async def _everywhere(self, worker: _Worker, what: str, arguments: dict[str, Any]) -> Any:
        """Do something in the process that asks first, and in all others where it went well there."""
        assert worker.channel is not None
        reply = await worker.channel.ask(what, **arguments)
        self._changes = [*changes_beside(self._changes, what, arguments), (what, arguments)]
        others = [other for other in self._workers if other is not worker]
        await asyncio.gather(*(self._tell(other, what, arguments) for other in others))
        return reply

    async def _all(self, what: str, **arguments: Any) -> list[Any]:
        return await asyncio.gather(*(self._tell(worker, what, arguments) for worker in self._workers))

    async def _tell(self, worker: _Worker, what: str, arguments: dict[str, Any]) -> Any:
        """Ask one worker; None where it has gone or says no (what it missed it learns when it is started again)."""
        if worker.channel is None or not worker.joined:
            return None
        try:
            async with asyncio.timeout(120 if what not in ("metrics", "ping") else 2):
                return await worker.channel.ask(what, **arguments)
        except (ConnectionError, TimeoutError):
            return None
        except (BedplateError, Problem) as error:
            self._say(f"process {worker.number}: {what} failed: {error.message}")
            return None


def changes_beside(
    changes: Sequence[tuple[str, dict[str, Any]]], what: str, arguments: dict[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the changes that still count when a new one is made, in order.

    A label is where it was put last, and a name is loaded or not as was said last, so a successor needs no more: what
    was done and undone would only be done again, and the list would grow for as long as the server runs.
    """
    key = _subject(what, arguments)
    return [(w, a) for w, a in changes if key is None or _subject(w, a) != key]


def _subject(what: str, arguments: dict[str, Any]) -> tuple[str, ...] | None:
    """Return what a change is about, where the last change about it says all."""
    if what == "set_label":
        return "label", arguments["name"], arguments["label"]
    return ("name", arguments["name"]) if what in ("load_name", "unload_name") else None


def _words(what: str, arguments: dict[str, Any]) -> str:
    """Return a change for a line of the log."""
    return f"{what} {json.dumps(arguments, ensure_ascii=False)}"[:200]


def _ending(code: int | None) -> str:
    if code is None:
        return "unknown"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def supervise(
    spec: ServerSpec,
    listeners: Sequence[Sequence[socket.socket]],
    say: Callable[[str], None],
    ready: Callable[[], None],
) -> int:
    """Run a supervisor to its end and return the exit code."""
    for own in listeners:
        for listener in own:
            os.set_inheritable(listener.fileno(), True)

    async def run() -> int:
        return await Supervisor(spec, listeners, say, ready).run()

    return asyncio.run(run())
