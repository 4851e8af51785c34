"""The REST interface of TensorFlow Serving, which the V1 protocol of KServe shares.

https://www.tensorflow.org/tfx/serving/api_rest

Predict in its row form (`instances`) and column form (`inputs`), classify and regress, status and metadata, by version
and by label. Rows of a table are objects by column; an image is `{"b64": "…"}` or nested lists.
"""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.models import Model
from bedplate.serving.openai_forms import model_json
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.repository import number_of
from bedplate.serving.routes import Handler, Route
from bedplate.serving.tfserving_examples import CLASSIFY, REGRESS, read_json, results
from bedplate.serving.tfserving_read import read_predict
from bedplate.serving.tfserving_signature import metadata_json, not_found, status_json, versions
from bedplate.serving.web import model_handler

STRICT = "tfserving"
"""The value of `ServerSpec.compat` with which TensorFlow Serving's own replies win."""


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's routes; the last takes all of /v1 that no other answers."""
    strict = plane.compat == STRICT

    def model(path: dict[str, str]) -> Model:
        return plane.repository.find(path["name"], path.get("version", ""), path.get("label", ""), not_found)

    async def status(ask: Ask) -> Reply:
        path = _checked(ask)
        found = status_json(versions(plane.repository, path["name"], path.get("version", ""), path.get("label", "")))
        if strict or len(path) > 1:
            return json_reply(found)
        ready = plane.repository.newest(path["name"]) is not None
        listed = model_json(path["name"], plane.started)  # as OpenAI's clients read it
        return json_reply({"name": path["name"], "ready": ready, **listed, **found})

    async def metadata(ask: Ask) -> Reply:
        return json_reply(metadata_json(model(_checked(ask))))

    async def no_name(_: Ask) -> Reply:
        raise bad_request("Missing model name in request.")

    async def malformed(ask: Ask) -> Reply:
        raise malformed_request(ask)

    def only(allow: str) -> Handler:
        async def wrong_method(ask: Ask) -> Reply:
            raise malformed_request(ask) if strict else Problem(405, malformed_request(ask).message, allow=allow)

        return wrong_method

    found = [Route("GET", "/v1/models", no_name, ignore_case=True)] if strict else []
    for base in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}", "/v1/models/{name}/labels/{label}"):
        for verb, protocol in _PROTOCOLS.items():
            path = f"{base}:{verb}"
            found += [
                Route("POST", path, _checking(model_handler(plane, protocol, not_found)), ignore_case=True),
                Route("*", path, only("POST"), ignore_case=True),
            ]
        found += [
            Route("GET", f"{base}/metadata", metadata, ignore_case=True),
            Route("GET", base, status, ignore_case=True),
            *(Route("*", path, only("GET"), ignore_case=True) for path in (f"{base}/metadata", base)),
        ]
    found += [
        Route("*", "/v1/models", only("GET"), ignore_case=True),
        Route("*", "/v1/models/{name}:explain", only("POST"), ignore_case=True),
    ]
    return [*found, Route("*", "/v1/{rest:*}", malformed, ignore_case=True)]


def malformed_request(ask: Ask) -> Problem:
    """Return TensorFlow Serving's word for a path that it doesn't know."""
    return bad_request(f"Malformed request: {ask.method} {ask.path[:200]}")


def _checked(ask: Ask) -> dict[str, str]:
    version = ask.parameters.get("version")
    if version is not None:
        if not (version.isascii() and version.isdigit()):
            raise malformed_request(ask)
        if not 0 <= number_of(version) < 1 << 63:
            raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return ask.parameters


def _checking(handler: Any) -> Any:
    async def handle(ask: Ask) -> Reply:
        _checked(ask)
        reply: Reply = await handler(ask)
        return reply

    return handle


def write_predict(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Write the outputs under the key that the form of the request asks for; bare where there is one."""
    names = [spec.name for spec in call.model.outputs]
    rows = question.notes == "predictions"
    given = {name: _as_json(name, outputs[name]) for name in names}
    if len(names) == 1:
        return _reply({question.notes: given[names[0]]})
    if not rows:
        return _reply({"outputs": given})
    sizes = {len(value) for value in given.values()}
    if len(sizes) > 1:
        raise bad_request(
            f"the outputs {', '.join(names)} have inconsistent batch sizes ({min(sizes)} to {max(sizes)});"
            " ask with 'inputs'"
        )
    return _reply({"predictions": [dict(zip(names, row, strict=True)) for row in zip(*given.values(), strict=True)]})


def _as_json(name: str, array: np.ndarray) -> Any:
    """Return an output as `to_json` takes it: numbers as the array itself, texts as lists."""
    if array.dtype.kind not in "OUS":
        return np.ascontiguousarray(array)
    return _texts(array.tolist(), name.endswith("_bytes"))


def _texts(value: Any, packed: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, packed) for item in value]
    if packed:
        raw = value if isinstance(value, bytes) else str(value).encode()
        return {"b64": base64.b64encode(raw).decode()}
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _reply(value: dict[str, Any]) -> Reply:
    if _finite(value):
        return Reply(to_json(value))
    return Reply(json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode())


def _finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.floating):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or bool(np.isfinite(value))


def _plain(value: Any) -> Any:
    """Return JSON values in which NaN and infinity may stand; they are written as the tokens of these names."""
    if isinstance(value, np.ndarray | np.generic):
        short = value.astype(str).astype(np.float64) if value.dtype.name in ("float16", "float32") else value
        return short.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _write_results(call: Call, _: Question, outputs: Arrays) -> Reply:
    return _reply({"results": results(call.model, outputs)})


TFSERVING = Protocol("tfserving", read_predict, write_predict)
_PROTOCOLS = {
    "predict": TFSERVING,
    CLASSIFY: Protocol("tfserving", partial(read_json, verb=CLASSIFY), _write_results),
    REGRESS: Protocol("tfserving", partial(read_json, verb=REGRESS), _write_results),
}
