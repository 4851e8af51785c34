"""The one path of all protocols: read the body, decode, predict, encode, reply; counted, timed and watched."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from bedplate.bundle import Bundle
from bedplate.core.arrays import Arrays, count, predict_in_batches
from bedplate.core.errors import InputError
from bedplate.core.machine import threads_granted
from bedplate.serving.body import read_body
from bedplate.serving.metrics import Metrics
from bedplate.serving.models import VERSION, Model
from bedplate.serving.problems import Problem, unknown_model
from bedplate.serving.watch import Watcher

log = logging.getLogger("bedplate.serving")

MOST_BATCH = 512


@dataclass(frozen=True)
class Call:
    """One request to a model, as a protocol sees it."""

    model: Model
    body: bytes
    headers: Mapping[str, str]


Work = Callable[["DataPlane", Call], Any]
"""A protocol's work on one request: returns the reply's JSON value, or raises a Problem. Runs in a thread."""

Missing = Callable[[str, str | None], Problem]
"""A protocol's way to say that a model (and version) isn't there."""


class DataPlane:
    """The served models, and what all protocols do with them."""

    def __init__(
        self, bundles: Sequence[tuple[str, Bundle]], *, state: Path | None, say: Callable[[str], None]
    ) -> None:
        threads = threads_granted()
        self.metrics = Metrics()
        self.models: dict[str, Model] = {}
        for given, bundle in bundles:
            name = given or bundle.name
            if name in self.models:
                raise InputError(
                    f"two bundles would be served as '{name}'", hint="give one another name with --name NAME=BUNDLE"
                )
            if not name.isprintable() or any(c in name for c in "/:?#%\\ ") or name.startswith("."):
                raise InputError("not a name to serve under", received=repr(name), hint="use letters, digits, - and _")
            self.models[name] = Model(name, bundle, threads)
        for model in self.models.values():
            model.warm_up()
            self.metrics.add_model(model)
        self.watcher = Watcher(list(self.models.values()), self.metrics, state, say)
        # Two threads at least, so that one request's decoding overlaps another's predicting.
        self._pool = ThreadPoolExecutor(max(2, threads), thread_name_prefix="bedplate-serve")
        self.ready = True

    def close(self) -> None:
        """Finish the work in hand and save what was watched."""
        self.ready = False
        self._pool.shutdown(wait=True)
        self.watcher.close()

    def model(self, name: str, version: str | None = None, missing: Missing | None = None) -> Model:
        """Return a model by name and version, or raise a Problem 404."""
        found = self.models.get(name)
        if found is not None and version in (None, VERSION):
            return found
        raise missing(name, version) if missing else unknown_model(name, sorted(self.models))

    def predict(self, model: Model, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the outputs for checked tensors; the rows are counted and handed to the watcher."""
        outputs = predict_in_batches(model.predict, inputs, MOST_BATCH)
        self.metrics.rows.labels(model.name).inc(count(inputs))
        self.watcher.put(model.name, inputs, outputs)
        return outputs

    def endpoint(
        self, protocol: str, work: Work, missing: Missing | None = None
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of a route with `name` (and maybe `version`) in its path that does `work` in a thread."""

        async def handle(request: Request) -> Response:
            begin = time.perf_counter()
            name = request.path_params["name"]
            status, label = 500, name if name in self.models else ""
            try:
                model = self.model(name, request.path_params.get("version"), missing)
                call = Call(model, await read_body(request), request.headers)
                body = await asyncio.get_running_loop().run_in_executor(self._pool, self._reply, work, call)
                status = 200
                return Response(body, media_type="application/json")
            except Problem as problem:
                status = problem.status
                return problem_reply(problem)
            except Exception:  # the last resort: say that it failed, keep the reason in the log
                log.exception("%s request to '%s' failed", protocol, name)
                return problem_reply(Problem(500, "the server failed on this request; its log says why"))
            finally:
                self.metrics.requests.labels(label, protocol, str(status)).inc()
                self.metrics.seconds.labels(label, protocol).observe(time.perf_counter() - begin)

        return handle

    def _reply(self, work: Work, call: Call) -> bytes:
        return to_json(work(self, call))


def to_json(value: Any) -> bytes:
    """Return JSON bytes; NumPy arrays are written as they are."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def json_reply(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(to_json(value), status, media_type="application/json")


def problem_reply(problem: Problem) -> Response:
    """Return a Problem as a JSON response."""
    return json_reply(problem.to_json(), problem.status)
