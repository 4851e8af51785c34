"""Bedplate's own interface: every form of a payload gives the bundle's own answer, and bad ones get a clear 4xx."""

from __future__ import annotations

import base64
import gzip
import json
import re

import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images, table_rows
from tests.serving.running import running

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
        assert reply.json() == {"model": "small", "version": "1", "bundle": image_box.id, "answers": expected}


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
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "multipart/form-data"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "no boundary"),
        (b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "holds no file"),
        (b"x", {"Content-Encoding": "br"}, 415, "gzip"),
        (b"xxxxxxxxxxxxxxxx", {"Content-Encoding": "gzip"}, 400, "isn't gzip"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "ends early"),
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
    assert "more than 10,000 rows" in reply.json()["error"]


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


FORMS: list[list[tuple[str, tuple[str | None, bytes, str]]]] = [
    [("file", ("7.png", b"PNG", "image/png"))],
    [("anything", ("7.png", b"PNG", "application/octet-stream"))],
    [("image", (None, b"PNG", "text/plain"))],
    [("data", (None, b"PNG", "text/plain")), ("comment", (None, b"hello", "text/plain"))],
    [("file", ("7.png", b"PNG", "image/png")), ("image", (None, b"not this", "text/plain"))],
    [("file", ("7.json", b'{"b64": "B64"}', "application/json"))],
    [("a", ("7.png", b"PNG", "image/png")), ("b", ("8.png", b"PNG", "image/png")), ("empty", ("", b"", "image/png"))],
]


@pytest.mark.parametrize("form", FORMS)
def test_images_in_forms(client: httpx.Client, image_box: Bundle, png: bytes, form: list) -> None:
    b64 = base64.b64encode(png)
    files = [(name, (file, data.replace(b"PNG", png).replace(b"B64", b64), kind)) for name, (file, data, kind) in form]
    reply = client.post("/predict/small", files=files)
    assert reply.status_code == 200, reply.text
    count = sum(1 for _, (file, *_) in files if file) or 1
    assert reply.json()["answers"] == image_box.predict([png]) * count


def test_tables_in_forms(client: httpx.Client, table_box: Bundle) -> None:
    row = {"age": "31", "town": "Zürich", "since": "2020-01-31"}
    expected = table_box.predict([row])
    fields = client.post("/predict/prices", files=[(name, (None, value)) for name, value in row.items()])
    assert fields.json()["answers"] == expected
    csv = "age,town,since\n31,Zürich,2020-01-31\n".encode()
    files = [("a", ("a.csv", csv, "text/csv")), ("b", ("b.json", json.dumps(row).encode(), "application/json"))]
    assert client.post("/predict/prices", files=files[:1]).json()["answers"] == expected
    assert client.post("/predict/prices", files=files).json()["answers"] == expected * 2
    twice = [("age", (None, "1")), ("age", (None, "2"))]
    for form, message in (
        ([("age", (None, "31"))], "lacks"),
        (twice, "given twice"),
        ([("age", (None, b"\xff"))], "UTF-8"),
    ):
        reply = client.post("/predict/prices", files=form)
        assert (reply.status_code, message in reply.text) == (400, True), reply.text
    many = client.post("/predict/prices", files=[(f"f{k}", (None, "1")) for k in range(1001)])
    assert (many.status_code, "1,000" in many.text) == (413, True)


def test_versions_and_labels_have_paths_of_their_own(client: httpx.Client, png: bytes) -> None:
    whole = client.post("/predict/small", content=png).json()
    assert client.post("/predict/small/versions/1", content=png).json() == whole
    for path in ("versions/2", "versions/x", "labels/stable"):
        assert client.post(f"/predict/small/{path}", content=png).status_code == 404
    assert client.put("/models/small/labels/stable", json={"version": 1}).status_code == 200
    assert client.post("/predict/small/labels/stable", content=png).json() == whole
    assert client.delete("/models/small/labels/stable").status_code == 200


@pytest.mark.parametrize("how", [{"params": {"stream": "true"}}, {"headers": {"Accept": "application/x-ndjson"}}])
def test_a_stream_gives_one_line_a_row(client: httpx.Client, table_box: Bundle, how: dict) -> None:
    rows = table_rows(600, seed=12)
    reply = client.post("/predict/prices", json=rows, **how)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert (reply.headers["Bedplate-Model"], reply.headers["Bedplate-Version"]) == ("prices", "1")
    assert [json.loads(line) for line in reply.text.splitlines()] == table_box.predict(rows)
    plain = client.post("/predict/prices", json=rows, params={"stream": "false"}, headers=how.get("headers"))
    assert plain.headers["Content-Type"] == "application/json"


def test_a_stream_has_no_most_rows_and_begins_before_the_last(client: httpx.Client) -> None:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in table_rows(100, seed=13)) * 300
    body = lines + b'{"age": "many", "town": null, "since": null}\n'
    headers = {"Content-Type": "application/x-ndjson"}
    assert client.post("/predict/prices", content=lines, headers=headers).status_code == 413
    with client.stream("POST", "/predict/prices?stream=1", content=body, headers=headers) as reply:
        assert reply.status_code == 200
        found = list(reply.iter_lines())
    # The last part of 256 rows holds the fault; all before it are answered.
    whole = 30_000 // 256 * 256
    assert len(found) == whole + 1
    assert all("value" in json.loads(line) for line in found[:whole])
    last = json.loads(found[-1])
    assert last["row"] == whole
    assert "does not fit its column" in last["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("prices", b'{"age": "many", "town": null, "since": null}', 400),
        ("prices", b"", 400),
        ("prices", b"[]", 400),
        ("prices", b"\x1f\x8bpacked", 415),
        ("small", b"not an image", 400),
        ("none", b"x", 404),
    ],
)
def test_a_stream_that_fails_at_once_has_a_proper_status(
    client: httpx.Client, path: str, body: bytes, status: int
) -> None:
    reply = client.post(f"/predict/{path}?stream=true", content=body)
    assert (reply.status_code, reply.headers["Content-Type"]) == (status, "application/json")
    assert reply.json()["error"]


def test_a_stream_lets_go_of_the_model_when_its_caller_leaves(image_box: Bundle, table_box: Bundle) -> None:
    """Unloading waits for requests in hand: one that was left must not be among them."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in table_rows(100, seed=13)) * 500
    with running([("", table_box.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        with client.stream("POST", "/predict/prices?stream=1", content=lines) as reply:
            next(reply.iter_lines())
        assert client.post("/v2/repository/models/prices/unload").status_code == 200
        assert client.get("/models").json()["models"] == []


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
    assert float(re.search(r"\nprocess_resident_memory_bytes ([\d.e+]+)", text)[1]) > 1e7  # type: ignore[index]
    assert "absent" not in text


@pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream"])
def test_rows_a_line_are_read_whatever_they_are_called(client: httpx.Client, table_box: Bundle, kind: str) -> None:
    rows = table_rows(5, seed=11)
    body = "\n".join(json.dumps(row) for row in rows).encode()
    headers = {"content-type": kind} if kind else {}
    reply = client.post("/predict/prices?stream=true", content=body, headers=headers)
    assert reply.status_code == 200, reply.text
    assert [json.loads(line) for line in reply.text.splitlines()] == table_box.predict(rows)
    assert client.post("/predict/prices", content=b'{"a": 1} x', headers=headers).status_code == 400
