"""Requests that make no sense, are too deep, too large, or lie: each with the exact answer, over a real server."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.serving.faults.starting import rss
from tests.serving.running import Running, running

from bedplate.bundle import Bundle

INFER, PREDICT, NATIVE = "/v2/models/small/infer", "/v1/models/small:predict", "/predict/small"
JSON = {"content-type": "application/json"}
DEEP = 250_000


@pytest.fixture(scope="module")
def served(image_box: Bundle, table_box: Bundle) -> Iterator[Running]:
    with running([("", image_box.path), ("", table_box.path)]) as server:
        yield server


@pytest.fixture
def client(served: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def image(**changes: Any) -> bytes:
    given = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [0] * 64}
    return json.dumps({"inputs": [given | changes]}).encode()


def said(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]


@pytest.mark.parametrize("path", [INFER, PREDICT, NATIVE, "/predict/prices", "/v1/models/prices:predict"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"instances":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    ],
    ids=["open", "lists", "instances", "objects"],
)  # fmt: skip
def test_nesting_without_end_is_refused_at_once(client: httpx.Client, path: str, body: bytes) -> None:
    status, words = said(client.post(path, content=body, headers=JSON))
    assert status == 400
    assert "depth limit exceeded" in words or words == "JSON Parse error: nested too deep"


@pytest.mark.parametrize("path", [INFER, PREDICT, NATIVE])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"), (b'{"inputs": [', "JSON Parse error"), (b"\xff\xfe{}", ""), (b'["\xff', "the body isn't UTF-8"), (b'{"a": "\xff"}', "JSON Parse error"),
        (b"null", "null"), (b"5", ""), (b'"text"', ""),
    ],
)  # fmt: skip
def test_what_is_no_object_is_a_400(client: httpx.Client, path: str, body: bytes, words: str) -> None:
    status, error = said(client.post(path, content=body, headers=JSON))
    assert status == 400
    assert words in error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1 << 40, 1 << 40, 8, 1]}, "the shape must be a list of whole numbers"),
        ({"shape": [1 << 63, 8, 8, 1]}, "the shape must be a list of whole numbers"),
        ({"shape": [1 << 32, 1 << 32, 1 << 32, 1 << 32]}, "the shape must be"),
        ({"shape": [9999, 8, 8, 1]}, "needs 639936 values, received 64"),
        ({"shape": [1 << 40, 8, 8, 1]}, "below 2³¹, ['rows', 8, 8, 1], received [1099511627776, 8, 8, 1]"),
        ({"data": [1.0] * 64}, "received numbers with a point, such as 1.0"),
        ({"data": [0.5, *[1.0] * 63]}, "received fractions or numbers out of range"),
        ({"data": [256] * 64}, "expected whole numbers from 0 to 255, received 256"),
        ({"shape": [-1, 8, 8, 1]}, "the shape must be a list of whole numbers"),
        ({"shape": [0, 8, 8, 1]}, "no rows"),
        ({"shape": [True, 8, 8, 1]}, "the shape must be a list of whole numbers"),
        ({"data": [10**30] * 64}, "fractions or numbers out of range"),
        ({"data": [1 << 63] * 64}, "expected whole numbers from 0 to 255"),
        ({"data": [1] * 63 + [256]}, "received 1 to 256"),
        ({"data": [float("nan")] * 64}, "NaN and Infinity are no JSON"),
        ({"data": [1, True] * 32}, "received true or false among them"),
        ({"data": [True, 1] * 32}, "received true or false"),
        ({"name": "im\0age"}, r"received 'im\x00age'"),
        ({"name": "../image"}, "received '../image'"),
        ({"name": "ïmage\u202e"}, "expected one of ['image']"),
        ({"datatype": "UINT8\0"}, "datatype"),
    ],
)
def test_tensors_that_lie_about_themselves(client: httpx.Client, change: dict[str, Any], words: str) -> None:
    status, error = said(client.post(INFER, content=image(**change), headers=JSON))
    assert status == 400
    assert words in error


HALF = "\\ud800"


@pytest.mark.parametrize("path", [INFER, PREDICT, "/v1/models/small:classify", NATIVE, "/v1/models/prices:predict"])
@pytest.mark.parametrize(
    "body",
    [
        f'{{"instances": [{{"{HALF}": 1}}]}}', f'{{"signature_name": "{HALF}", "instances": [[1]]}}',
        f'{{"examples": [{{"{HALF}": 1}}]}}', f'{{"inputs": {{"{HALF}": [1]}}}}', f'["{HALF}"]',
    ],
)  # fmt: skip
def test_half_a_surrogate_pair_is_no_text(client: httpx.Client, path: str, body: str) -> None:
    status, error = said(client.post(path, content=body.encode(), headers=JSON))
    assert status == 400
    assert "surrogate" in error


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" + b"0" * 5000])
def test_numbers_beyond_every_type(client: httpx.Client, number: bytes) -> None:
    body = image(data=[0] * 63 + [77]).replace(b"77", number)
    status, error = said(client.post(INFER, content=body, headers=JSON))
    assert (status, "number is infinity" in error) == (400, True)


def test_truth_values_are_no_numbers_in_any_protocol(client: httpx.Client) -> None:
    pixels = [[[0, True, *[0] * 6]] + [[0] * 8] * 7]
    for path, body in ((PREDICT, {"instances": pixels}), (PREDICT, {"inputs": pixels}), (NATIVE, pixels)):
        status, error = said(client.post(path, json=body))
        assert (status, "true or false" in error) == (400, True), path
    row = {"age": 40.5, "town": "east", "since": "2015-05-17", "note": "x"}
    wrong = [row, row | {"age": True}]
    columns = {name: [one[name] for one in wrong] for name in row if name != "note"}
    table = "/v1/models/prices:predict"
    lines = "\n".join(map(json.dumps, wrong))
    for path, given in (
        (table, {"instances": wrong}), (table, {"inputs": columns}), ("/predict/prices", wrong),
        ("/predict/prices?stream=true", wrong), ("/predict/prices", lines),
    ):  # fmt: skip
        body = given if isinstance(given, str) else json.dumps(given)
        status, error = said(client.post(path, content=body.encode()))
        assert status == 400, path
        assert error.startswith("row 2, column 'age': a value does not fit its column"), path
    assert client.post("/predict/prices", json=row | {"town": True}).status_code == 200  # a category may be true
    fine = client.post(INFER, json=json.loads(image()) | {"parameters": {"binary_data_output": False}})
    assert fine.status_code == 200


def test_an_input_twice_and_a_key_twice(client: httpx.Client) -> None:
    entry = json.loads(image())["inputs"][0]
    assert said(client.post(INFER, json={"inputs": [entry, entry]})) == (
        400,
        "inputs[1]: the input 'image' is given twice",
    )
    # Of a key that stands twice JSON takes the last; nothing is read from the first.
    assert client.post(INFER, content=b'{"inputs": 5, ' + image()[1:], headers=JSON).status_code == 200
    assert client.post(INFER, content=image()[:-1] + b', "inputs": 5}', headers=JSON).status_code == 400


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/predict/%00", 404, "no model '\0' is served here"),
        ("/predict/%2e%2e", 404, "no model '..' is served here"),
        ("/predict/..%2f..%2fetc%2fpasswd", 404, "nothing is served at"),
        ("/predict/%ff%fe", 404, "no model"),
        ("/predict/%E6%97%A5", 404, "no model '日' is served here"),
        ("/predict/" + "a" * 5000, 404, "no model 'aaa"),
        ("/v2/repository/models/%2e%2e/load", 404, "no model '..' is served here"),
        ("/v2/models/small/versions/7/infer", 404, "no version or label '7' of 'small' is served here; there are: [1]"),
        ("/v2/models/small/versions/-1/infer", 404, "no version or label '-1'"),
        ("/v2/models/small/versions/%D9%A1/infer", 404, "no version or label"),
        ("/v2/models/small/versions/99999999999999999999999999/infer", 404, "no version or label '9999"),
        ("/v2/models/small/versions/" + "9" * 5000 + "/infer", 404, "no version or label '9999"),
        ("/predict/small/versions/" + "9" * 5000, 404, "no version or label '9999"),
        ("/predict/small/versions/" + "0" * 5000 + "7", 404, "no version or label '0000"),
        ("/v1/models/small/versions/" + "9" * 5000 + ":predict", 400, "Failed to convert version: 9999"),
        ("/v1/models/small/versions/" + "0" * 5000 + "7:predict", 404, "Servable not found for request: Specific"),
        ("/predict/small/labels/canary", 404, "no version or label 'canary' of 'small' is served here"),
        ("/v1/models/small/labels/canary:predict", 400, "Unrecognized servable version label: canary"),
        ("/v1/models/a%00b:predict", 404, "Servable not found for request: Latest(a\0b)"),
    ],
)
def test_names_versions_and_labels_that_are_not_there(client: httpx.Client, path: str, status: int, words: str) -> None:
    found, error = said(client.post(path, content=image(), headers=JSON))
    assert found == status
    assert words in error
    assert "/home" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PREDICT, "POST"), ("PATCH", PREDICT, "POST"), ("OPTIONS", PREDICT, "POST"), ("HEAD", PREDICT, "POST"),
        ("DELETE", "/v1/models/small/versions/1:classify", "POST"), ("POST", "/v1/models/small", "GET"),
        ("PUT", "/v1/models/small/metadata", "GET"), ("POST", "/v1/models", "GET"), ("GET", "/v1/models/small:explain", "POST"),
        ("GET", INFER, "POST"), ("POST", "/v2/models/small", "GET"), ("DELETE", "/healthz", "GET"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_told_the_right_one(client: httpx.Client, method: str, path: str, allow: str) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)


def test_packed_bombs_are_refused_without_being_unpacked(client: httpx.Client, served: Running) -> None:
    before = rss(served.process.pid)
    plain = b"0" * (300 << 20)
    for name, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
        assert len(packed) < 1 << 20
        status, error = said(client.post(INFER, content=packed, headers={"content-encoding": name}))
        assert (status, "at most 67,108,864 bytes, as sent and unpacked" in error) == (413, True)
    assert rss(served.process.pid) - before < 150


@pytest.mark.parametrize(
    ("packed", "name", "status", "words"),
    [
        (gzip.compress(image(), mtime=0)[:-4], "gzip", 400, "the gzip body ends early"),
        (gzip.compress(image(), mtime=0) + b"more", "gzip", 400, "4 bytes follow the gzip body"),
        (gzip.compress(image(), mtime=0) * 2, "gzip", 400, "bytes follow the gzip body"),
        (zlib.compress(image()), "gzip", 400, "the body isn't gzip"),
        (image(), "deflate", 400, "the body isn't deflate"),
        (image(), "br", 415, "content encoding 'br' isn't known"),
        (image(), "gzip, gzip", 415, "content encoding 'gzip, gzip' isn't known"),
    ],
)
def test_packed_bodies_that_lie(client: httpx.Client, packed: bytes, name: str, status: int, words: str) -> None:
    found, error = said(client.post(INFER, content=packed, headers={"content-encoding": name}))
    assert found == status
    assert words in error


def test_large_bodies_together_take_no_more_than_there_is_room_for(image_box: Bundle) -> None:
    """One that comes in slowly holds its bytes; others are told to come back."""
    with running([("", image_box.path)], limits={"all_bytes": 1 << 20, "body_seconds": 20}) as server:
        parts = urlsplit(server.url)
        body = json.dumps({"instances": [[[0] * 8] * 8] * 2000}).encode()
        assert len(body) < 1 << 20
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as line:
            line.sendall(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n")
            line.sendall(b" " * 800_000)
            deadline = time.monotonic() + 10
            while (reply := httpx.post(f"{server.url}{PREDICT}", content=body)).status_code != 503:
                assert time.monotonic() < deadline
            assert (reply.headers["retry-after"], "in hand take" in reply.json()["error"]) == ("1", True)
            assert httpx.get(f"{server.url}/healthz").status_code == 200
            assert httpx.post(f"{server.url}{INFER}", content=image()).status_code == 200
        deadline = time.monotonic() + 10
        while (reply := httpx.post(f"{server.url}{PREDICT}", content=body)).status_code == 503:
            assert time.monotonic() < deadline
        assert reply.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_gigabyte_of_json_is_refused_before_it_is_held(served: Running, chunked: bool) -> None:
    parts = urlsplit(served.url)
    before = rss(served.process.pid)
    size = b"transfer-encoding: chunked" if chunked else b"content-length: 1073741824"
    found, sent = b"", 0
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as line:
        line.sendall(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: x\r\n" + size + b"\r\n\r\n")
        part = b"[0]," * (1 << 18)
        try:
            while sent < 1 << 30:
                line.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                sent += len(part)
        except OSError:
            pass
        try:
            found = line.recv(65536)
        except ConnectionResetError:
            found = b"<reset>"
    assert sent < 100 << 20
    assert found.startswith(b"HTTP/1.1 413 ") or found == b"<reset>"
    assert rss(served.process.pid) - before < 250
    assert httpx.get(f"{served.url}/healthz").status_code == 200
