"""Bedplate's own interface: payloads as a user has them in, answers as a person reads them out."""

from __future__ import annotations

from itertools import islice

from bedplate.core.arrays import Arrays, count
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.describe import describe
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.native_payloads import payloads
from bedplate.serving.native_stream import stream, wants_stream
from bedplate.serving.native_text import answer as native_text
from bedplate.serving.problems import Problem
from bedplate.serving.routes import Route
from bedplate.serving.tensors import MOST_ROWS
from bedplate.serving.web import model_handler


def routes(plane: DataPlane) -> list[Route]:
    """Return the interface's routes."""

    async def models(_: Ask) -> Reply:
        return json_reply({"models": [describe(model) for model in plane.repository.models.values()]})

    async def health(_: Ask) -> Reply:
        hanging = plane.hanging()
        word = "stopping" if not plane.ready else "hanging" if hanging else "ok"
        status = {"status": word, "models": sorted(plane.repository.models)}
        return json_reply(status | ({"hanging": hanging} if hanging else {}), 200 if word == "ok" else 503)

    at_once = model_handler(plane, NATIVE)

    async def predict(ask: Ask) -> Reply:
        path = ask.parameters
        try:
            model = plane.repository.find(path["name"], path.get("version", ""), path.get("label", ""))
        except Problem:  # the handlers below count and tell it
            model = None
        if model is not None and model.streams is not None:
            return await native_text(plane, model, ask)
        return await (stream(plane, ask) if wants_stream(ask) else at_once(ask))

    return [
        Route("POST", "/predict/{name}", predict),
        Route("POST", "/predict/{name}/versions/{version}", predict),
        Route("POST", "/predict/{name}/labels/{label}", predict),
        Route("GET", "/models", models),
        Route("GET", "/healthz", health, role=""),
    ]


def read(call: Call) -> Question:
    """Read an image's bytes, JSON, a form, or for tables a row, a list of rows, JSON lines or CSV."""
    ask: Ask = call.payload
    given = payloads(call.model, ask.body, ask.headers.get("content-type"))
    rows = list(islice(given.items, MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        raise Problem(
            413, f"more than {MOST_ROWS:,} rows in one request; send several, or ask for a stream with ?stream=true"
        )
    arrays = given.decode(rows)
    return Question(arrays, count(arrays), rows)


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Answer with labels and probabilities, with a number, or with tensors."""
    model = call.model
    answers = model.bundle.answered(outputs, question.inputs, question.notes)
    return Reply(
        to_json({"model": model.name, "version": model.version, "bundle": model.bundle.id, "answers": answers})
    )


# Images are decoded in threads, whatever their size.
NATIVE = Protocol("native", read, write, light=512)
