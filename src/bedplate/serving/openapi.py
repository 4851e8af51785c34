"""The interface as OpenAPI 3.1, built from what is really served: each model's own inputs, answers and examples."""

from __future__ import annotations

from typing import Any

from bedplate import __version__
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.describe import describe
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import DATATYPES

_JSON = "application/json"
_TAGS = {
    "Bedplate": "Payloads in, answers out.",
    "Open Inference Protocol v2": "Tensors in, tensors out.",
    "TensorFlow Serving": "The REST interface of TensorFlow Serving.",
    "Operation": "Health and metrics.",
}
_BEDPLATE, _OIP, _TFS, _OPERATION = _TAGS


def openapi(plane: DataPlane) -> dict[str, Any]:
    """Return the OpenAPI document of a server."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = dict(_COMMON)
    for model in plane.repository.models.values():
        paths |= _model_paths(model, schemas)
    paths |= _shared_paths(sorted(plane.repository.models))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bedplate model server",
            "version": __version__,
            "description": "Models served from sealed bundles. The page at / tries them by hand.",
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas},
    }


_ERROR = {"$ref": "#/components/schemas/Error"}
_COMMON: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string", "description": "what is wrong, what was expected and what was received"},
            "where": {"type": "string"},
            "expected": {"type": "string"},
            "received": {"type": "string"},
            "hint": {"type": "string"},
        },
    },
    "Base64": {
        "type": "object",
        "required": ["b64"],
        "additionalProperties": False,
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    },
}


def _responses(schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    texts = {400: "The request doesn't fit the contract", 404: "No such model", 413: "Too large", 501: "Not supported"}
    found = {"200": {"description": "Answered", "content": {_JSON: {"schema": schema}}}}
    for status in errors:
        found[str(status)] = {"description": texts[status], "content": {_JSON: {"schema": _ERROR}}}
    return found


def _model_paths(model: Model, schemas: dict[str, Any]) -> dict[str, Any]:
    described = describe(model)
    name, key = model.name, "".join(c if c.isalnum() or c in "._-" else "_" for c in model.name)
    schemas[f"{key}.Payload"] = _payload_schema(described)
    schemas[f"{key}.Answer"] = _answer_schema(described)
    payload, answer = ({"$ref": f"#/components/schemas/{key}.{kind}"} for kind in ("Payload", "Answer"))
    example = next(iter(described["examples"]), None)
    either: dict[str, Any] = {
        _JSON: {
            "schema": {"anyOf": [payload, {"type": "array", "items": payload, "minItems": 1}]},
            **({} if example is None else {"example": example}),
        }
    }
    if model.is_table:
        either["text/csv"] = {"schema": {"type": "string", "description": "a header line, then rows"}}
    elif not model.is_tensor:
        for kind in ("image/png", "image/jpeg", "application/octet-stream"):
            either[kind] = {"schema": {"type": "string", "contentMediaType": kind}}
    reply = {
        "type": "object",
        "required": ["model", "bundle", "answers"],
        "properties": {
            "model": {"const": name},
            "bundle": {"type": "string", "description": "the bundle's id"},
            "answers": {"type": "array", "items": answer},
        },
    }
    about = f"{described['task']}, answers '{described['target']}'"
    return {
        f"/predict/{name}": {
            "post": {
                "tags": [_BEDPLATE],
                "operationId": f"predict.{key}",
                "summary": f"Ask '{name}'",
                "description": f"{about}.",
                "requestBody": {"required": True, "content": either},
                "responses": _responses(reply, 400, 413),
            }
        },
        f"/v2/models/{name}/infer": {"post": _infer_operation(model, key, schemas)},
        f"/v1/models/{name}:predict": {"post": _tfs_operation(model, key, payload, example)},
    }


def _payload_schema(described: dict[str, Any]) -> dict[str, Any]:
    if described["kind"] == "tensor":
        names = {one["name"]: one for one in described["inputs"]}
        return {
            "type": "object",
            "required": list(names),
            "properties": {name: {"description": f"{one['dtype']} {one['shape']}"} for name, one in names.items()},
            "description": "one row: nested lists by input name; the bare lists where there is one input",
        }
    if described["kind"] != "table":
        return {
            "anyOf": [{"$ref": "#/components/schemas/Base64"}, {"type": "array", "description": "pixels, 0 to 255"}],
            "description": "an image in base64, or its pixels as nested lists of the model's own shape",
        }
    types: dict[str, dict[str, Any]] = {
        "number": {"type": ["number", "string", "null"]},
        "category": {"type": ["string", "number", "boolean", "null"]},
        "date": {"type": ["string", "null"], "description": "a date, such as 2020-01-31"},
        "time": {"type": ["string", "null"], "description": "a time of day, such as 14:30"},
    }
    properties: dict[str, Any] = {}
    for column in described["columns"]:
        properties[column["name"]] = dict(types[column["type"]])
        if column.get("values"):
            properties[column["name"]]["examples"] = column["values"][:10]
    return {
        "type": "object",
        "required": [column["name"] for column in described["columns"]],
        "properties": properties,
        "description": "one row: a value a column, null where missing",
    }


def _answer_schema(described: dict[str, Any]) -> dict[str, Any]:
    labels = described["labels"]
    if "outputs" in described:
        outputs = {one["name"]: {"description": f"{one['dtype']} {one['shape']}"} for one in described["outputs"]}
        inner = {"type": "object", "required": list(outputs), "properties": outputs}
        return {"type": "object", "required": ["outputs"], "properties": {"outputs": inner}}
    if labels is None:
        number = {"type": "number"}
        return {"type": "object", "required": ["answer", "value"], "properties": {"answer": number, "value": number}}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "required": ["answer", "probabilities"],
        "properties": {
            "answer": {"type": "string", "enum": labels},
            "probabilities": {"type": "object", "additionalProperties": probability},
        },
    }


def _infer_operation(model: Model, key: str, schemas: dict[str, Any]) -> dict[str, Any]:
    schemas[f"{key}.InferRequest"] = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "minItems": len(model.inputs),
                "maxItems": len(model.inputs),
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype", "data"],
                    "properties": {
                        "name": {"enum": [spec.name for spec in model.inputs]},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "datatype": {"enum": sorted({DATATYPES[spec.dtype] for spec in model.inputs})},
                        "data": {"type": "array"},
                    },
                },
            },
        },
    }
    shapes = "; ".join(f"{s.name}: {DATATYPES[s.dtype]} {['rows', *s.shape]}" for s in model.inputs[:30])
    return {
        "tags": [_OIP],
        "operationId": f"infer.{key}",
        "summary": f"Infer with '{model.name}'",
        "description": f"Inputs: {shapes}. Outputs: {', '.join(spec.name for spec in model.outputs)}.",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{key}.InferRequest"}}},
        },
        "responses": _responses({"type": "object"}, 400, 404, 413, 501),
    }


def _tfs_operation(model: Model, key: str, payload: dict[str, Any], example: Any) -> dict[str, Any]:
    row = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": payload, "minItems": 1}},
    }
    column = {"type": "object", "required": ["inputs"], "properties": {"inputs": {}}}
    return {
        "tags": [_TFS],
        "operationId": f"tfs-predict.{key}",
        "summary": f"Predict with '{model.name}'",
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {
                    "schema": {"anyOf": [row, column]},
                    **({} if example is None else {"example": {"instances": [example]}}),
                }
            },
        },
        "responses": _responses(
            {"type": "object", "properties": {"predictions": {"type": "array"}, "outputs": {"type": "array"}}},
            400,
            404,
            413,
        ),
    }


def _get(tag: str, identity: str, summary: str, names: list[str] | None = None, kind: str = _JSON) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"} if kind == _JSON else {"type": "string"}
    operation: dict[str, Any] = {
        "tags": [tag],
        "operationId": identity,
        "summary": summary,
        "responses": {"200": {"description": "Answered", "content": {kind: {"schema": schema}}}},
    }
    if names is not None:
        operation["parameters"] = [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "examples": names}}
        ]
        operation["responses"]["404"] = {"description": "No such model", "content": {_JSON: {"schema": _ERROR}}}
    return {"get": operation}


def _shared_paths(names: list[str]) -> dict[str, Any]:
    return {
        "/models": _get(_BEDPLATE, "models", "What is served, with examples"),
        "/healthz": _get(_OPERATION, "health", "Whether the server is well"),
        "/metrics": _get(_OPERATION, "metrics", "Metrics for Prometheus", kind="text/plain"),
        "/v2": _get(_OIP, "v2.server", "The server"),
        "/v2/health/live": _get(_OIP, "v2.live", "Whether the server lives"),
        "/v2/health/ready": _get(_OIP, "v2.ready", "Whether requests are answered"),
        "/v2/models/{name}": _get(_OIP, "v2.model", "A model's tensors", names),
        "/v2/models/{name}/ready": _get(_OIP, "v2.model-ready", "Whether a model is ready", names),
        "/v1/models": _get(_TFS, "v1.models", "The names of the models"),
        "/v1/models/{name}": _get(_TFS, "v1.status", "A model's status", names),
        "/v1/models/{name}/metadata": _get(_TFS, "v1.metadata", "A model's signature", names),
    }
