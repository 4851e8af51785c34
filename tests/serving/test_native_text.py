"""Bedplate's own interface to a model that writes text."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.bundle.texts import text_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle
from bedplate.generation import Sampling


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return text_bundle(tmp_path_factory.mktemp("boxes") / "writer")


@pytest.fixture(scope="module")
def writer(box: Bundle) -> Iterator[httpx.Client]:
    with running([("", box.path)]) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def test_a_text_in_every_form_is_continued_as_the_bundle_does(writer: httpx.Client, box: Bundle) -> None:
    wanted = box.predict(["so it"])[0]
    forms: list[dict[str, Any]] = [
        {"content": "so it"},
        {"content": "so it", "headers": {"content-type": "text/plain"}},
        {"json": "so it"},
        {"json": {"text": "so it"}},
        {"json": ["so it"]},
        {"json": [{"text": "so it"}]},
    ]
    for form in forms:
        reply = writer.post("/predict/writer", **form)
        assert reply.status_code == 200, reply.text
        found = reply.json()
        assert found["bundle"] == box.id
        (answer,) = found["answers"]
        assert (answer["answer"], answer["finish_reason"], answer["tokens"], answer["prompt_tokens"]) == (
            wanted["answer"], wanted["finish_reason"], wanted["tokens"], 5,
        )  # fmt: skip
        assert answer["forgotten_tokens"] > 0


def test_settings_stand_beside_the_text(writer: httpx.Client, box: Bundle) -> None:
    settings: dict[str, Any] = {"max_tokens": 9, "temperature": 1.5, "top_k": 4, "top_p": 0.9, "seed": 8}
    reply = writer.post("/predict/writer", json=[{"text": "so it", **settings}, "and"]).json()
    assert reply["answers"][0]["answer"] == box.generator().answer("so it", Sampling(**settings))["answer"]
    assert reply["answers"][1]["tokens"] == 200
    beams = writer.post("/predict/writer", json={"text": "so it", "beams": 3, "max_tokens": 6}).json()["answers"][0]
    assert beams["answer"] == box.generator().answer("so it", Sampling(beams=3, max_tokens=6))["answer"]
    fitting = writer.post("/predict/writer", json={"text": "so it", "beams": 2}).json()["answers"][0]
    assert fitting["tokens"] == 19  # of its context of 24 tokens: nobody said 200
    ended = writer.post("/predict/writer", json={"text": "so it", "stop": " ", "seed": 2}).json()["answers"][0]
    assert " " not in ended["answer"]


def test_lines_come_as_they_are_written(writer: httpx.Client, box: Bundle) -> None:
    body = {"text": "so it", "max_tokens": 20}
    for asked in ({"params": {"stream": "true"}}, {"headers": {"accept": "application/x-ndjson"}}):
        with writer.stream("POST", "/predict/writer", json=body, **asked) as reply:  # type: ignore[arg-type]
            assert reply.headers["content-type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in reply.iter_lines() if line]
        assert "".join(line["text"] for line in lines[:-1]) == box.generator().answer(
            "so it", Sampling(max_tokens=20)
        )["answer"]  # fmt: skip
        assert (lines[-1]["finish_reason"], lines[-1]["tokens"]) == ("length", 20)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "empty"), (b"so\xff", "not UTF-8"), (b'""', "empty"), (b"[]", "1 to 128 texts"), (b"{}", "expected 'text'"),
        (b'{"text": "so", "max_token": 3}', "did you mean 'max_tokens'"), (b'{"text": "so", "max_tokens": 0}', "1 to"),
        (b'{"text": "so", "temperature": -1}', "0 to 100"), ("so 猫".encode(), "never seen"), (b'"so\\u0000"', "NUL"),
        (b"so it goes " * 40, "longer than"), (b'{"text": "so", "beams": 2, "max_tokens": 900}', "beams don't reach"),
        (b"[3]", "expected a text"), (b'{"text": "so", "stop": [1]}', "strings"),
    ],
)  # fmt: skip
def test_what_cannot_be_continued_is_told(writer: httpx.Client, body: bytes, match: str) -> None:
    reply = writer.post("/predict/writer", content=body)
    assert reply.status_code == 400, reply.text
    assert match in reply.json()["error"]


def test_a_stream_is_of_one_text(writer: httpx.Client) -> None:
    for body in (["a", "b"], {"text": "so", "beams": 2}):
        assert writer.post("/predict/writer?stream=true", json=body).status_code == 400
    assert writer.post("/predict/nobody", content=b"so").status_code == 404


def test_tensors_are_answered_by_the_other_protocols(writer: httpx.Client, box: Bundle) -> None:
    tokens = box.generator().codec.encode("so it")
    body = {"inputs": [{"name": "tokens", "datatype": "INT32", "shape": [1, 5], "data": tokens}]}
    (output,) = writer.post("/v2/models/writer/infer", json=body).json()["outputs"]
    vocabulary = box.generator().codec.vocabulary
    assert (output["name"], output["shape"]) == ("logits", [1, 5, vocabulary])
    rows = writer.post("/v1/models/writer:predict", json={"instances": [tokens]}).json()["predictions"]
    assert len(rows[0]) == 5
    for bad in ([vocabulary] * 5, [-1] * 5):
        body["inputs"][0]["data"] = bad
        reply = writer.post("/v2/models/writer/infer", json=body)
        assert reply.status_code == 400, reply.text
    told = writer.get("/models").json()["models"][0]
    assert told["kind"] == "language"
    assert writer.post("/predict/writer", json=told["examples"][0]).status_code == 200
    assert "/predict/writer" in writer.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("body", [b'{"text": "so it", "max_tokens": 100000}', b'["so it"]'])
def test_a_caller_who_hangs_up_frees_the_place(box: Bundle, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedplate.serving.connection.HALF_OPEN", 0.2)
    with running([("", box.path)]) as server:
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as line:
            head = f"POST /predict/writer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            line.sendall(head.encode() + body)
            time.sleep(0.1)
        deadline = time.monotonic() + 10
        while "bedplate_streams" in (text := httpx.get(f"{server.url}/metrics").text):
            (under_way,) = (row for row in text.splitlines() if row.startswith("bedplate_streams{"))
            if float(under_way.split()[-1]) == 0:
                break
            assert time.monotonic() < deadline, under_way
            time.sleep(0.05)


def test_tables_lines_and_forms_are_texts(writer: httpx.Client, box: Bundle) -> None:
    wanted = [one["answer"] for one in box.predict(["so it", "and"])]
    lines = b'{"text": "so it"}\n"and"\n'
    bodies: list[dict[str, Any]] = [
        {"content": lines, "headers": {"content-type": "application/x-ndjson"}},
        {"content": b"id,text,reply\n1,so it,x\n2,and,y\n", "headers": {"content-type": "text/csv"}},
        {"files": [("file", ("a.txt", b"so it", "text/plain")), ("file", ("b", b"and"))]},
        {"files": [("file", ("a.jsonl", lines, "application/x-ndjson"))]},
    ]
    for body in bodies:
        reply = writer.post("/predict/writer", **body)
        assert reply.status_code == 200, reply.text
        assert [one["answer"] for one in reply.json()["answers"]] == wanted
    fields = {"text": (None, "so it"), "max_tokens": (None, "4")}
    short = writer.post("/predict/writer", files=fields).json()["answers"][0]
    assert (short["tokens"], short["finish_reason"]) == (4, "length")


@pytest.mark.parametrize(
    ("body", "kind", "match"),
    [
        (b'["so it", "so \xe7\x8c\xab"]', "application/json", "text 2: "),
        (b'{"text": "so"}\n{"tex', "application/x-ndjson", "the body, line 2"),
        (b"a,b\n1,2\n", "text/csv", "a column 'text'; received a, b"), (b'{"txt": "so"}', "application/json", "did you mean"),
        (b"so", "multipart/form-data", "no boundary"),
    ],
)  # fmt: skip
def test_the_text_at_fault_is_named(writer: httpx.Client, body: bytes, kind: str, match: str) -> None:
    reply = writer.post("/predict/writer", content=body, headers={"content-type": kind})
    assert reply.status_code == 400, reply.text
    assert match in reply.json()["error"]


def test_who_asks_for_a_stream_is_told_why_there_is_none(writer: httpx.Client) -> None:
    several = writer.post("/predict/writer?stream=true", json=["so", "and"]).json()["error"]
    assert "a stream is of one text (received 2)" in several
    beams = writer.post("/predict/writer?stream=true", json={"text": "so", "beams": 2}).json()["error"]
    assert "Leave beams out" in beams
