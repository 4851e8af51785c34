"""The ASGI application: all protocols over one data plane. Embed it, or let `bedplate.serving.serve` run it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from bedplate.bundle import Bundle
from bedplate.serving import native, oip, tfserving
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.openapi import openapi

log = logging.getLogger("bedplate.serving")

# Nothing on these pages comes from elsewhere, and nothing they hold may be sent elsewhere.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)


def create_app(
    bundles: Sequence[tuple[str, Bundle]],
    *,
    state: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Starlette:
    """Return the application for opened bundles.

    Args:
        bundles: (name to serve under, bundle); an empty name takes the bundle's own.
        state: the folder where sketches are kept over restarts; None keeps them in memory only.
        say: is told what happened to the state; None logs it.

    Raises:
        InputError: two bundles of one name, or the state folder can't be used.
        BundleError: the golden rows get other answers on this machine.
    """
    plane = DataPlane(bundles, state=state, say=say or log.info)
    described = openapi(plane)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        plane.close()

    async def description(_: Request) -> Response:
        return json_reply(described)

    app = Starlette(
        routes=[
            Route("/", _page("page.html")),
            Route("/docs", _page("docs.html")),
            Route("/openapi.json", description),
            *native.routes(plane),
            *oip.routes(plane),
            *tfserving.routes(plane),
        ],
        exception_handlers={HTTPException: _explained},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.plane = plane
    return app


def _page(name: str) -> Callable[[Request], object]:
    text = (files("bedplate.serving") / "static" / name).read_text(encoding="utf-8")

    async def page(_: Request) -> Response:
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})

    return page


async def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    allowed = (error.headers or {}).get("Allow", "another method")
    messages = {
        404: f"nothing is served at {path}; / is a page for people, /docs lists all paths",
        405: f"{request.method} isn't answered at {path}; allowed: {allowed}",
    }
    reply = json_reply({"error": messages.get(error.status_code, error.detail)}, error.status_code)
    for key, value in (error.headers or {}).items():
        reply.headers[key] = value
    return reply
