"""Bedplate's own interface: every form of a payload gives the bundle's own answer, and bad ones get a clear 4xx."""

from __future__ import annotations

import base64
import gzip
import json

import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images, table_rows

from bedplate.bundle import Bundle


def test_an_image_in_every_form_gets_the_same_answer(client: httpx.Client, image_box: Bundle, png: bytes) -> None:
    b64 = {"b64": base64.b64encode(png).decode()}
    pixels = images(1, seed=5)[0]
    forms: list[dict] = [
        {"content": png, "headers": {"Content-Type": "image/png"}},
        {"content": png},
        {"content": gzip.compress(png), "headers": {"Content-Encoding": "gzip"}},
        {"json": b64},
        {"json": [b64]},
        {"json": {"image": b64}},
        {"json": {"image": pixels.tolist()}},
        {"json": pixels.tolist()},
        {"json": pixels[:, :, 0].tolist()},
        {"json": [pixels.tolist()]},
    ]
    expected = image_box.predict([png])
    for form in forms:
        reply = client.post("/predict/small", **form)
        assert reply.status_code == 200, reply.text
        assert reply.json() == {"model": "small", "bundle": image_box.id, "answers": expected}


def test_rows_as_json_and_csv_get_the_bundles_answers(client: httpx.Client, table_box: Bundle) -> None:
    rows = table_rows(5, seed=11)
    expected = table_box.predict(rows)
    lines = ["age,town,since,note"] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    forms: list[dict] = [
        {"json": rows},
        {"content": "\n".join(lines), "headers": {"Content-Type": "text/csv; charset=utf-8"}},
        {"content": "\n".join(map(json.dumps, rows)), "headers": {"Content-Type": "application/x-ndjson"}},
    ]
    for form in forms:
        reply = client.post("/predict/prices", **form)
        assert reply.status_code == 200, reply.text
        assert reply.json()["answers"] == expected
    assert client.post("/predict/prices", json=rows[0]).json()["answers"] == expected[:1]


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 400, "empty"),
        (b"not an image", {}, 400, "not an image"),
        (b"\x89PNG\r\n\x1a\n truncated", {}, 400, "image"),
        (b'{"b64": "%%%"}', {}, 400, "not base64"),
        (b'{"b64": 5}', {}, 400, "must be a string"),
        (b'{"picture": []}', {}, 400, "expected an object with 'image' or 'b64'"),
        (b'[{"b64": ""}, [[1]]]', {}, 400, "all images as base64, or all as numbers"),
        (b"[]", {}, 400, "no rows"),
        (b"[NaN]", {}, 400, "NaN and Infinity are no JSON"),
        (b'{"b64"', {}, 400, "JSON Parse error"),
        (b"[" * 100_000, {}, 400, "JSON Parse error"),
        (b"[" * 70 + b"]" * 70, {}, 400, "images"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "forms"),
        (b"x", {"Content-Encoding": "br"}, 415, "gzip"),
        (b"xxxxxxxxxxxxxxxx", {"Content-Encoding": "gzip"}, 400, "isn't gzip"),
        (gzip.compress(b"x" * 1000)[:-9], {"Content-Encoding": "gzip"}, 400, "ends early"),
        (b'"text"', {"Content-Type": "application/json"}, 400, "expected a JSON object or a list"),
        (b"5", {"Content-Type": "application/json"}, 400, "received a number"),
    ],
)
def test_bad_images(client: httpx.Client, body: bytes, headers: dict[str, str], status: int, message: str) -> None:
    reply = client.post("/predict/small", content=body, headers=headers)
    assert reply.status_code == status
    assert message in reply.json()["error"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"town": "east", "since": "2020-01-01"}, "lacks column 'age'"),
        ({"age": "many", "town": "east", "since": "2020-01-01"}, "expected a number"),
        ({"age": 1, "town": "east", "since": "2020-01-01", "tonw": 1}, "did you mean 'town'"),
        ({"age": 1, "town": {"x": 1}, "since": "2020-01-01"}, "column 'town'"),
        ({"age": 1, "town": "east", "since": "yesterday"}, "a date"),
        ({"age": 1e400, "town": "east", "since": None}, "JSON"),
        ([1, 2, 3], "row"),
        ("just text", "expected a JSON object or a list"),
        ([], "no rows"),
    ],
)
def test_bad_rows(client: httpx.Client, row: object, message: str) -> None:
    content = json.dumps(row)
    reply = client.post("/predict/prices", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert message in reply.text


def test_a_packed_table_is_refused_since_it_could_be_a_bomb(client: httpx.Client) -> None:
    reply = client.post("/predict/prices", content=gzip.compress(b"age,town,since\n1,east,2020-01-01\n"))
    assert (reply.status_code, "Content-Encoding" in reply.json()["error"]) == (415, True)


def test_bodies_and_rows_are_capped(client: httpx.Client) -> None:
    assert client.post("/predict/small", content=b"x" * (64 * 2**20 + 1)).status_code == 413
    bomb = gzip.compress(b"0" * (65 * 2**20))
    assert client.post("/predict/small", content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413

    def endless() -> object:
        for _ in range(70):
            yield b"x" * 2**20

    assert client.post("/predict/small", content=endless()).status_code == 413  # type: ignore[arg-type]
    row = {"age": 1, "town": "east", "since": None}
    reply = client.post("/predict/prices", json=[row] * 10_001)
    assert reply.status_code == 413
    assert "10001 rows" in reply.json()["error"]


def test_unknown_models_paths_and_methods(client: httpx.Client) -> None:
    unknown = client.post("/predict/nothing", content=b"x")
    assert (unknown.status_code, unknown.json()["error"]) == (
        404,
        "no model 'nothing' is served here; there are: prices, small",
    )
    for method, path, status in (
        ("GET", "/predict/small", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/predict/a/b", 404),
        ("POST", "/predict/%2e%2e%2fetc", 404),
    ):
        reply = client.request(method, path)
        assert reply.status_code == status, path
        assert reply.json()["error"]


def test_descriptions_can_be_sent_back_as_they_are(client: httpx.Client, image_box: Bundle, table_box: Bundle) -> None:
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert set(models) == {"small", "prices"}
    assert models["small"]["labels"] == ["zero", "one", "two"]
    assert models["prices"]["columns"] == [
        {"name": "age", "type": "number"},
        {"name": "town", "type": "category", "values": ["west", "Zürich", "east"]},
        {"name": "since", "type": "date"},
    ]
    for name, box in (("small", image_box), ("prices", table_box)):
        examples = models[name]["examples"]
        assert len(examples) == 12
        answers = client.post(models[name]["predict"], json=examples).json()["answers"]
        sealed = box.golden.outputs["f32"][box.output][:12]
        given = [a["value"] if "value" in a else list(a["probabilities"].values()) for a in answers]
        np.testing.assert_allclose(given, sealed, rtol=1e-5, atol=1e-6)


def test_health_and_metrics_tell_what_was_done(client: httpx.Client, png: bytes) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "models": ["prices", "small"]}
    client.post("/predict/small", content=png)
    client.post("/predict/small", content=b"junk")
    client.post("/predict/absent", content=b"junk")
    text = client.get("/metrics").text
    assert 'bedplate_requests_total{model="small",protocol="native",status="200",version="1"}' in text
    assert 'bedplate_requests_total{model="small",protocol="native",status="400",version="1"}' in text
    assert 'bedplate_requests_total{model="",protocol="native",status="404",version=""}' in text
    assert 'bedplate_request_seconds_bucket{le="0.01",model="small",protocol="native",version="1"}' in text
    assert 'bedplate_model_info{bundle="' in text
    assert "absent" not in text
