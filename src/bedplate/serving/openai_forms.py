"""OpenAI's wire forms: how a request's fields are read, how errors and events are written.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bedplate.core.errors import BedplateError, did_you_mean, json_kind, json_text
from bedplate.serving.body import json_object
from bedplate.serving.dataplane import json_reply, to_json
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.problems import Problem
from bedplate.serving.routes import Handler

EVENTS = b"text/event-stream"
DONE = b"data: [DONE]\n\n"

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def event(value: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"


def identity(kind: str) -> str:
    """Return a new id, such as "cmpl-1f3c…"."""
    return f"{kind}-{os.urandom(12).hex()}"


def model_json(name: str, created: float) -> dict[str, Any]:
    """Return what OpenAI's list of models says of one; `created` is in seconds since 1970."""
    return {"id": name, "object": "model", "created": int(created), "owned_by": "bedplate"}


def error_json(problem: Problem) -> dict[str, Any]:
    """Return a Problem in OpenAI's form; `param` and `code` come from its facts where they are there."""
    kind = _TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    facts = problem.facts
    told = "; ".join(f"{name} {facts[name]}" for name in ("expected", "received") if name in facts)
    message = problem.message + (f" ({told})" if told and told not in problem.message else "")
    return {"error": {"message": message, "type": kind, "param": facts.get("param"), "code": facts.get("code")}}


def error_reply(problem: Problem) -> Reply:
    """Return a Problem as a reply in OpenAI's form."""
    reply = json_reply(error_json(problem), problem.status)
    if problem.retry_after is not None:
        reply.headers.append((b"retry-after", str(max(1, round(problem.retry_after))).encode()))
    if problem.allow:
        reply.headers.append((b"allow", problem.allow.encode()))
    return reply


def in_form(handler: Handler) -> Handler:
    """Return a handler whose Problems are answered in OpenAI's form."""

    async def handle(ask: Ask) -> Reply:
        try:
            return await handler(ask)
        except Problem as problem:
            return error_reply(problem)

    return handle


def wrong(name: str, message: str, code: str | None = None) -> Problem:
    """Return a 400 that names the field at fault."""
    return Problem(400, f"{name}: {message}", facts={"param": name, "code": code})


def of_field(name: str, error: BedplateError, code: str | None = None) -> Problem:
    """Return an error of what a field holds as a 400 that names the field."""
    facts = [f"expected {error.expected}"] if error.expected else []
    facts += [f"received {error.received}"] if error.received else []
    text = error.what + (f" ({'; '.join(facts)})" if facts else "") + (f". {error.hint}" if error.hint else "")
    return wrong(name, text, code)


class Fields:
    """A request's fields: each is taken once, and what nobody takes is told to be unknown.

    Raises:
        Problem: 400 where the body is no JSON object.
    """

    def __init__(self, body: bytes) -> None:
        self._left = json_object(body)
        self._known: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        """Return a field's value; null counts as left out."""
        self._known.append(name)
        value = self._left.pop(name, None)
        return default if value is None else value

    def text(self, name: str, *, needed: bool = False) -> str:
        """Return a field that holds a string. Raises Problem."""
        value = self.take(name, "")
        if not isinstance(value, str) or (needed and not value):
            raise wrong(name, f"expected a string, received {json_kind(value) if value != '' else 'nothing'}")
        return value

    def truth(self, name: str) -> bool:
        """Return a field that holds true or false; false where it is left out. Raises Problem."""
        value = self.take(name, False)
        if not isinstance(value, bool):
            raise wrong(name, f"expected true or false, received {json_kind(value)}")
        return value

    def whole(self, name: str, default: int | None, least: int, most: int) -> int | None:
        """Return a field that holds a whole number in a range. Raises Problem."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(name, f"expected a whole number from {least:,} to {most:,}, received {json_text(value, 40)}")
        return value

    def only(self, name: str, neutral: Iterable[Any], why: str) -> None:
        """Refuse a field unless it says what happens in any case."""
        value = self.take(name)
        if value is not None and not any(value == one and type(value) is type(one) for one in neutral):
            raise wrong(name, f"{why}; leave it out", "unsupported_parameter")

    def end(self) -> None:
        """Raise a Problem that names a field which nobody knows."""
        for name in self._left:
            hint = did_you_mean(name, self._known)
            raise wrong(name[:100], "no such field" + (f"; {hint}" if hint else ""), "unknown_parameter")
