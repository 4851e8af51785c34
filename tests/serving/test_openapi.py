"""The description is valid OpenAPI 3.1, is complete, and its examples are answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.bundle.boxes import image_bundle
from tests.serving.echo import asking, echo_bundle


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
        placed = set(re.findall(r"\{(\w+)\}", path))
        for verb, operation in verbs.items():
            assert verb in {"get", "post", "put", "delete"}
            assert set(operation["tags"]) <= tags
            assert {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"} == placed
            assert all(p["required"] for p in operation.get("parameters", []) if p["in"] == "path")
            assert "200" in operation["responses"]
            for status, reply in operation["responses"].items():
                written = document["components"]["responses"][status] if "$ref" in reply else reply
                assert written["description"]
            assert {"400", "405", "408", "431", "503"} <= set(operation["responses"])
            asks = any(words in path for words in ("predict", "/infer"))
            if verb == "post" and asks:
                assert {"401", "403", "404", "413", "415", "429", "504"} <= set(operation["responses"]), path
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
            filled = path.replace("{name}", "small").replace("{version}", "1")
            expected = {400, 404} if "{label}" in path else {200}  # no label is set here
            assert client.get(filled).status_code in expected, path
        for media, content in verbs.get("post", {}).get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                reply = client.post(
                    path.replace("{version}", "1"), json=content["example"], headers={"Content-Type": media}
                )
                expected = {400, 404} if "{label}" in path else {200}
                assert reply.status_code in expected, (path, reply.text)
                asked += 1
    assert asked == 12


def test_every_route_is_described(tmp_path: Path) -> None:
    with asking(image_bundle(tmp_path / "image"), echo_bundle(tmp_path / "echo")) as ask:
        document = json.loads(ask("GET", "/openapi.json")[2])
        for route in ask.app.web.routes.all:
            if (
                "*" in route.path + route.methods
                or " " in route.methods
                or route.path in ("/", "/docs", "/openapi.json")
            ):
                continue
            paths = {route.path, route.path.replace("{name}", "small"), route.path.replace("{name}", "echo")}
            assert any(route.methods.lower() in document["paths"].get(path, {}) for path in paths), route
        shape = document["components"]["schemas"]["echo.Payload"]["properties"]
        assert shape["in_int8"]["items"] == {"type": "integer", "minimum": -128, "maximum": 127}


def test_replies_fit_their_schemas(client: httpx.Client) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = client.get("/openapi.json").json()

    def check(path: str, verb: str, reply: httpx.Response) -> None:
        told = document["paths"][path][verb]["responses"][str(reply.status_code)]
        if "$ref" in told:
            told = document["components"]["responses"][told["$ref"].rsplit("/", 1)[1]]
        schema = told["content"][reply.headers["Content-Type"].split(";")[0]]["schema"]
        if reply.headers["Content-Type"] == "application/json":
            validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
            validator.validate(reply.json())

    image = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [7] * 64}
    for path, body in (
        ("/predict/small", document["paths"]["/predict/small"]["post"]["requestBody"]["content"]["application/json"]["example"]),
        ("/predict/prices", {"age": "many"}),
        ("/v2/models/small/infer", {"inputs": [image]}),
        ("/v2/models/small/infer", {"inputs": [image], "parameters": {"binary_data_output": True}}),
        ("/v2/models/small/infer", {"inputs": [image | {"data": []}]}),
        ("/v2/models/small/infer", {"inputs": [image], "parameters": {"timeout": 1}}),
        ("/v2/repository/index", {}),
    ):  # fmt: skip
        check(path, "post", client.post(path, json=body))
    for path in ("/v2/models/stats", "/v2", "/models", "/metrics", "/v2/health/ready"):
        check(path, "get", client.get(path))


def test_a_generic_validator_agrees(client: httpx.Client) -> None:
    """Schemas are JSON Schema 2020-12, and the examples fit them."""
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
