"""The paths of one model in the OpenAPI document: what it takes, exactly, and what it answers."""

from __future__ import annotations

from typing import Any

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.describe import describe
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import DATATYPES, ONLY_BINARY
from bedplate.serving.openapi_parts import BEDPLATE, JSON, OIP, TFS, operation
from bedplate.serving.tensors import MOST_ROWS

_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
_LABEL = {"name": "label", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_STREAM = {
    "name": "stream", "in": "query", "description": "answer line by line (NDJSON)",
    "schema": {"enum": ["true", "false", "1", "0"]},
}  # fmt: skip
_LENGTH = {
    "name": "Inference-Header-Content-Length", "in": "header",
    "description": "bytes of JSON before the tensors' bytes; 0 where the body is the only input",
    "schema": {"type": "integer", "minimum": 0},
}  # fmt: skip


_PLACES: tuple[tuple[str, str, list[dict[str, Any]]], ...] = (
    ("", "", []), ("/versions/{version}", ".version", [_VERSION]), ("/labels/{label}", ".label", [_LABEL]),
)  # fmt: skip

WRITTEN = frozenset(
    path
    for place, _, _ in _PLACES
    for path in (
        f"/predict/{{name}}{place}",
        f"/v1/models/{{name}}{place}:predict",
        f"/v2/models/{{name}}{place}/infer",
    )
)
"""The routes that `model_paths` writes out for each model."""


def model_paths(model: Model, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the paths of a model; its schemas are added to `schemas`."""
    described = describe(model)
    name, key = model.name, "".join(c if c.isalnum() or c in "._-" else "_" for c in model.name)
    schemas[f"{key}.Payload"] = _payload(model, described)
    schemas[f"{key}.Answer"] = _answer(model, described)
    schemas[f"{key}.InferRequest"] = _infer_request(model)
    payload = {"$ref": f"#/components/schemas/{key}.Payload"}
    example = (described["examples"] or [None])[0]
    found: dict[str, Any] = {}
    for place, words, parameters in _PLACES:
        told = _predict(model, key, described, payload, example)
        found[f"/predict/{name}{place}"] = {"post": _at(told, words, [*parameters, _STREAM])}
        told = _tfs_predict(model, key, payload, example)
        found[f"/v1/models/{name}{place}:predict"] = {"post": _at(told, words, parameters)}
        if place != "/labels/{label}":
            told = _infer(model, key)
            found[f"/v2/models/{name}{place}/infer"] = {"post": _at(told, words, [*parameters, _LENGTH])}
    return found


def _at(told: dict[str, Any], words: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return told | {"operationId": told["operationId"] + words} | ({"parameters": parameters} if parameters else {})


def _predict(
    model: Model, key: str, described: dict[str, Any], payload: dict[str, Any], example: Any
) -> dict[str, Any]:
    answer = {"$ref": f"#/components/schemas/{key}.Answer"}
    many = {"type": "array", "items": payload, "minItems": 1, "maxItems": MOST_ROWS}
    either: dict[str, Any] = {JSON: {"schema": {"anyOf": [payload, many]}}}
    if example is not None:
        either[JSON]["example"] = example
    if model.is_table:
        either["text/csv"] = {"schema": {"type": "string", "description": "a header line, then rows"}}
        either["application/x-ndjson"] = {"schema": {"type": "string", "description": "an object a line"}}
    elif model.bundle.codec.kind == "image":
        for kind in ("image/png", "image/jpeg", "application/octet-stream"):
            either[kind] = {"schema": {"type": "string", "contentMediaType": kind}}
    either["multipart/form-data"] = {"schema": {"type": "object", "description": "files, or fields"}}
    reply = {
        "type": "object",
        "required": ["model", "version", "bundle", "answers"],
        "properties": {
            "model": {"const": model.name},
            "version": {"type": "string", "description": "the version that answered"},
            "bundle": {"type": "string", "description": "the bundle's id"},
            "answers": {"type": "array", "items": answer},
        },
    }
    told = operation(
        BEDPLATE, f"predict.{key}", f"Ask '{model.name}'", schema=reply, named=True, posted=True, asked=True,
        more={"application/x-ndjson": {"type": "string", "description": "an answer a line; a fault has `error`"}},
    )  # fmt: skip
    told["description"] = f"{described['task']}, answers '{described['target']}'."
    return told | {"requestBody": {"required": True, "content": either}}


def _payload(model: Model, described: dict[str, Any]) -> dict[str, Any]:
    if described["kind"] == "image":
        return {
            "anyOf": [{"$ref": "#/components/schemas/Base64"}, _nested(model.inputs[0], model.inputs[0].shape)],
            "description": "an image in base64, or its pixels as nested lists of the model's own shape",
        }
    if described["kind"] != "table":
        return {
            "type": "object",
            "required": [spec.name for spec in model.inputs],
            "additionalProperties": False,
            "properties": {spec.name: _nested(spec, spec.shape) for spec in model.inputs},
            "description": "one row: a value an input",
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


def _value(spec: TensorSpec) -> dict[str, Any]:
    """Return the schema of one value of a tensor."""
    if spec.dtype == "string":
        return {"type": "string"}
    if spec.dtype == "bool":
        return {"type": "boolean"}
    if spec.dtype == "float64":
        return {"type": ["number", "null"]}
    if spec.dtype.startswith("float"):
        return {"type": "number"}
    bits = int(spec.dtype.lstrip("uint"))
    if spec.dtype.startswith("u"):
        return {"type": "integer", "minimum": 0, "maximum": 2**bits - 1}
    return {"type": "integer", "minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}


def _nested(spec: TensorSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the schema of nested lists of a shape; -1 stands for any size but none."""
    schema = _value(spec)
    for size in reversed(shape):
        limits = {"minItems": 1} if size == -1 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **limits}
    return schema


def _answer(model: Model, described: dict[str, Any]) -> dict[str, Any]:
    if model.bundle.answers.tensors is not None:
        names = [spec.name for spec in model.outputs]
        outputs = {"type": "object", "required": names, "properties": {name: {} for name in names}}
        return {"type": "object", "required": ["outputs"], "properties": {"outputs": outputs}}
    if model.bundle.answers.tags is not None:
        strings = {"type": "array", "items": {"type": "string"}}
        entities = {"type": "array", "items": {"type": "object", "required": ["type", "text", "words"]}}
        properties = {"answer": entities, "words": strings, "tags": strings}
        return {"type": "object", "required": list(properties), "properties": properties}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = {"type": "object", "additionalProperties": probability}
    if model.bundle.answers.many is not None:
        several = {"type": "array", "items": {"type": "string", "enum": list(model.bundle.answers.many)}}
        properties = {"answer": several, "probabilities": probabilities}
        return {"type": "object", "required": list(properties), "properties": properties}
    labels = described["labels"]
    if model.bundle.answers.dimensions:
        vector = _nested(model.output, model.output.shape)
        return {"type": "object", "required": ["answer"], "properties": {"answer": vector}}
    if labels is None:
        number = {"type": "number"}
        return {"type": "object", "required": ["answer", "value"], "properties": {"answer": number, "value": number}}
    return {
        "type": "object",
        "required": ["answer", "probabilities"],
        "properties": {
            "answer": {"type": "string", "enum": labels},
            "probabilities": probabilities,
        },
    }


def _infer_request(model: Model) -> dict[str, Any]:
    asked = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"enum": [spec.name for spec in model.outputs]},
            "parameters": {"type": ["object", "null"], "properties": {"binary_data": {"type": "boolean"}}},
        },
    }
    count = len(model.inputs)
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {
                "type": ["object", "null"],
                "properties": {
                    "binary_data_output": {"type": "boolean"},
                    "timeout": {"type": ["integer", "null"], "minimum": 0, "description": "microseconds"},
                },
            },
            "inputs": {
                "type": "array", "minItems": count, "maxItems": count,
                "items": {"anyOf": [_input(spec) for spec in model.inputs]},
            },
            "outputs": {"type": ["array", "null"], "items": asked, "uniqueItems": True},
        },
    }  # fmt: skip


def _input(spec: TensorSpec) -> dict[str, Any]:
    sizes = [{"type": "integer", "minimum": 1} | ({} if size == -1 else {"const": size}) for size in spec.shape]
    rows = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}
    shape = {"type": "array", "prefixItems": [rows, *sizes], "minItems": 1 + len(sizes), "maxItems": 1 + len(sizes)}
    datatype = DATATYPES[spec.dtype]
    size = {
        "type": ["object", "null"],
        "properties": {"binary_data_size": {"type": ["integer", "null"], "minimum": 0}},
    }
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", *(["parameters"] if datatype in ONLY_BINARY else [])],
        "properties": {
            "name": {"const": spec.name},
            "shape": shape,
            "datatype": {"const": datatype},
            "parameters": size,
            "data": {"type": "array", "description": "row-major values, flat or nested"},
        },
    }


def _infer(model: Model, key: str) -> dict[str, Any]:
    shapes = "; ".join(f"{s.name}: {DATATYPES[s.dtype]} {['rows', *s.shape]}" for s in model.inputs[:30])
    output = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"enum": sorted({DATATYPES[spec.dtype] for spec in model.outputs})},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
        },
    }
    reply = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": model.name},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": output},
        },
    }
    raw = {"type": "string", "description": "JSON, then the tensors' bytes"}
    told = operation(
        OIP, f"infer.{key}", f"Infer with '{model.name}'", schema=reply, named=True, posted=True, asked=True,
        more={"application/octet-stream": raw},
    )  # fmt: skip
    told["description"] = f"Inputs: {shapes}. Outputs: {', '.join(spec.name for spec in model.outputs[:30])}."
    content = {
        JSON: {"schema": {"$ref": f"#/components/schemas/{key}.InferRequest"}},
        "application/octet-stream": {"schema": raw},
    }
    return told | {"requestBody": {"required": True, "content": content}}


def _tfs_predict(model: Model, key: str, payload: dict[str, Any], example: Any) -> dict[str, Any]:
    row = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": payload, "minItems": 1}},
    }
    column = {"type": "object", "required": ["inputs"], "properties": {"inputs": {}}}
    content: dict[str, Any] = {"schema": {"anyOf": [row, column]}}
    if example is not None:
        content["example"] = {"instances": [example]}
    told = operation(
        TFS, f"tfs-predict.{key}", f"Predict with '{model.name}'", named=True, posted=True, asked=True, also=(501,),
        schema={"type": "object", "properties": {"predictions": {"type": "array"}, "outputs": {}}},
    )  # fmt: skip
    return told | {"requestBody": {"required": True, "content": {JSON: content}}}
