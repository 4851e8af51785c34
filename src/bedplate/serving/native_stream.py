"""Answer many rows line by line, as they are done: NDJSON that begins before the last row is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from bedplate.core.arrays import count
from bedplate.serving.dataplane import DataPlane, to_json
from bedplate.serving.exchange import Ask, Question, Reply, after
from bedplate.serving.held import Held, status_of
from bedplate.serving.models import Model
from bedplate.serving.native_payloads import Payloads, payloads
from bedplate.serving.problems import Problem, bad_request

log = logging.getLogger("bedplate.serving")

ROWS = 256
"""The most rows that are answered at once."""

MEDIA_TYPE = b"application/x-ndjson"

_SAID = {"true": True, "1": True, "false": False, "0": False}
_ASKED = ("application/x-ndjson", "application/ndjson", "application/jsonl")


def wants_stream(ask: Ask) -> bool:
    """Return whether a request asks to be answered line by line: by `Accept` or by `?stream=true`. Raises Problem."""
    if ask.query_string:
        said = ask.query("stream").lower()
        if said in _SAID:
            return _SAID[said]
        if said:
            raise bad_request(f"stream: expected true or false, received {said[:40]!r}")
    accepted = ask.headers.get("accept")
    return bool(accepted) and any(kind in accepted.lower() for kind in _ASKED)


async def stream(plane: DataPlane, ask: Ask) -> Reply:
    """Return a reply whose first lines are done already. Raises Problem where those fail."""
    path = ask.parameters
    try:
        model = plane.repository.find(path["name"], path.get("version", ""), path.get("label", ""))
    except Problem as problem:
        plane.metrics.refused("native", str(problem.status))
        raise
    lines = Lines(plane, model, ask)
    await lines.begin()
    headers = [(b"bedplate-model", model.name.encode()), (b"bedplate-version", model.version.encode())]
    return Reply(lines, media_type=MEDIA_TYPE, headers=headers)


class Lines:
    """The lines of one reply, in parts of at most 256 rows; an asynchronous iterator over bytes.

    The model is held until the last line, or until `aclose`.
    """

    def __init__(self, plane: DataPlane, model: Model, ask: Ask) -> None:
        self._plane, self._model, self._ask = plane, model, ask
        self._held = Held(plane, model, "native")
        # A caller's own deadline is for the whole reply; the server's is for each part.
        self._deadline = ask.deadline if ask.own_deadline else None
        self._given: Payloads | None = None
        self._left: Iterator[Any] = iter(())
        self._rows = 0
        self._first: bytes | None = None

    async def begin(self) -> None:
        """Make the first part. Raises Problem, and then holds the model no longer."""
        try:
            self._first = await self._part()
        except BaseException as error:
            self._held.end(status_of(error))
            raise

    def __aiter__(self) -> Lines:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next part; a fault gives one last line with `error` and the first row that wasn't answered."""
        if self._held.ended:
            raise StopAsyncIteration
        if self._first is not None:
            part, self._first = self._first, None
            return part
        try:
            made = await self._part()
        except Problem as problem:
            self._held.end(str(problem.status))
            return to_json(problem.to_json() | {"row": self._rows}) + b"\n"
        except Exception:  # the status is sent already, so the reply must say it
            log.exception("a stream of '%s' failed (request %s)", self._model.name, self._ask.request_id)
            self._held.end("500")
            return to_json({"error": "the server failed on this request; its log says why", "row": self._rows}) + b"\n"
        except BaseException:
            self._held.end("499")
            raise
        if made is None:
            self._held.end("200")
            raise StopAsyncIteration
        return made

    async def aclose(self) -> None:
        """Hold the model no longer, whatever is left."""
        self._held.end("499")

    async def _part(self) -> bytes | None:
        plane, model = self._plane, self._model
        question = await plane.do(False, self._decode)
        if question is None:
            return None
        deadline = self._deadline if self._deadline is not None else after(plane.timeout)
        outputs = await plane.predict(model, question, deadline)
        answers = model.bundle.answered(outputs, question.inputs, question.notes)
        self._rows += question.rows
        return b"".join(to_json(answer) + b"\n" for answer in answers)

    def _decode(self) -> Question | None:
        """Return the next rows, or None behind the last."""
        if self._given is None:
            self._given = payloads(self._model, self._ask.body, self._ask.headers.get("content-type"))
            self._left = iter(self._given.items)
        rows = list(islice(self._left, ROWS))
        if not rows and self._rows:
            return None
        arrays = self._given.decode(rows)
        return Question(arrays, count(arrays), rows)
