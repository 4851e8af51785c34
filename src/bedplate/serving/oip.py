"""The Open Inference Protocol v2 over REST, with the extensions that Triton's clients use.

https://github.com/kserve/open-inference-protocol

Tensors are those of the bundle's contract, as JSON (`oip_read.py`) or as bytes behind it (`oip_binary.py`). What
describes and manages models stands in `oip_management.py`, gRPC in `oip_grpc.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bedplate import __version__
from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.serving import oip_management
from bedplate.serving.dataplane import DataPlane, json_reply, to_json
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import DATATYPES, bytes_of, datatype_of
from bedplate.serving.oip_read import HEADER, Asked, read
from bedplate.serving.routes import Route
from bedplate.serving.web import model_handler

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")
"""The extensions that are spoken, as server metadata names them."""


def routes(plane: DataPlane) -> list[Route]:
    """Return the protocol's routes."""

    def model(ask: Ask) -> Model:
        return plane.repository.find(ask.parameters["name"], ask.parameters.get("version", ""))

    async def live(_: Ask) -> Reply:
        alive = not plane.hanging()  # else only a new process helps
        return json_reply({"live": alive}, 200 if alive else 503)

    async def ready(_: Ask) -> Reply:
        return json_reply({"ready": plane.ready}, 200 if plane.ready else 503)

    async def server(_: Ask) -> Reply:
        return json_reply(server_metadata())

    async def metadata(ask: Ask) -> Reply:
        return json_reply(model_metadata(plane, model(ask)))

    async def model_ready(ask: Ask) -> Reply:
        return json_reply({"name": model(ask).name, "ready": True})

    infer = model_handler(plane, OIP)
    found = [
        Route("GET", "/v2", server, role=""),
        Route("GET", "/v2/health/live", live, role=""),
        Route("GET", "/v2/health/ready", ready, role=""),
        *oip_management.routes(plane),
    ]
    for base in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found += [
            Route("GET", base, metadata),
            Route("GET", f"{base}/ready", model_ready),
            Route("POST", f"{base}/infer", infer),
        ]
    return found


def server_metadata() -> dict[str, Any]:
    """Return the server's metadata."""
    return {"name": "bedplate", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(plane: DataPlane, model: Model) -> dict[str, Any]:
    """Return a model's metadata, with the versions of its name that answer; -1 stands for any number of rows."""
    entry = plane.repository.entries.get(model.name)
    numbers = sorted(entry.available) if entry is not None else [int(model.version)]
    return {
        "name": model.name,
        "versions": [str(number) for number in numbers],
        "platform": oip_management.PLATFORM,
        "inputs": [_tensor_metadata(spec) for spec in model.inputs],
        "outputs": [_tensor_metadata(spec) for spec in model.outputs],
    }


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": [-1, *spec.shape]}


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Write the outputs that were asked for: as JSON tensors, or as bytes behind the JSON."""
    asked: Asked = question.notes
    reply: dict[str, Any] = {"model_name": call.model.name, "model_version": call.model.version}
    if asked.identity is not None:
        reply["id"] = asked.identity
    entries = reply["outputs"] = []
    parts: list[Any] = []
    for name, binary in asked.outputs:
        array = outputs[name]
        entry: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if binary:
            part = bytes_of(array)
            entry["parameters"] = {"binary_data_size": len(part)}
            parts.append(part)
        else:
            assert math.prod(array.shape) == array.size
            flat = np.ascontiguousarray(array).reshape(-1)
            entry["data"] = flat.tolist() if flat.dtype == object else flat
        entries.append(entry)
    head = to_json(reply)
    if not parts:
        return Reply(head)
    length = (HEADER.encode(), str(len(head)).encode())
    return Reply(b"".join([head, *parts]), media_type=b"application/octet-stream", headers=[length])


OIP = Protocol("oip", read, write)
