"""A model that is held while a reply goes out in parts, and the request counted once when it has."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

from bedplate.serving.dataplane import DataPlane
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem


class Held:
    """A lease on a model until `end`.

    Args:
        plane: whose metrics count the request.
        model: what is held.
        protocol: the name under which it is counted.
    """

    def __init__(self, plane: DataPlane, model: Model, protocol: str) -> None:
        self._plane, self._model, self._protocol = plane, model, protocol
        self._lease = ExitStack()
        self._lease.enter_context(model.lease())
        self._begun = time.perf_counter()
        self.ended = False

    def end(self, status: str) -> None:
        """Let go, and count the request with this status; only the first call does anything."""
        if self.ended:
            return
        self.ended = True
        self._lease.close()
        seconds = time.perf_counter() - self._begun
        counts = self._model.counts
        (counts.success if status == "200" else counts.fail).add(seconds)
        self._plane.metrics.answered(self._model, self._protocol, status, seconds)


def status_of(error: BaseException) -> str:
    """Return the status under which a request that failed so is counted."""
    if isinstance(error, Problem):
        return str(error.status)
    return "499" if isinstance(error, asyncio.CancelledError) else "500"
