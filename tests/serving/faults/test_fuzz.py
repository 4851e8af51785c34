"""Thousands of damaged requests to a real server: it answers or refuses each, never fails, and doesn't grow."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import table_rows
from tests.serving.echo import DTYPES, echo_bundle, open_bundle, values
from tests.serving.faults.starting import rss
from tests.serving.running import Running, running

from bedplate.bundle import Bundle
from bedplate.serving.oip_binary import DATATYPES, bytes_of

EXAMPLES, WARM = 3000, 600
MOST_GROWTH = 40
"""MiB by which a server may grow over a few thousand requests once it is warm: its sketches fill, its allocator keeps."""

HEADER = "Inference-Header-Content-Length"
BROAD = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # fmt: skip


class Line:
    """One keep-alive connection; a server that hangs up after a bad request is asked on another one."""

    def __init__(self, server: Running) -> None:
        parts = urlsplit(server.url)
        self.server, self.host, self.port = server, parts.hostname or "", parts.port or 0
        self.connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        self.asked, self.before = 0, 0
        self.seen: set[int] = set()

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.asked += 1
        if self.asked == WARM:
            self.before = rss(self.server.process.pid)
        try:
            self.connection.request("POST", path, body, headers)
            reply = self.connection.getresponse()
            told = reply.read()
        except (http.client.HTTPException, OSError):
            self.connection.close()
            self.connection.request("POST", path, body, headers)
            reply = self.connection.getresponse()
            told = reply.read()
        self.seen.add(reply.status)
        assert reply.status in (200, 400, 404, 405, 413, 415, 422, 501, 504), (reply.status, told[:500])
        if reply.status != 200:
            error = json.loads(told)["error"]
            assert isinstance(error, str)
            assert "Traceback" not in error
            assert ".py" not in error

    def check(self) -> None:
        assert self.asked > WARM
        assert {200, 400} <= self.seen
        assert rss(self.server.process.pid) - self.before < MOST_GROWTH
        health = httpx.get(f"{self.server.url}/healthz", timeout=10)
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        assert 'status="500"' not in httpx.get(f"{self.server.url}/metrics").text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, image_box: Bundle, table_box: Bundle) -> Iterator[Running]:
    place: Path = tmp_path_factory.mktemp("boxes")
    boxes = [echo_bundle(place / "echo"), open_bundle(place / "open"), image_box, table_box]
    with running([("", box.path) for box in boxes], state=place / "state") as server:
        yield server


@pytest.fixture
def line(served: Running) -> Iterator[Line]:
    line = Line(served)
    with contextlib.closing(line.connection):
        yield line


def damaged(data: st.DataObject, body: bytes) -> bytes:
    """A body with some bytes changed, cut out, put in, or a piece of it moved elsewhere."""
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        how = data.draw(st.integers(0, 4))
        if how == 0 and changed:
            changed[at] = data.draw(st.integers(0, 255))
        elif how == 1:
            del changed[at : at + data.draw(st.integers(1, 40))]
        elif how == 2:
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        elif how == 3:
            changed[at:at] = data.draw(
                st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"null", b"true", b"-", b"1e308", b"1e-400", b"\\u0000", b"\\ud800", b"99999999999999999999", b"NaN", b"0.5"])
            )  # fmt: skip
        else:
            piece = changed[at : at + data.draw(st.integers(1, 30))]
            to = data.draw(st.integers(0, len(changed)))
            changed[to:to] = piece
    return bytes(changed)


def binary_request() -> tuple[bytes, int]:
    arrays = values(2, seed=1)
    parts = {name: bytes_of(array) for name, array in arrays.items()}
    inputs = [
        {"name": name, "datatype": DATATYPES[name.removeprefix("in_")], "shape": list(arrays[name].shape),
         "parameters": {"binary_data_size": len(part)}}
        for name, part in parts.items()
    ]  # fmt: skip
    head = json.dumps({"id": "7", "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(parts.values()), len(head)


def test_bytes_behind_json(line: Line) -> None:
    good, size = binary_request()
    line.post("/v2/models/echo/infer", good, {HEADER: str(size)})

    @BROAD
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        body = damaged(data, good)
        told = size + data.draw(st.sampled_from([0, 0, 0, len(body) - len(good), 1, -1, -size, 1 << 40, -2 * size]))
        line.post("/v2/models/echo/infer", body, {HEADER: str(told)})

    ask()
    line.check()


def test_json_of_every_protocol(line: Line) -> None:
    image = np.arange(64).reshape(1, 8, 8, 1).tolist()
    echo = [
        {"name": f"in_{dtype}", "datatype": DATATYPES[dtype], "shape": [1] if dtype == "string" else [1, 2],
         "data": ["é"] if dtype == "string" else [True, False] if dtype == "bool" else [1, 2]}
        for dtype in DTYPES if dtype != "float16"
    ]  # fmt: skip
    rows = table_rows(2)
    requests: list[tuple[str, object]] = [
        ("/v2/models/echo/infer", {"inputs": echo, "outputs": [{"name": "out_int8"}]}),
        ("/v2/models/small/infer", {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 1], "data": np.ravel(image).tolist()}]}),
        ("/v1/models/small:predict", {"instances": image}), ("/v1/models/small:predict", {"inputs": image}),
        ("/v1/models/small:classify", {"examples": [{"image": {"b64": "AAAA"}}]}),
        ("/v1/models/open:predict", {"instances": [{"a": [1.5, 2], "b": [3, 4]}]}),
        ("/v1/models/open:predict", {"inputs": {"a": [[1.5, 2]], "b": [[3, 4]]}}),
        ("/v1/models/prices:predict", {"instances": rows}), ("/v1/models/prices:regress", {"examples": rows}),
        ("/predict/prices", rows), ("/predict/small", image), ("/predict/open", [{"a": [1, 2], "b": [3, 4]}]),
    ]  # fmt: skip
    bodies = [(path, json.dumps(value, separators=(",", ":")).encode()) for path, value in requests]
    kind = {"content-type": "application/json"}
    for path, body in bodies:
        line.post(path, body, kind)

    @BROAD
    @given(data=st.data(), which=st.integers(0, len(bodies) - 1))
    def ask(data: st.DataObject, which: int) -> None:
        path, body = bodies[which]
        line.post(path, damaged(data, body), kind)

    ask()
    line.check()


HEADS = st.sampled_from(
    ["content-type", "content-encoding", "accept", "accept-encoding", "x-request-timeout", "grpc-timeout", "x-request-id", "traceparent", "authorization", "origin", HEADER, "expect", "range", "if-match"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["", "gzip", "deflate", "application/json", "multipart/form-data; boundary=x", "text/csv", "0", "-1", "1e9", "5", "1S", "99999999H", "nan", "*", "text/event-stream", "application/x-ndjson"]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)  # fmt: skip
PARTS = st.sampled_from(
    ["v1", "v2", "models", "small", "prices", "infer", "predict", "versions", "labels", "1", "small:predict", "stats", "repository", "index", "..", "%00", "%2e", "%ff", "predict", "metrics", ""]
)  # fmt: skip


def test_heads_and_paths(line: Line) -> None:
    body = json.dumps({"instances": np.zeros((1, 8, 8, 1), int).tolist()}).encode()
    line.post("/v1/models/small:predict", body, {})

    @settings(BROAD, max_examples=1500)
    @given(st.dictionaries(HEADS, WORDS, max_size=4), st.lists(PARTS, min_size=1, max_size=6), st.booleans())
    def ask(heads: dict[str, str], parts: list[str], good: bool) -> None:
        heads.pop("expect", None)  # http.client doesn't wait for a 100
        line.post("/v1/models/small:predict" if good else "/" + "/".join(parts), body, heads)

    ask()
    line.check()
