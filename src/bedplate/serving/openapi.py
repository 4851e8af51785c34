"""The interface as OpenAPI 3.1, built from what is really served: each model's own inputs, answers and examples.

Paths with a model's name in them are written out for every model (`openapi_models.py`); the others are described here.
A route that nobody described is listed all the same, from its path alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bedplate import __version__
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.openai import PATHS as OPENAI_PATHS
from bedplate.serving.openapi_models import WRITTEN, model_paths
from bedplate.serving.openapi_parts import (
    BEDPLATE,
    COMMON,
    JSON,
    OIP,
    OPENAI,
    OPERATION,
    TAGS,
    TFS,
    body,
    in_openai_form,
    operation,
    responses,
)  # fmt: skip
from bedplate.serving.routes import Route


def openapi(plane: DataPlane, routes: Sequence[Route] = ()) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these routes."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = dict(COMMON)
    for model in plane.repository.models.values():
        paths |= model_paths(model, schemas)
    names = sorted(plane.repository.models)
    for path, verbs in _shared_paths().items():
        paths[path] = {verb: _placed(path, told, names) for verb, told in verbs.items()}
    for route in routes:
        path, verb = route.path, route.methods.lower()
        # Routes of any method only say which method is meant; a path with `*` takes what no other path takes.
        if " " in verb or "*" in verb + path or path in ("/", "/docs", "/openapi.json") or verb in paths.get(path, {}):
            continue
        if verb == "post" and path in WRITTEN and names:
            continue
        paths.setdefault(path, {})[verb] = _placed(path, _undescribed(verb, path, route.role), names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bedplate model server",
            "version": __version__,
            "description": "Models served from sealed bundles. The page at / tries them by hand.",
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _placed(path: str, told: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return an operation with the parameters that stand in its path."""
    found = []
    for name in re.findall(r"\{(\w+)\}", path):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if name == "name":
            schema["examples"] = names
        elif name == "version":
            schema |= {"pattern": "^[0-9]+$", "examples": ["1"]}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return told | {"parameters": [*found, *told.get("parameters", [])]} if found else told


def _undescribed(verb: str, path: str, role: str) -> dict[str, Any]:
    tag = (
        OPENAI
        if path in OPENAI_PATHS
        else TFS
        if path.startswith("/v1")
        else OIP
        if path.startswith("/v2")
        else OPERATION
    )
    words = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")
    texts = path in OPENAI_PATHS
    told = operation(
        tag, f"{verb}.{words}", f"{verb.upper()} {path}", role=role or "open", named="{name}" in path, also=(501,),
        posted=texts, asked=texts,
    )  # fmt: skip
    told = in_openai_form(told) if texts else told
    if verb in ("post", "put", "patch"):
        told["requestBody"] = {"content": {JSON: {"schema": {}}}}
    return told


def _get(tag: str, identity: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"get": operation(tag, identity, summary, **more)}


def _shared_paths() -> dict[str, Any]:
    found = {
        "/models": _get(BEDPLATE, "models", "What is served, with examples"),
        "/healthz": _get(OPERATION, "health", "Whether the server is well", role="open", unready=True),
        "/metrics": _get(OPERATION, "metrics", "Metrics for Prometheus", kind="text/plain"),
        "/monitoring/prometheus/metrics": _get(
            OPERATION, "metrics.tfs", "The same, at its other path", kind="text/plain"
        ),
        "/v2": _get(OIP, "v2.server", "The server and its extensions", role="open"),
        "/v2/health/live": _get(OIP, "v2.live", "Whether the server lives", role="open"),
        "/v2/health/ready": _get(OIP, "v2.ready", "Whether requests are answered", role="open", unready=True),
        "/v2/models/stats": _get(OIP, "v2.all-stats", "What all models have done", schema=_list_in("model_stats")),
        "/v2/repository/index": {"post": _index()},
        "/v1/models": _get(TFS, "v1.models", "The names of the models"),
        "/v1/embeddings": {"post": _embeddings()},
    }
    for base, key in (("/v2/models/{name}", "v2.model"), ("/v2/models/{name}/versions/{version}", "v2.version")):
        found |= {
            base: _get(OIP, key, "A model's tensors", named=True),
            f"{base}/ready": _get(OIP, f"{key}-ready", "Whether a model is ready", named=True),
            f"{base}/config": _get(OIP, f"{key}-config", "A model's configuration, as Triton has it", named=True),
            f"{base}/stats": _get(
                OIP, f"{key}-stats", "What a model has done", named=True, schema=_list_in("model_stats")
            ),
        }
    for verb, words in (("load", "Load a model again, from where it came"), ("unload", "Stop serving a model")):
        told = operation(OIP, f"v2.{verb}", words, role="manage", named=True, posted=True)
        found[f"/v2/repository/models/{{name}}/{verb}"] = {"post": told | {"requestBody": body({"type": "object"})}}
    for base, key in (("/v1/models/{name}", "v1.status"), ("/v1/models/{name}/versions/{version}", "v1.version")):
        found |= {
            base: _get(TFS, key, "A model's status", named=True),
            f"{base}/metadata": _get(TFS, f"{key}-metadata", "A model's signature", named=True),
        }
    return found


def _embeddings() -> dict[str, Any]:
    text, tokens = {"type": "string"}, {"type": "array", "items": {"type": "integer"}}
    asked = {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": text,
            "input": {"anyOf": [text, tokens, {"type": "array", "items": {"anyOf": [text, tokens]}}]},
            "encoding_format": {"enum": ["float", "base64"]},
            "dimensions": {"type": "integer", "description": "the model's own alone"},
            "user": text,
        },
    }
    told = operation(
        OPENAI, "v1.embeddings", "Vectors of texts, as OpenAI's clients ask for them", posted=True, asked=True,
        schema=_list_in("data"),
    )  # fmt: skip
    return in_openai_form(told) | {"requestBody": body(asked, required=True)}


def _list_in(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": {"type": "object"}}},
    }


def _index() -> dict[str, Any]:
    text = {"type": "string"}
    states = {"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]}
    entry = {
        "type": "object",
        "required": ["name", "version", "state", "reason"],
        "properties": {"name": text, "version": text, "state": states, "reason": text},
    }
    told = operation(
        OIP, "v2.index", "All models and versions, with a state each", posted=True,
        schema={"type": "array", "items": entry},
    )  # fmt: skip
    return told | {"requestBody": body({"type": "object", "properties": {"ready": {"type": "boolean"}}})}
