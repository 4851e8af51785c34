"""All protocols over one data plane. Embed them as an ASGI application, or let `bedplate.serving.serve` run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import grpc

from bedplate.bundle import Bundle
from bedplate.serving import (
    kserve,
    management,
    native,
    oip,
    oip_grpc,
    openai,
    openai_embeddings,
    tfserving,
    tfserving_grpc,
)
from bedplate.serving.asgi import AsgiApp
from bedplate.serving.body import Limits
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.openapi import openapi
from bedplate.serving.routes import Handler, Route
from bedplate.serving.web import Guard, WebApp

# Nothing on these pages comes from elsewhere, and nothing they hold may be sent elsewhere.
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:;"
    b" connect-src 'self'"
)


def create_app(
    bundles: Sequence[tuple[str, Bundle]],
    *,
    state: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> AsgiApp:
    """Return the ASGI application for opened bundles, to be embedded into another.

    Args:
        bundles: (name to serve under, bundle); an empty name takes the bundle's own.
        state: the folder where sketches are kept over restarts; None keeps them in memory only.
        say: is told what happened to the state; None logs it.

    Raises:
        InputError: two bundles of one name, or the state folder can't be used.
        BundleError: the golden rows get other answers on this machine.
    """
    plane = DataPlane(state=state, say=say)
    plane.serve(bundles)
    return AsgiApp(application(plane))


def application(plane: DataPlane, *, limits: Limits | None = None, guards: Iterable[Guard] = ()) -> WebApp:
    """Return the application of a data plane with all protocols."""

    async def description(_: Ask) -> Reply:
        return json_reply(openapi(plane, app.routes.all))

    app = WebApp(
        plane,
        [
            Route("GET", "/", kserve.alive_or(plane, _page("page.html")), role=""),
            Route("GET", "/docs", _page("docs.html"), role=""),
            Route("GET", "/openapi.json", description, role=""),
            *native.routes(plane),
            *management.routes(plane),
            *oip.routes(plane),
            *openai_embeddings.routes(plane),
            *openai.routes(plane),
            *kserve.routes(plane),
            *tfserving.routes(plane),
        ],
        limits=limits,
        guards=guards,
    )
    return app


def rpc_handlers(plane: DataPlane) -> list[grpc.GenericRpcHandler]:
    """Return the gRPC services of all protocols over a data plane."""
    return [*tfserving_grpc.handlers(plane), *oip_grpc.handlers(plane)]


def _page(name: str) -> Handler:
    folder = files("bedplate.serving") / "static"
    text = (folder / name).read_bytes().replace(b"/* live.js */", (folder / "live.js").read_bytes())
    headers = [(b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff")]

    async def page(_: Ask) -> Reply:
        return Reply(text, media_type=b"text/html; charset=utf-8", headers=list(headers))

    return page
