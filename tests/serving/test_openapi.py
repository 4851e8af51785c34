"""The description is valid OpenAPI 3.1, is complete, and its examples are answered."""

from __future__ import annotations

from typing import Any

import httpx


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [item for v in value.values() for item in references(v)] + ([value["$ref"]] if "$ref" in value else [])
    return [item for v in value for item in references(v)] if isinstance(value, list) else []


def test_the_document_holds_together(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    tags = {tag["name"] for tag in document["tags"]}
    identities = []
    for path, verbs in document["paths"].items():
        placed = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for verb, operation in verbs.items():
            assert verb in {"get", "post"}
            assert set(operation["tags"]) <= tags
            assert {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"} == placed
            assert all(p["required"] for p in operation.get("parameters", []))
            assert "200" in operation["responses"]
            assert all(reply["description"] for reply in operation["responses"].values())
            identities.append(operation["operationId"])
    assert len(set(identities)) == len(identities)
    for reference in references(document):
        at: Any = document
        for key in reference.removeprefix("#/").split("/"):
            at = at[key]
        assert at


def test_every_path_is_served_and_every_example_is_answered(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    asked = 0
    for path, verbs in document["paths"].items():
        if "get" in verbs:
            assert client.get(path.replace("{name}", "small")).status_code == 200, path
        for media, content in verbs.get("post", {}).get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                reply = client.post(path, json=content["example"], headers={"Content-Type": media})
                assert reply.status_code == 200, (path, reply.text)
                asked += 1
    assert asked == 4


def test_a_generic_validator_agrees(client: httpx.Client) -> None:
    """Schemas are JSON Schema 2020-12, and the examples fit them."""
    import pytest

    jsonschema = pytest.importorskip("jsonschema")
    document = client.get("/openapi.json").json()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, verbs in document["paths"].items():
        for media in verbs.get("post", {}).get("requestBody", {}).get("content", {}).values():
            if "example" in media:
                jsonschema.Draft202012Validator({**media["schema"], "components": document["components"]}).validate(
                    media["example"]
                )
                assert path
