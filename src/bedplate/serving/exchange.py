"""What a request and a reply are to every protocol, free of any web framework."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from bedplate.core.arrays import Arrays

if TYPE_CHECKING:
    from bedplate.serving.models import Model
    from bedplate.serving.routes import Route

JSON = b"application/json"


class Headers:
    """A request's headers; names in any case. Where one stands twice, the last counts."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._raw = raw if isinstance(raw, dict) else dict(raw)

    def get(self, name: str, default: str = "") -> str:
        """Return a header's value, or the default."""
        found = self._raw.get(_key(name))
        return default if found is None else found.decode("latin-1")

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._raw


@functools.lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return name.lower().encode("latin-1")


@dataclass(slots=True)
class Ask:
    """One HTTP request.

    `route` and the `parameters` of its path are known once it was let in, and the `user` whose token let it in;
    `deadline` is in monotonic seconds, `begun` in those of the performance counter.
    """

    method: str
    path: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    query_string: bytes = b""
    parameters: dict[str, str] = field(default_factory=dict)
    client: str = ""
    request_id: str = ""
    deadline: float | None = None
    route: Route | None = None
    begun: float = 0.0
    user: str = ""

    @property
    def own_deadline(self) -> bool:
        """Whether the caller has named a deadline: it is for the whole reply, the server's for its beginning."""
        return "grpc-timeout" in self.headers or "x-request-timeout" in self.headers

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter's last value, or the default."""
        pairs = parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)
        return next((value for key, value in reversed(pairs) if key == name), default)


@dataclass(slots=True)
class Reply:
    """One HTTP reply; a body in parts is streamed."""

    body: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    media_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def close(self) -> None:
        """Tell a body in parts that nobody asks for more."""
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()


@dataclass(slots=True)
class Question:
    """What a protocol read out of a request: checked tensors, and whatever it needs to write the reply."""

    inputs: Arrays
    rows: int
    notes: Any = None
    deadline: float | None = None


@dataclass(slots=True)
class Call:
    """One request to a model. `payload` is an `Ask`, or a gRPC message."""

    model: Model
    payload: Any
    size: int
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one kind of request is read and answered; the way between is the same for all (`dataplane.py`).

    Attributes:
        name: as metrics and logs call it.
        read: Call → Question; raises Problem for what doesn't fit the contract.
        write: (Call, Question, outputs by name) → the reply.
        light: bytes of body up to which reading may be done between two other requests, without a thread.
    """

    name: str
    read: Callable[[Call], Question]
    write: Callable[[Call, Question, Arrays], Any]
    light: int = 128 << 10


def soonest(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two deadlines; None stands for no deadline."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def after(seconds: float) -> float:
    """Return the deadline that lies `seconds` from now."""
    return time.monotonic() + seconds
