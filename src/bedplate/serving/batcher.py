"""The queue before a model: take what waits when a runner is free, drop what expired, refuse what can't be held.

All of it happens on the event loop, so nothing is locked. A model that is quick is run right there, between two
reads of the network; others are run by threads, of which there are as many as the plan says.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from bedplate.core.arrays import Arrays, concatenate, count, take
from bedplate.serving.costs import CostModel
from bedplate.serving.problems import Problem

Outputs = dict[str, np.ndarray]

QUEUE_SECONDS = 10.0
"""How long the queue may get, in seconds of work."""

MOST_WAITING = 256, 200_000
"""The bounds of a queue in rows, however slow or quick the model is."""

_LOOK_EVERY = 0.01


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a model's requests are brought together.

    Attributes:
        most_rows: rows of one batch; 1 switches batching off. A request with more rows is run in parts.
        most_wait: seconds that a request may wait for others where the cost model says that it pays; 0 never waits.
        runners: batches that may run at once.
        inline: run on the event loop; for models whose full batch takes about a millisecond at most.
        most_waiting: rows that may wait; a request beyond is refused with 429.
    """

    most_rows: int = 32
    most_wait: float = 0.0
    runners: int = 1
    inline: bool = False
    most_waiting: int = 10_000

    def bounded(self, costs: CostModel) -> BatchPlan:
        """Return the plan with room for as many rows as are run in `QUEUE_SECONDS`."""
        rows = QUEUE_SECONDS * self.runners * self.most_rows / max(costs.seconds(self.most_rows), 1e-6)
        return replace(self, most_waiting=int(min(max(rows, MOST_WAITING[0]), MOST_WAITING[1])))


@dataclass(slots=True)
class Ticket:
    """One request in the queue, and what became of it."""

    inputs: Arrays
    rows: int
    deadline: float | None
    future: asyncio.Future[Outputs]
    queued: float
    begun: float = 0.0
    ended: float = 0.0
    batch: int = 0


@dataclass(slots=True)
class Finished:
    """What became of a request: its outputs, and when it was queued, begun and ended, in monotonic seconds."""

    outputs: Outputs
    queued: float
    begun: float
    ended: float


class Batcher:
    """The queue of one model.

    Args:
        run: `Predict` of the model; it may be called by several threads at once.
        plan: sizes and limits.
        executor: whose threads run the model where the plan says that it isn't run inline.
        costs: what is known of its times already.
        observe: is told (rows, seconds) of every batch.
    """

    def __init__(
        self,
        run: Callable[[Arrays], Outputs],
        plan: BatchPlan,
        executor: Executor | None = None,
        costs: CostModel | None = None,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        if executor is None and not plan.inline:
            raise ValueError("who shall run the batches?")
        self.plan = plan
        self.costs = costs or CostModel()
        self.rows_waiting = 0
        self._run = run
        # With one row a batch nobody is waited for, so that a queue and a turn of the loop would only cost time.
        self._at_once = plan.inline and plan.most_rows == 1
        self._executor = executor
        self._observe = observe
        self._waiting: deque[Ticket] = deque()
        self._free = plan.runners
        self._scheduled = False
        self._gap: float | None = None  # seconds between two requests, smoothed
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[int, tuple[float, list[Ticket]]] = {}
        self._number = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    def oldest(self) -> float | None:
        """Return when the batch was handed to a thread that has been gone the longest, in monotonic seconds."""
        return min((begun for begun, _ in self._running.values()), default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and self._free == self.plan.runners

    async def submit(self, inputs: Arrays, rows: int, deadline: float | None = None) -> Finished:
        """Return what became of a request.

        Raises:
            Problem: 429 where the queue is full, 504 where the deadline passed before the request was run, or while it
                was run in a thread. Such a run goes on, since it can't be stopped; its answer is for nobody.
        """
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            raise expired()
        if self.rows_waiting + rows > self.plan.most_waiting and self._waiting:
            raise Problem(
                429, f"the queue is full: {self.rows_waiting} rows wait already", retry_after=self._seconds_to_wait()
            )
        if self._last:
            gap = min(now - self._last, 1.0)
            self._gap = gap if self._gap is None else self._gap + 0.1 * (gap - self._gap)
        self._last = now
        if rows <= self.plan.most_rows:
            if self._at_once and not self._waiting:
                (result,), begun, ended = _run(self._run, [inputs])
                self._note(rows, ended - begun)
                if isinstance(result, BaseException):
                    raise result
                return Finished(result, now, begun, ended)
            ticket = self._queue(inputs, rows, deadline, now)
            outputs = await ticket.future
            return Finished(outputs, now, ticket.begun, ticket.ended)
        # In parts, each a batch at most, so that a request with many rows holds nobody else up.
        cuts = range(0, rows, self.plan.most_rows)
        pieces = [slice(k, min(k + self.plan.most_rows, rows)) for k in cuts]
        tickets = [self._queue(take(inputs, piece), piece.stop - piece.start, deadline, now) for piece in pieces]
        try:
            parts = await asyncio.gather(*(ticket.future for ticket in tickets))
        except BaseException:
            for ticket in tickets:
                ticket.future.cancel()
            raise
        return Finished(concatenate(parts), now, tickets[0].begun, tickets[-1].ended)

    def _queue(self, inputs: Arrays, rows: int, deadline: float | None, now: float) -> Ticket:
        loop = asyncio.get_running_loop()
        ticket = Ticket(inputs, rows, deadline, loop.create_future(), now)
        self._waiting.append(ticket)
        self.rows_waiting += rows
        if not self._scheduled and self._free:
            self._scheduled = True
            loop.call_soon(self._pump, loop)
        if deadline is not None and not self.plan.inline and (self._alarm is None or deadline < self._alarm_at):
            self._arm(loop, deadline, now)
        return ticket

    def _arm(self, loop: asyncio.AbstractEventLoop, deadline: float, now: float) -> None:
        """Look after deadlines at that time: no free runner may come round before."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = loop.call_later(max(0.0, deadline - now), self._look_after_deadlines, loop)

    def _look_after_deadlines(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer all whose time is up, also those that are being run."""
        self._alarm = None
        now = time.monotonic() + 1e-3  # the loop's clock counts in milliseconds
        for _, batch in self._running.values():
            for ticket in batch:
                if ticket.deadline is not None and ticket.deadline <= now and not ticket.future.done():
                    ticket.future.set_exception(Problem(504, "the request's deadline passed while it was run"))
        self._drop_expired(now)
        tickets = chain(self._waiting, *(batch for _, batch in self._running.values()))
        soonest = min((t.deadline for t in tickets if t.deadline is not None and not t.future.done()), default=None)
        if soonest is not None:  # all are looked through, so not too often
            self._arm(loop, max(soonest, now + _LOOK_EVERY), now)

    def _seconds_to_wait(self) -> float:
        whole = max(1, self.plan.most_rows)
        return self.costs.seconds(whole) * self.rows_waiting / whole / self.plan.runners

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a batch; come back later where more is to be done."""
        self._scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._free:
            return
        now = time.monotonic()
        self._drop_expired(now)
        if not self._waiting:
            return
        pause = self._worth_waiting(now)
        if pause:
            self._timer = loop.call_later(pause, self._pump, loop)
            return
        batch = self._take()
        if self.plan.inline:
            self._finish(batch, *_run(self._run, [ticket.inputs for ticket in batch]))
        else:
            assert self._executor is not None
            self._free -= 1
            self._number += 1
            self._running[self._number] = now, batch
            self._executor.submit(self._in_thread, loop, batch, self._number)
        if self._waiting and self._free and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._pump, loop)

    def _worth_waiting(self, now: float) -> float:
        """Return how many seconds to wait for company, 0 for none."""
        plan, first = self.plan, self._waiting[0]
        if not plan.most_wait or self._gap is None or self.rows_waiting >= plan.most_rows:
            return 0.0
        left = first.queued + plan.most_wait - now
        if first.deadline is not None:
            left = min(left, first.deadline - now - self.costs.seconds(self.rows_waiting + 1))
        if left <= self._gap or not self.costs.waiting_pays(self.rows_waiting, self._gap):
            return 0.0
        return min(left, 2 * self._gap)

    def _drop_expired(self, now: float) -> None:
        """Answer those whose deadline passed, or whose caller has gone, without running them."""
        gone = [t for t in self._waiting if t.future.done() or (t.deadline is not None and t.deadline <= now)]
        if not gone:
            return
        for ticket in gone:
            self.rows_waiting -= ticket.rows
            if not ticket.future.done():
                ticket.future.set_exception(expired())
        left = set(map(id, gone))
        self._waiting = deque(ticket for ticket in self._waiting if id(ticket) not in left)

    def _take(self) -> list[Ticket]:
        """Take the oldest request, and those behind it that fit into one batch with it."""
        batch = [self._waiting.popleft()]
        rows, shapes = batch[0].rows, _shapes(batch[0])
        while self._waiting:
            ticket = self._waiting[0]
            if rows + ticket.rows > self.plan.most_rows or _shapes(ticket) != shapes:
                break
            rows += ticket.rows
            batch.append(self._waiting.popleft())
        self.rows_waiting -= rows
        return batch

    def _in_thread(self, loop: asyncio.AbstractEventLoop, batch: list[Ticket], number: int) -> None:
        result = _run(self._run, [ticket.inputs for ticket in batch])
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server didn't wait for this one
            loop.call_soon_threadsafe(self._back, loop, batch, number, result)

    def _back(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[Ticket],
        number: int,
        result: tuple[list[Outputs | BaseException], float, float],
    ) -> None:
        self._free += 1
        del self._running[number]
        self._finish(batch, *result)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._pump, loop)

    def _note(self, rows: int, seconds: float) -> None:
        self.costs.add(rows, seconds)
        if self._observe is not None:
            self._observe(rows, seconds)

    def _finish(self, batch: list[Ticket], results: list[Outputs | BaseException], begun: float, ended: float) -> None:
        rows = sum(ticket.rows for ticket in batch)
        self._note(rows, ended - begun)
        for ticket, result in zip(batch, results, strict=True):
            ticket.begun, ticket.ended, ticket.batch = begun, ended, rows
            if ticket.future.done():  # its caller has gone
                continue
            if isinstance(result, BaseException):
                ticket.future.set_exception(result)
            else:
                ticket.future.set_result(result)


def expired() -> Problem:
    """Return what a request is answered whose deadline has passed."""
    return Problem(504, "the request's deadline passed before it was run")


def _shapes(ticket: Ticket) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in ticket.inputs.values()]


def _run(
    run: Callable[[Arrays], Outputs], requests: Sequence[Arrays]
) -> tuple[list[Outputs | BaseException], float, float]:
    """Run requests as a batch; where it fails, run them one by one, so that the one at fault fails alone."""
    begun = time.monotonic()
    results: list[Outputs | BaseException]
    try:
        if len(requests) == 1:
            results = [run(requests[0])]
        else:
            joined = run(concatenate(requests))
            results, start = [], 0
            for inputs in requests:
                rows = count(inputs)
                results.append({name: array[start : start + rows] for name, array in joined.items()})
                start += rows
    except Exception as error:  # noqa: BLE001 - whatever the engine raises belongs to the requests, not to the server
        results = [error] if len(requests) == 1 else [_run(run, [inputs])[0][0] for inputs in requests]
    return results, begun, time.monotonic()
