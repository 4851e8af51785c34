"""Bedplate's own interface: payloads as a user has them in, answers as a person reads them out."""

from __future__ import annotations

from typing import Any

from bedplate.codecs.rows import read_rows
from bedplate.codecs.table import TableCodec
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import PayloadError
from bedplate.serving.body import json_kind, parse_json
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.describe import describe
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.problems import Problem, bad_request, from_error
from bedplate.serving.routes import Route
from bedplate.serving.tensors import MOST_ROWS
from bedplate.serving.web import model_handler

_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")


def routes(plane: DataPlane) -> list[Route]:
    """Return the interface's routes."""

    async def models(_: Ask) -> Reply:
        return json_reply({"models": [describe(model) for model in plane.repository.models.values()]})

    async def health(_: Ask) -> Reply:
        status = {"status": "ok" if plane.ready else "stopping", "models": sorted(plane.repository.models)}
        return json_reply(status, 200 if plane.ready else 503)

    async def metrics(_: Ask) -> Reply:
        return Reply(plane.metrics.text(), media_type=plane.metrics.content_type.encode())

    return [
        Route("POST", "/predict/{name}", model_handler(plane, NATIVE)),
        Route("GET", "/models", models),
        Route("GET", "/healthz", health, role=""),
        Route("GET", "/metrics", metrics, role="metrics"),
    ]


def read(call: Call) -> Question:
    """Read an image's bytes, or JSON; for tables a row, a list of rows, or CSV."""
    ask: Ask = call.payload
    if not ask.body.strip():
        raise bad_request("the body is empty")
    kind = ask.headers.get("content-type").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise Problem(415, "forms aren't read; send the file itself as the body")
    arrays = _table(call, ask.body, kind) if call.model.is_table else _images(call, ask.body, kind)
    return Question(arrays, count(arrays))


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Answer with labels and probabilities, or with a number."""
    answers = call.model.bundle.answers.encode(outputs)
    return Reply(to_json({"model": call.model.name, "bundle": call.model.bundle.id, "answers": answers}))


# Images are decoded in threads, whatever their size.
NATIVE = Protocol("native", read, write, light=512)


def _is_json(kind: str, body: bytes) -> bool:
    return kind == "application/json" or kind.endswith("+json") or body.lstrip()[:1] in (b"{", b"[")


def _images(call: Call, body: bytes, kind: str) -> Arrays:
    if not _is_json(kind, body):
        return call.model.decode([body])
    value = parse_json(body)
    spec = call.model.inputs[0]
    if isinstance(value, dict):
        value = [value]
    elif isinstance(value, list) and _sizes(value) in (spec.shape, spec.shape[: 2 if spec.shape[2] == 1 else 3]):
        value = [value]  # one image's nested lists; a grey one may leave its channel out
    return call.model.decode_json(_rows(value), "images")


def _table(call: Call, body: bytes, kind: str) -> Arrays:
    if _is_json(kind, body) and kind not in ("text/csv", "application/x-ndjson", "application/jsonl"):
        value = parse_json(body)
        return call.model.decode(_rows([value] if isinstance(value, dict) else value))
    if body.startswith(_PACKED):
        # A packed file is unpacked without a limit by the reader of files; the header has one.
        raise Problem(415, "packed files aren't read; send the plain rows, or gzip with Content-Encoding: gzip")
    codec = call.model.bundle.codec
    assert isinstance(codec, TableCodec)
    rows: list[Any] = []
    try:
        for _, row in read_rows(body, name="the body", codec=codec):
            rows.append(row)
            if len(rows) > MOST_ROWS:
                raise Problem(413, f"more than {MOST_ROWS:,} rows in one request; send several")
    except PayloadError as error:
        raise from_error(error) from error
    return call.model.decode(rows)


def _rows(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise bad_request(f"expected a JSON object or a list, received {json_kind(value)}")
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    """Return the lengths of nested lists, along their first items."""
    sizes: list[int] = []
    while isinstance(value, list) and value and len(sizes) < 8:
        sizes.append(len(value))
        value = value[0]
    return tuple(sizes)
