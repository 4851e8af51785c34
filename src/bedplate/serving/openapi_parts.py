"""What the parts of the OpenAPI document have in common: tags, errors, and how an operation is put together."""

from __future__ import annotations

from typing import Any

JSON = "application/json"

TAGS = {
    "Bedplate": "Payloads in, answers out.",
    "Open Inference Protocol v2": "Tensors in, tensors out.",
    "TensorFlow Serving": "The REST interface of TensorFlow Serving.",
    "OpenAI": "Texts that go on, and their vectors, as OpenAI's clients ask for them.",
    "Operation": "Health, metrics and versions.",
}
BEDPLATE, OIP, TFS, OPENAI, OPERATION = TAGS

COMMON: dict[str, Any] = {
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
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "Base64": {
        "type": "object",
        "required": ["b64"],
        "additionalProperties": False,
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    },
}

_ERRORS = {
    400: "The request doesn't fit the contract",
    401: "A token is needed",
    403: "The token doesn't allow this",
    404: "No such model, version or label",
    405: "Another method is meant",
    408: "The request came too slowly",
    413: "Too large, or too many rows",
    415: "A content encoding or packing that isn't read",
    429: "The queue is full; Retry-After says when to come back",
    431: "The request's head is too large",
    501: "Not offered",
    503: "The server isn't ready, or has too many connections",
    504: "The request's deadline passed before it was run",
}

ALWAYS = (400, 405, 408, 431, 503)
"""What any request may be answered, whatever its path."""

POSTED = (413, 415)
ASKED = (404, 429, 504)


def in_openai_form(told: dict[str, Any]) -> dict[str, Any]:
    """Return an operation whose errors have OpenAI's form; what is refused before it is read has the server's own."""
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in ("OpenAIError", "Error")]
    content = {JSON: {"schema": {"anyOf": schemas}}}
    errors = {
        status: {"description": _ERRORS[int(status)], "content": content}
        for status in told["responses"]
        if int(status) in _ERRORS
    }
    return {**told, "responses": told["responses"] | errors}


def responses() -> dict[str, Any]:
    """Return the errors, for `components.responses`."""
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": text, "content": content} for status, text in _ERRORS.items()}


def operation(
    tag: str,
    identity: str,
    summary: str,
    *,
    role: str = "predict",
    schema: dict[str, Any] | None = None,
    kind: str = JSON,
    named: bool = False,
    posted: bool = False,
    asked: bool = False,
    unready: bool = False,
    also: tuple[int, ...] = (),
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an operation.

    Args:
        tag: one of `TAGS`.
        identity: its operationId.
        summary: what it does.
        role: whose token it takes where the server has tokens; "open" takes none.
        schema: of the answer; an object (or text) where nothing is given.
        kind: the answer's media type.
        named: whether a model stands in its path.
        posted: whether it takes a body.
        asked: whether a model is run.
        unready: whether 503 has the schema of the answer.
        also: further statuses.
        more: further media types of the answer, with their schemas.
    """
    plain = {"type": "object"} if kind == JSON else {"type": "string"}
    content = {kind: {"schema": schema or plain}} | {key: {"schema": one} for key, one in (more or {}).items()}
    found: dict[str, Any] = {"200": {"description": "Answered", "content": content}}
    statuses = {*ALWAYS, *also, *([404] if named else []), *(POSTED if posted else []), *(ASKED if asked else [])}
    statuses |= set() if role == "open" else {401, 403}
    for status in sorted(statuses):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    if unready:
        found["503"] = {"description": "Not ready", "content": content}
    told: dict[str, Any] = {"tags": [tag], "operationId": identity, "summary": summary, "responses": found}
    if role != "open":
        told["security"] = [{}, {"token": []}]  # without tokens, everybody may ask
    return told


def body(schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Return a JSON request body."""
    return {"required": required, "content": {JSON: {"schema": schema}}}
