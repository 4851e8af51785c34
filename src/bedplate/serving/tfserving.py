"""The REST interface of TensorFlow Serving.

https://www.tensorflow.org/tfx/serving/api_rest

`POST /v1/models/NAME:predict` in its row form (`instances`) and column form (`inputs`), status and metadata. Rows of a
table are objects by column; an image is `{"b64": "…"}` or nested lists. Unlike there, NaN and Infinity are refused.
"""

from __future__ import annotations

from typing import Any

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays, count
from bedplate.serving.body import json_kind, json_object
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.routes import Route
from bedplate.serving.web import model_handler

SIGNATURE = "serving_default"

_TYPES = {
    "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "uint8": "DT_UINT8", "int8": "DT_INT8", "int16": "DT_INT16",
    "uint16": "DT_UINT16", "int32": "DT_INT32", "uint32": "DT_UINT32", "int64": "DT_INT64", "uint64": "DT_UINT64",
    "bool": "DT_BOOL", "string": "DT_STRING",
}  # fmt: skip


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's routes."""

    def model(ask: Ask) -> Model:
        return plane.repository.find(ask.parameters["name"], ask.parameters.get("version", ""), missing=not_found)

    async def models(_: Ask) -> Reply:
        return json_reply({"models": sorted(plane.repository.models)})

    async def status(ask: Ask) -> Reply:
        state = {
            "version": model(ask).version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""},
        }  # fmt: skip
        return json_reply({"model_version_status": [state]})

    async def metadata(ask: Ask) -> Reply:
        return json_reply(model_metadata(model(ask)))

    async def malformed(ask: Ask) -> Reply:
        if ask.parameters["verb"] in ("classify", "regress"):
            raise Problem(501, f"'{ask.parameters['verb']}' needs tf.Example signatures, which these models don't have")
        raise bad_request(f"Malformed request: {ask.method} {ask.path[:200]}")

    async def wrong_method(_: Ask) -> Reply:
        raise Problem(405, "Malformed request: predict is asked by POST", allow="POST")

    handler = model_handler(plane, TFSERVING, not_found)
    found = [Route("GET", "/v1/models", models)]
    for base in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        found += [
            Route("POST", f"{base}:predict", handler),
            Route("POST", f"{base}:{{verb}}", malformed),
            Route("GET PUT DELETE", f"{base}:{{verb}}", wrong_method),
            Route("GET", f"{base}/metadata", metadata),
        ]
    return [
        *found,
        Route("GET", "/v1/models/{name}/versions/{version}", status),
        Route("GET", "/v1/models/{name}", status),
    ]


def not_found(name: str, version: str) -> Problem:
    """Return TensorFlow Serving's 404."""
    which = f"Specific({name[:100]}, {version[:20]})" if version else f"Latest({name[:100]})"
    return Problem(404, f"Servable not found for request: {which}")


def read(call: Call) -> Question:
    """Read one predict request; its notes say under which key the answer goes."""
    ask: Ask = call.payload
    request = json_object(ask.body)
    signature = request.get("signature_name", SIGNATURE)
    if signature not in ("", SIGNATURE):
        raise bad_request(f'Serving signature name: "{str(signature)[:100]}" not found in signature def')
    if ("instances" in request) == ("inputs" in request):
        both = "Request has both 'instances' and 'inputs'; give one" if "inputs" in request else None
        raise bad_request(both or "Missing 'inputs' or 'instances' key")
    if "instances" in request:
        rows = request["instances"]
        if not isinstance(rows, list) or not rows:
            raise bad_request(f"instances: expected a list with at least one row, received {json_kind(rows)}")
        arrays = call.model.decode_json(rows, "instances")
        return Question(arrays, len(rows), "predictions")
    inputs = request["inputs"]
    if isinstance(inputs, dict):
        arrays = call.model.decode_columns(inputs, "inputs")
    elif len(call.model.inputs) == 1 and not call.model.is_table:
        arrays = call.model.decode_columns({call.model.inputs[0].name: inputs}, "inputs")
    else:
        raise bad_request(f"inputs: expected an object with a list a column, received {json_kind(inputs)}")
    return Question(arrays, count(arrays), "outputs")


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Write the output under the key that the form of the request asks for."""
    return Reply(to_json({question.notes: outputs[call.model.output.name]}))


TFSERVING = Protocol("tfserving", read, write)


def model_metadata(model: Model) -> dict[str, Any]:
    """Return the signature as TensorFlow Serving prints it."""
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in model.inputs},
        "outputs": {model.output.name: _tensor_info(model.output)},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": model.version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *spec.shape)]
    return {
        "dtype": _TYPES[spec.dtype],
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": spec.name,
    }
