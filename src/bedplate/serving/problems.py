"""What a server answers when it can't do as it was asked: a status and a sentence."""

from __future__ import annotations

from typing import Any

from bedplate.core.errors import BedplateError, listing


class Problem(Exception):
    """An HTTP error with a message for the caller.

    `facts` go beside `error` into the reply's JSON; `retry_after` is in seconds; `allow` names the methods of a 405.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        facts: dict[str, Any] | None = None,
        retry_after: float | None = None,
        allow: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status, self.message, self.facts = status, message, facts or {}
        self.retry_after, self.allow, self.headers = retry_after, allow, headers or {}
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        """Return the reply's body."""
        return {"error": self.message, **self.facts}


def bad_request(message: str) -> Problem:
    """Return a 400."""
    return Problem(400, message)


def from_error(error: BedplateError) -> Problem:
    """Return a 400 that carries an error's fields; payloads at fault name no path of the server."""
    facts = {key: value for key, value in error.to_json().items() if key != "error"}
    return Problem(400, error.message, facts=facts)


def unknown_version(name: str, asked: str, known: list[int]) -> Problem:
    """Return a 404 that names the versions that answer."""
    return Problem(404, f"no version or label '{asked[:100]}' of '{name}' is served here; there are: {known[:100]}")


def unknown_model(name: str, known: list[str]) -> Problem:
    """Return a 404 that names the models that are there."""
    return Problem(404, f"no model '{name[:100]}' is served here; there are: {listing(known)}")
