"""The REST interface of TensorFlow Serving.

https://www.tensorflow.org/tfx/serving/api_rest

`POST /v1/models/NAME:predict` in its row form (`instances`) and column form (`inputs`), status and metadata. Rows of a
table are objects by column; an image is `{"b64": "…"}` or nested lists. Unlike there, NaN and Infinity are refused.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.body import json_kind, json_object
from bedplate.serving.dataplane import Call, DataPlane, json_reply, problem_reply
from bedplate.serving.models import VERSION, Model
from bedplate.serving.problems import Problem, bad_request

SIGNATURE = "serving_default"

_TYPES = {
    "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "uint8": "DT_UINT8", "int8": "DT_INT8", "int16": "DT_INT16",
    "uint16": "DT_UINT16", "int32": "DT_INT32", "uint32": "DT_UINT32", "int64": "DT_INT64", "uint64": "DT_UINT64",
    "bool": "DT_BOOL", "string": "DT_STRING",
}  # fmt: skip


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's routes."""

    async def models(_: Request) -> Response:
        return json_reply({"models": sorted(plane.models)})

    async def status(request: Request) -> Response:
        try:
            _model(plane, request)
        except Problem as problem:
            return problem_reply(problem)
        state = {"version": VERSION, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return json_reply({"model_version_status": [state]})

    async def metadata(request: Request) -> Response:
        try:
            return json_reply(model_metadata(_model(plane, request)))
        except Problem as problem:
            return problem_reply(problem)

    async def malformed(request: Request) -> Response:
        verb = request.path_params["verb"]
        if verb in ("classify", "regress"):
            return problem_reply(Problem(501, f"'{verb}' needs tf.Example signatures, which these models don't have"))
        return problem_reply(bad_request(f"Malformed request: {request.method} {request.url.path[:200]}"))

    async def wrong_method(_: Request) -> Response:
        reply = problem_reply(Problem(405, "Malformed request: predict is asked by POST"))
        reply.headers["Allow"] = "POST"
        return reply

    handler = plane.endpoint("tfserving", predict, not_found)
    found = [Route("/v1/models", models)]
    for base in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        found += [
            Route(f"{base}:predict", handler, methods=["POST"]),
            Route(f"{base}:{{verb}}", malformed, methods=["POST"]),
            Route(f"{base}:{{verb}}", wrong_method, methods=["GET", "PUT", "DELETE"]),
            Route(f"{base}/metadata", metadata),
        ]
    return [
        *found,
        Route("/v1/models/{name}/versions/{version}", status),
        Route("/v1/models/{name}", status),
    ]


def not_found(name: str, version: str | None) -> Problem:
    """Return TensorFlow Serving's 404."""
    which = f"Latest({name[:100]})" if version is None else f"Specific({name[:100]}, {version[:20]})"
    return Problem(404, f"Servable not found for request: {which}")


def _model(plane: DataPlane, request: Request) -> Model:
    return plane.model(request.path_params["name"], request.path_params.get("version"), not_found)


def predict(plane: DataPlane, call: Call) -> dict[str, Any]:
    """Answer one predict request."""
    request = json_object(call.body)
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
        return {"predictions": _answer(plane, call.model, call.model.decode_json(rows, "instances"))}
    inputs = request["inputs"]
    if isinstance(inputs, dict):
        arrays = call.model.decode_columns(inputs, "inputs")
    elif len(call.model.inputs) == 1 and not call.model.is_table:
        arrays = call.model.decode_columns({call.model.inputs[0].name: inputs}, "inputs")
    else:
        raise bad_request(f"inputs: expected an object with a list a column, received {json_kind(inputs)}")
    return {"outputs": _answer(plane, call.model, arrays)}


def _answer(plane: DataPlane, model: Model, arrays: Any) -> Any:
    return plane.predict(model, arrays)[model.output.name]


def model_metadata(model: Model) -> dict[str, Any]:
    """Return the signature as TensorFlow Serving prints it."""
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in model.inputs},
        "outputs": {model.output.name: _tensor_info(model.output)},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": VERSION},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *spec.shape)]
    return {
        "dtype": _TYPES[spec.dtype],
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": spec.name,
    }
