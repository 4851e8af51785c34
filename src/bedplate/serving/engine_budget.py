"""All models of a process together use no more threads than are granted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from bedplate.core.arrays import Arrays
from bedplate.serving.batcher import Outputs


class ThreadBudget:
    """Lets calls begin, in the order in which they come, while the threads that they use are free.

    Each engine has threads of its own: two models that are busy at once would otherwise run on twice the processors.

    Args:
        threads: what all calls at once may use together.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._free = threads
        self._queue: deque[object] = deque()
        self._turn = threading.Condition()

    def gate(self, run: Callable[[Arrays], Outputs], threads: int) -> Callable[[Arrays], Outputs]:
        """Return `run`, whose calls wait until `threads` are free (all of them, where it uses more than there are)."""
        needed = min(threads, self.threads)

        def gated(inputs: Arrays) -> Outputs:
            me = object()
            with self._turn:
                self._queue.append(me)
                # First come, first served: else one call of many threads would wait for ever behind many of one.
                self._turn.wait_for(lambda: self._queue[0] is me and self._free >= needed)
                self._queue.popleft()
                self._free -= needed
                self._turn.notify_all()
            try:
                return run(inputs)
            finally:
                with self._turn:
                    self._free += needed
                    self._turn.notify_all()

        return gated
