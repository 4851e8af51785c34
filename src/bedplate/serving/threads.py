"""Threads that work is handed to, and that keep no process alive: a model that never comes back is left behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """A fixed number of daemon threads with one queue.

    The standard pool's threads are waited for when the process ends, however long they take: a server whose model hangs
    would never end.
    """

    def __init__(self, count: int, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._ended = False
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{k}", daemon=True) for k in range(count)]
        self._started = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand over a call. Raises RuntimeError after the end."""
        if self._ended:
            raise RuntimeError("these threads have ended")
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        future: Future[T] = Future()
        self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return when all are done."""
        self.end(threading.TIMEOUT_MAX if wait else 0.0)

    def end(self, seconds: float) -> bool:
        """Take no more calls, and wait so long for those in hand; return whether all are done."""
        if not self._ended:
            self._ended = True
            for _ in self._threads:
                self._work.put(None)
        if not self._started:
            return True
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever handed the call over
                    future.set_exception(error)
            del work, future, call  # else the last one's arrays stay until the next
