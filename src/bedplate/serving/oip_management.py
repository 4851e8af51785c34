"""What the Open Inference Protocol says of models, in Triton's shape: configuration, statistics, and the repository.

https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

from typing import Any

from bedplate.codecs.codec import TensorSpec
from bedplate.core.errors import BedplateError
from bedplate.serving.body import json_object
from bedplate.serving.counts import Sum
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import DATATYPES
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.repository import State
from bedplate.serving.routes import Route
from bedplate.serving.tensors import MOST_ROWS

PLATFORM = "onnxruntime_onnx"

_STATES = {
    State.START: "LOADING", State.LOADING: "LOADING", State.AVAILABLE: "READY", State.UNLOADING: "UNLOADING",
    State.END: "UNAVAILABLE",
}  # fmt: skip


def routes(plane: DataPlane) -> list[Route]:
    """Return the routes of the extensions model_configuration, statistics and model_repository."""

    async def config(ask: Ask) -> Reply:
        return json_reply(model_config(_found(plane, ask)))

    async def stats(ask: Ask) -> Reply:
        model = _found(plane, ask)
        version = model.version if ask.parameters.get("version") else ""
        return json_reply({"model_stats": statistics(plane, model.name, version)})

    async def all_stats(_: Ask) -> Reply:
        return json_reply({"model_stats": statistics(plane)})

    async def index(ask: Ask) -> Reply:
        ready = _body(ask).get("ready", False)
        if not isinstance(ready, bool):
            raise bad_request("ready: expected true or false")
        return json_reply(repository_index(plane, ready=ready))

    async def load(ask: Ask) -> Reply:
        parameters = _body(ask).get("parameters") or {}
        await load_model(plane, ask.parameters["name"], list(parameters) if isinstance(parameters, dict) else [])
        return json_reply({})

    async def unload(ask: Ask) -> Reply:
        _body(ask)
        await plane.manage("unload_name", name=ask.parameters["name"])
        return json_reply({})

    found = [
        Route("GET", "/v2/models/stats", all_stats),
        Route("POST", "/v2/repository/index", index),
        Route("POST", "/v2/repository/models/{name}/load", load, role="manage"),
        Route("POST", "/v2/repository/models/{name}/unload", unload, role="manage"),
    ]
    for base in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found += [Route("GET", f"{base}/config", config), Route("GET", f"{base}/stats", stats)]
    return found


def _found(plane: DataPlane, ask: Ask) -> Model:
    return plane.repository.find(ask.parameters["name"], ask.parameters.get("version", ""))


def _body(ask: Ask) -> dict[str, Any]:
    return json_object(ask.body) if ask.body.strip() else {}


async def load_model(plane: DataPlane, name: str, parameters: list[str]) -> None:
    """Load a name's versions again, from where they came. Raises Problem 400 or 404; what was served goes on."""
    if parameters:
        raise bad_request(
            f"parameters: {sorted(parameters)[:4]} can't be given; a model is loaded from its own bundle as it is"
        )
    try:
        await plane.manage("load_name", name=name)
    except BedplateError as error:
        # Only what is wrong: the whole message may name a folder of the server.
        raise Problem(400, f"failed to load '{name[:100]}': {error.what}; what was served goes on") from error


def repository_index(plane: DataPlane, *, ready: bool = False) -> list[dict[str, str]]:
    """Return all names and versions with a state each; with `ready`, only those that answer."""
    found = []
    for name, version in plane.repository.index():
        if ready and version.state is not State.AVAILABLE:
            continue
        reason = "" if version.state is not State.END else "it can't be loaded" if version.error else "unloaded"
        found.append({"name": name, "version": str(version.number), "state": _STATES[version.state], "reason": reason})
    return found


def model_config(model: Model) -> dict[str, Any]:
    """Return a model's configuration. `max_batch_size` is what one request may hold, not what is run at once."""
    plan = model.chosen.plan
    config: dict[str, Any] = {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": MOST_ROWS,
        "input": [_tensor_config(spec) | {"format": "FORMAT_NONE"} for spec in model.inputs],
        "output": [_tensor_config(spec) | {"label_filename": ""} for spec in model.outputs],
        "batch_input": [],
        "batch_output": [],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": plan.runners, "gpus": []}],
        "default_model_filename": "model.onnx",
        "parameters": {
            "bundle": {"string_value": model.bundle.id},
            "variant": {"string_value": model.chosen.variant},
        },
    }
    if plan.most_rows > 1:
        config["dynamic_batching"] = {
            "preferred_batch_size": [plan.most_rows],
            "max_queue_delay_microseconds": round(plan.most_wait * 1e6),
        }
    return config


def _tensor_config(spec: TensorSpec) -> dict[str, Any]:
    kind = DATATYPES[spec.dtype]
    return {
        "name": spec.name,
        "data_type": "TYPE_STRING" if kind == "BYTES" else f"TYPE_{kind}",
        "dims": list(spec.shape),
    }


def statistics(plane: DataPlane, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """Return what has been done since loading: by all models, by a name's versions, or by one version."""
    found = []
    for known, one in plane.repository.index():
        if one.model is not None and name in ("", known) and version in ("", one.model.version):
            found.append(_statistics(one.model))
    return found


def _statistics(model: Model) -> dict[str, Any]:
    counts = model.counts
    # Reading and writing aren't part of a batch here, so their share of one isn't known.
    none = Sum().to_json()
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": round(counts.last * 1e3),
        "inference_count": counts.rows,
        "execution_count": sum(batch.count for batch in counts.batches.values()),
        "inference_stats": {
            "success": counts.success.to_json(),
            "fail": counts.fail.to_json(),
            "queue": counts.queue.to_json(),
            "compute_input": counts.read.to_json(),
            "compute_infer": counts.run.to_json(),
            "compute_output": counts.write.to_json(),
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [
            {"batch_size": rows, "compute_input": none, "compute_infer": batch.to_json(), "compute_output": none}
            for rows, batch in sorted(counts.batches.items())
        ],
        "memory_usage": [],
    }
