from __future__ import annotations

import io
import json
import re
from pathlib import Path

import httpx
import pytest
from tests.serving.running import command

from bedplate.bundle import Bundle
from bedplate.serving.access_log import AccessLog, trace_of
from bedplate.serving.exchange import Ask, Reply

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_each_request_is_a_line_with_its_trace(image_box: Bundle, png: bytes, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    with command(image_box.path, "--access-log", lines=said) as server:
        headers = {"x-request-id": "mine-1", "traceparent": f"00-{TRACE}-{SPAN}-01"}
        reply = httpx.post(f"{server.url}/predict/small", content=png, headers=headers)
        assert reply.headers["x-request-id"] == "mine-1"
        own = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", reply.headers["traceparent"])
        assert own
        assert own[1] != SPAN
        other = httpx.get(f"{server.url}/none", headers={"x-request-id": "bad\tid"})
        assert re.fullmatch(r"[0-9a-f]{16}", other.headers["x-request-id"])
        server.stop()
    lines = [json.loads(line) for line in said.read_text().splitlines() if line.startswith("{")]
    first = lines[0]
    assert (first["request_id"], first["trace_id"], first["parent_id"], first["span_id"]) == (
        "mine-1",
        TRACE,
        SPAN,
        own[1],
    )
    assert (first["method"], first["path"], first["status"], first["bytes_in"]) == (
        "POST",
        "/predict/small",
        200,
        len(png),
    )
    assert first["ms"] > 0
    assert [line["status"] for line in lines] == [200, 404]


def test_a_line_says_whose_token_let_the_request_in(image_box: Bundle, png: bytes, tmp_path: Path) -> None:
    said, tokens = tmp_path / "said.txt", tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"name": "team-a", "token": "0123456789abcdef", "roles": ["predict"]}]}))
    tokens.chmod(0o600)
    with command(image_box.path, "--access-log", "--token-file", tokens, lines=said) as server:
        for token in ("0123456789abcdef", "wrong"):
            httpx.post(f"{server.url}/predict/small", content=png, headers={"authorization": f"Bearer {token}"})
        server.stop()
    lines = [json.loads(line) for line in said.read_text().splitlines() if line.startswith("{")]
    assert [(line["status"], line["user"]) for line in lines] == [(200, "team-a"), (401, None)]
    assert "0123456789abcdef" not in said.read_text()


@pytest.mark.parametrize(
    "header",
    ["", "junk", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-01-more",
     f"00-{TRACE.upper()}-{SPAN}-01"],
)  # fmt: skip
def test_what_is_no_traceparent_begins_a_trace(header: str) -> None:
    trace, parent, _ = trace_of(header)
    assert re.fullmatch(r"[0-9a-f]{32}", trace)
    assert trace != TRACE
    assert parent == ""


def test_later_versions_of_the_header_are_read_by_their_first_fields() -> None:
    assert trace_of(f"01-{TRACE}-{SPAN}-01-more") == (TRACE, SPAN, "01")


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stops_no_request() -> None:
    log = AccessLog(Full())
    for _ in range(5):
        log.finish(Ask("GET", "/"), Reply(b""), 0.001)
    log.close()
    assert log.lost == 5
