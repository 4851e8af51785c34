"""What the V1 protocol of KServe adds to TensorFlow Serving's REST interface.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol

`POST /v1/models/NAME:predict` and `GET /v1/models/NAME` are in `tfserving.py`: their replies satisfy both.
"""

from __future__ import annotations

from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.openai_forms import model_json
from bedplate.serving.problems import Problem
from bedplate.serving.repository import Missing
from bedplate.serving.routes import Handler, Route
from bedplate.serving.tfserving import STRICT
from bedplate.serving.tfserving_signature import not_found


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's own routes; none where TensorFlow Serving alone is asked for."""
    if plane.compat == STRICT:
        return []
    missing: Missing = not_found

    async def models(_: Ask) -> Reply:
        names = sorted(plane.repository.models)
        # KServe reads `models`, OpenAI's clients `object` and `data`.
        listed = [model_json(name, plane.started) for name in names]
        return json_reply({"models": names, "object": "list", "data": listed})

    async def explain(ask: Ask) -> Reply:
        plane.repository.find(ask.parameters["name"], missing=missing)
        raise Problem(501, "this server gives no explanations; ask for a prediction with :predict")

    return [
        Route("GET", "/v1/models", models, ignore_case=True),
        Route("POST", "/v1/models/{name}:explain", explain, ignore_case=True),
    ]


def alive_or(plane: DataPlane, page: Handler) -> Handler:
    """Return the handler of `/`: the page for people, and KServe's liveness for programs.

    A program is who accepts JSON but no HTML; with `compat` "kserve", whoever doesn't name HTML.
    """

    async def handle(ask: Ask) -> Reply:
        accepted = ask.headers.get("accept")
        program = plane.compat == "kserve" or "application/json" in accepted
        if program and "text/html" not in accepted:
            return json_reply({"status": "alive"})
        return await page(ask)

    return handle
