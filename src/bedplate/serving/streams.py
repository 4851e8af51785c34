"""Texts under way: a thread that adds a token to each in turn, and requests that join and leave between two steps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from bedplate.generation import Generator, Piece, Running, Stream
from bedplate.serving.batcher import expired
from bedplate.serving.problems import Problem
from bedplate.serving.stream_counts import StreamCounts

log = logging.getLogger("bedplate.serving")

MOST_STREAMS = 32
"""Texts that are written side by side; others wait."""

MOST_WAITING = 256
"""Texts that may wait; a request beyond is refused with 429."""

MOST_JOINING = 8
"""Prompts that are read at once: those who are being answered wait meanwhile."""


class Writing:
    """The pieces of one request's texts, as they come: an asynchronous iterator of (which text, piece).

    Args:
        streams: the texts.
        deadline: when the first piece of each must have come, in monotonic seconds; None: whenever.
        whole: whether the deadline is for all pieces.
    """

    def __init__(self, streams: Sequence[Stream], deadline: float | None, *, whole: bool = False) -> None:
        self.streams, self.deadline, self.whole = list(streams), deadline, whole
        self.queued = time.monotonic()
        self.last: dict[int, float] = {}
        self.cancelled = False
        self._loop = asyncio.get_running_loop()
        self._come: asyncio.Queue[tuple[int, Piece] | Exception] = asyncio.Queue()
        self._left = len(self.streams)

    def __aiter__(self) -> Writing:
        """Return itself."""
        return self

    async def __anext__(self) -> tuple[int, Piece]:
        """Return the next piece. Raises Problem where the texts can't be written to their end."""
        if not self._left:
            raise StopAsyncIteration
        found = await self._come.get()
        if isinstance(found, Exception):
            self._left = 0
            raise found
        self._left -= found[1].finish is not None
        return found

    def cancel(self) -> None:
        """Write no more of it: nobody waits for it any longer."""
        self.cancelled = True

    def late(self, now: float) -> bool:
        """Return whether its deadline has passed."""
        return self.deadline is not None and now >= self.deadline

    def give(self, found: tuple[int, Piece] | Exception) -> None:
        """Hand a piece, or what went wrong, to the event loop; called by the thread that writes."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._come.put_nowait, found)


def unseen(dropped: int, forgotten: int) -> dict[str, int]:
    """Return what a reply tells of a text that doesn't fit into the context.

    Args:
        dropped: how many of a talk's oldest messages weren't read.
        forgotten: how many of the first tokens the model has forgotten as it wrote.
    """
    told = {"dropped_messages": dropped, "forgotten_tokens": forgotten}
    return {name: count for name, count in told.items() if count}


class Streams:
    """The texts of one model.

    Args:
        generator: it writes them.
        most: how many are written side by side.
        waiting: how many more may wait.
    """

    def __init__(self, generator: Generator, *, most: int = MOST_STREAMS, waiting: int = MOST_WAITING) -> None:
        self.generator, self.counts = generator, StreamCounts()
        self._most, self._most_waiting = most, waiting
        self._running = Running(generator.decoder())
        self._owners: dict[int, tuple[Writing, int]] = {}
        self._queue: deque[tuple[Writing, int]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, streams: Sequence[Stream], deadline: float | None = None, *, whole: bool = False) -> Writing:
        """Return the pieces of some texts, which are written from now on. Raises Problem 429 or 503."""
        writing = Writing(streams, deadline, whole=whole)
        with self._wake:
            if self._closing:
                raise Problem(503, "the server is stopping", retry_after=1)
            if len(self._queue) + len(streams) > self._most_waiting and self._queue:
                raise Problem(429, f"the queue is full: {len(self._queue)} texts wait already", retry_after=1)
            self._queue.extend((writing, number) for number in range(len(streams)))
            self.counts.waiting = len(self._queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bedplate-write", daemon=True)
                self._thread.start()
            self._wake.notify()
        return writing

    def close(self, seconds: float = 5.0) -> bool:
        """Write no more; return whether the thread has ended in time."""
        with self._wake:
            self._closing = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._running.streams or self._closing):
                    self._wake.wait()
                if self._closing:
                    break
                self._sweep()
                joining = self._admitted()
            try:
                self._drop()
                if joining:
                    self._deliver(self._running.join([writing.streams[number] for writing, number in joining]))
                if self._running.streams:
                    self._deliver(self._running.advance())
            except Exception as error:
                log.exception("texts under way failed")
                self._fail(error)
        self._fail(Problem(503, "the server is stopping", retry_after=1))

    def _sweep(self) -> None:
        """Let go of what waits, whether or not a place is free: nobody wants it any more, or its time is up."""
        now = time.monotonic()
        if not any(writing.cancelled or writing.late(now) for writing, _ in self._queue):
            return
        late = {id(writing): writing for writing, _ in self._queue if not writing.cancelled and writing.late(now)}
        for writing in late.values():
            writing.cancel()
        self._queue = deque((writing, number) for writing, number in self._queue if not writing.cancelled)
        self.counts.waiting = len(self._queue)
        for writing in late.values():  # counted first: who is told may look at once
            writing.give(expired())

    def _admitted(self) -> list[tuple[Writing, int]]:
        """Take those from the queue that are begun now."""
        found = list[tuple[Writing, int]]()
        free = min(MOST_JOINING, self._most - len(self._running.streams))
        while self._queue and len(found) < free:
            writing, number = self._queue.popleft()
            found.append((writing, number))
            self._owners[id(writing.streams[number])] = writing, number
            self.counts.prompt += len(writing.streams[number].prompt)
        self.counts.waiting = len(self._queue)
        return found

    def _drop(self) -> None:
        """Let go of texts that nobody waits for, or whose time is up."""
        now = time.monotonic()
        gone, late = [], []
        for stream in self._running.streams:
            writing, _ = self._owners[id(stream)]
            if writing.whole and writing.late(now) and not writing.cancelled:
                writing.cancel()
                late.append(writing)
            if writing.cancelled:
                gone.append(stream)
        self._running.leave(gone)
        for stream in gone:
            del self._owners[id(stream)]
        self.counts.under_way = len(self._running.streams)
        for writing in late:
            writing.give(Problem(504, "the request's deadline passed while its text was written"))

    def _deliver(self, found: Sequence[tuple[Stream, Piece]]) -> None:
        now = time.monotonic()
        owners = [self._owners[id(stream)] for stream, _ in found]
        for (stream, piece), (writing, number) in zip(found, owners, strict=True):
            before = writing.last.get(number)
            (self.counts.first if before is None else self.counts.each).add(now - (before or writing.queued))
            writing.last[number] = now
            if piece.finish:
                del self._owners[id(stream)]
        self.counts.wrote(len(found))
        self.counts.under_way = len(self._running.streams)
        for (_, piece), (writing, number) in zip(found, owners, strict=True):
            writing.give((number, piece))

    def _fail(self, error: Exception) -> None:
        """Tell everyone who waits that nothing more comes, and begin anew."""
        with self._wake:
            waiting = [writing for writing, _ in (*self._owners.values(), *self._queue)]
            self._queue.clear()
            self._owners.clear()
        self._running = Running(self.generator.decoder())
        self.counts.under_way = self.counts.waiting = 0
        for writing in {id(one): one for one in waiting}.values():
            writing.cancel()
            writing.give(error)
