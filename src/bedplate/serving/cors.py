"""Cross-origin requests: which pages may ask this server.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.routes import Route
from bedplate.serving.web import Guard

_METHODS = b"GET, POST, PUT, DELETE, OPTIONS"
_HEADERS = b"authorization, content-type, content-encoding, inference-header-content-length, x-request-id, x-request-timeout, traceparent, tracestate"  # noqa: E501
_SHOWN = b"inference-header-content-length, x-request-id, retry-after"


class CorsGuard(Guard):
    """Tell browsers that pages of some origins may read the replies; "*" stands for all."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    def preflight(self, ask: Ask, route: Route | None) -> Reply | None:
        """Answer a browser's question before its request."""
        if ask.method != "OPTIONS" or "access-control-request-method" not in ask.headers:
            return None
        return Reply(
            b"", 204, headers=[
                (b"access-control-allow-methods", _METHODS), (b"access-control-allow-headers", _HEADERS),
                (b"access-control-max-age", b"600"),
            ],
        )  # fmt: skip

    def finish(self, ask: Ask, reply: Reply, seconds: float) -> None:
        """Add what the browser wants to read."""
        origin = ask.headers.get("origin")
        if not origin or not (self._all or origin in self._origins):
            return
        allowed = b"*" if self._all else origin.encode("latin-1")
        reply.headers += [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _SHOWN)]
        if not self._all:
            reply.headers.append((b"vary", b"Origin"))
