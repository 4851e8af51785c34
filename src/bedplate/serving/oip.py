"""The Open Inference Protocol v2: REST with JSON tensors.

https://github.com/kserve/open-inference-protocol

Tensors are those of the bundle's contract. The binary extension isn't spoken yet and is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bedplate import __version__
from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays, count
from bedplate.serving.body import json_kind, json_object
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.routes import Route
from bedplate.serving.tensors import tensor_from_flat
from bedplate.serving.web import model_handler

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES",
}  # fmt: skip

_MOST_DIMENSIONS = 8


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's routes."""

    def model(ask: Ask) -> Model:
        return plane.repository.find(ask.parameters["name"], ask.parameters.get("version", ""))

    async def live(_: Ask) -> Reply:
        return json_reply({"live": True})

    async def ready(_: Ask) -> Reply:
        return json_reply({"ready": plane.ready}, 200 if plane.ready else 503)

    async def server(_: Ask) -> Reply:
        return json_reply({"name": "bedplate", "version": __version__, "extensions": []})

    async def metadata(ask: Ask) -> Reply:
        return json_reply(model_metadata(model(ask)))

    async def model_ready(ask: Ask) -> Reply:
        return json_reply({"name": model(ask).name, "ready": True})

    infer = model_handler(plane, OIP)
    found = [
        Route("GET", "/v2", server, role=""),
        Route("GET", "/v2/health/live", live, role=""),
        Route("GET", "/v2/health/ready", ready, role=""),
    ]
    for base in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found += [
            Route("GET", base, metadata),
            Route("GET", f"{base}/ready", model_ready),
            Route("POST", f"{base}/infer", infer),
        ]
    return found


def model_metadata(model: Model) -> dict[str, Any]:
    """Return the model's metadata; -1 stands for any number of rows."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": [_tensor_metadata(spec) for spec in model.inputs],
        "outputs": [_tensor_metadata(model.output)],
    }


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": [-1, *spec.shape]}


def read(call: Call) -> Question:
    """Read one inference request."""
    ask: Ask = call.payload
    if "inference-header-content-length" in ask.headers:
        raise Problem(501, "binary tensors aren't supported; send the data as JSON")
    request = json_object(ask.body)
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise bad_request(f"id: expected a string, received {json_kind(identity)}")
    wanted = _wanted(request.get("outputs"), call.model)
    arrays = {name: _tensor(entry, call.model) for name, entry in _named(request.get("inputs"), call.model).items()}
    inputs = call.model.cleaned(arrays, "inputs")
    return Question(inputs, count(inputs), (identity, wanted))


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Write the outputs as JSON tensors."""
    identity, wanted = question.notes
    reply: dict[str, Any] = {"model_name": call.model.name, "model_version": call.model.version}
    if identity is not None:
        reply["id"] = identity
    reply["outputs"] = [_output(name, outputs[name]) for name in wanted]
    return Reply(to_json(reply))


OIP = Protocol("oip", read, write)


def _named(inputs: Any, model: Model) -> dict[str, dict[str, Any]]:
    """Return the request's inputs by name: each of the model's inputs once, and no other."""
    known = [spec.name for spec in model.inputs]
    if not isinstance(inputs, list) or not all(isinstance(entry, dict) for entry in inputs):
        raise bad_request(f"inputs: expected a list of objects, received {json_kind(inputs)}")
    named: dict[str, dict[str, Any]] = {}
    for k, entry in enumerate(inputs):
        name = entry.get("name")
        if not isinstance(name, str) or name not in known:
            raise bad_request(f"inputs[{k}].name: expected one of {known[:20]}, received {str(name)[:100]!r}")
        if name in named:
            raise bad_request(f"inputs[{k}]: the input '{name}' is given twice")
        named[name] = entry
    missing = [name for name in known if name not in named]
    if missing:
        raise bad_request(f"inputs: missing {missing[:20]}")
    return named


def _tensor(entry: dict[str, Any], model: Model) -> np.ndarray:
    spec = next(spec for spec in model.inputs if spec.name == entry["name"])
    where = f"input '{spec.name}'"
    if entry.get("datatype") != DATATYPES[spec.dtype]:
        raise bad_request(
            f"{where}: expected the datatype {DATATYPES[spec.dtype]}, received {entry.get('datatype')!r:.60}"
        )
    shape = entry.get("shape")
    plain = isinstance(shape, list) and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    if not isinstance(shape, list) or not plain or not 1 <= len(shape) <= _MOST_DIMENSIONS:
        raise bad_request(f"{where}: the shape must be a list of whole numbers, {['rows', *spec.shape]}")
    parameters = entry.get("parameters") or {}
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise Problem(501, f"{where}: binary tensors aren't supported; send the data as JSON")
    data = entry.get("data")
    if not isinstance(data, list):
        raise bad_request(f"{where}: data must be a list, received {json_kind(data)}")
    return tensor_from_flat(data, shape, spec, where)


def _wanted(outputs: Any, model: Model) -> list[str]:
    known = [model.output.name]
    if outputs is None:
        return known
    if not isinstance(outputs, list) or not outputs:
        raise bad_request(f"outputs: expected a list of objects, received {json_kind(outputs)}")
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in outputs]
    for k, name in enumerate(names):
        if name not in known:
            raise bad_request(f"outputs[{k}].name: expected one of {known}, received {str(name)[:100]!r}")
    if len(set(names)) < len(names):
        raise bad_request("outputs: an output is asked for twice")
    return known


def _output(name: str, array: np.ndarray) -> dict[str, Any]:
    assert math.prod(array.shape) == array.size
    return {
        "name": name,
        "datatype": DATATYPES[array.dtype.name],
        "shape": list(array.shape),
        "data": np.ascontiguousarray(array).reshape(-1),
    }
