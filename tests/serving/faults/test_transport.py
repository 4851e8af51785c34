"""Callers that are slow, leave, hold places or send more than can be: over real sockets, to a real server."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images
from tests.serving.faults.boxes import asked, turning_bundle
from tests.serving.faults.starting import limited, rss
from tests.serving.running import Running, running
from tests.serving.test_connection import talk

from bedplate.bundle import Bundle
from bedplate.serving import messages

LIMITS = {"body_bytes": 32 << 20, "head_bytes": 8192, "head_seconds": 20.0, "body_seconds": 1.5}
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return turning_bundle(tmp_path_factory.mktemp("boxes") / "turning")


@pytest.fixture(scope="module")
def served(image_box: Bundle, table_box: Bundle, turning: Bundle) -> Iterator[Running]:
    boxes = [("", box.path) for box in (image_box, table_box, turning)]
    with running(boxes, limits=LIMITS, grpc_port=0, timeout=5.0, engine="onnxruntime") as server:
        yield server


@pytest.fixture
def address(served: Running) -> tuple[str, int]:
    return address_of(served)


def address_of(server: Running) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return parts.hostname or "", parts.port or 0


def post(path: str, body: bytes, *lines: bytes) -> bytes:
    head = [b"POST " + path.encode() + b" HTTP/1.1", b"host: x", b"content-length: %d" % len(body), *lines, b"", b""]
    return b"\r\n".join(head) + body


def healthy(address: tuple[str, int]) -> bool:
    return talk(address, HEALTH).startswith(b"HTTP/1.1 200 ")


def open_places(address: tuple[str, int], count: int) -> list[socket.socket]:
    found = []
    for _ in range(count):
        line = socket.create_connection(address, timeout=10)
        found.append(line)
    return found


def test_a_million_chunks_of_one_byte_cost_their_bytes_and_no_more(served: Running, address: tuple[str, int]) -> None:
    before, most = rss(served.process.pid), 0
    with socket.create_connection(address, timeout=20) as line:
        line.sendall(b"POST /predict/small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(50):
                line.sendall(b"1\r\na\r\n" * 20_000)
                most = max(most, rss(served.process.pid))
            line.sendall(b"0\r\n\r\n")
        with contextlib.suppress(OSError):
            assert line.recv(1 << 16).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
    assert most - before < 40
    assert healthy(address)


def test_thousands_of_idle_connections_keep_nobody_out(address: tuple[str, int]) -> None:
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300
    lines = open_places(address, min(10_000, room))
    try:
        assert len(lines) > 500
        assert healthy(address)
        assert talk(address, b"GET /models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").startswith(
            b"HTTP/1.1 200 "
        )
    finally:
        for line in lines:
            line.close()
    assert healthy(address)


def test_open_files_that_run_out_cost_the_idle_their_place(image_box: Bundle, tmp_path: Path) -> None:
    with limited({"RLIMIT_NOFILE": 250}, image_box.path, said=tmp_path / "said") as server:
        address = address_of(server)
        lines = open_places(address, 400)
        time.sleep(0.5)
        assert healthy(address)
        begun = post("/v2/models/small/infer", b"{}")
        assert talk(address, begun, end=True).startswith(b"HTTP/1.1 400 ")
        # Files enough are left for what a server does beside: to load a model again.
        assert httpx.post(f"{server.url}/v2/repository/models/small/load", timeout=30).status_code == 200
        for line in lines:
            line.close()
        assert healthy(address)
        assert server.stop()[0] == 0
    assert "Traceback" not in (tmp_path / "said").read_text()


def test_those_who_keep_writing_a_head_give_way_to_those_who_ask(image_box: Bundle, tmp_path: Path) -> None:
    """Slow heads hold places as idle connections do, until their time is over."""
    with limited({"RLIMIT_NOFILE": 250}, image_box.path, said=tmp_path / "said") as server:
        address = address_of(server)
        lines = open_places(address, 200)
        for line in lines:
            with contextlib.suppress(OSError):
                line.sendall(b"GET / HTTP/1.1\r\nx-a: ")
        assert healthy(address)
        for line in lines:
            line.close()


def test_a_caller_may_close_its_side_and_still_be_answered(address: tuple[str, int]) -> None:
    body = json.dumps(asked(2000)).encode()
    found = talk(address, post("/v2/models/turning/infer", body), end=True)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b'"data":[2000.0]' in found


def test_half_a_request_and_no_more_is_let_go(served: Running, address: tuple[str, int]) -> None:
    for text in (b"GET /heal", b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab"):
        begun = time.monotonic()
        talk(address, text, end=True)
        assert time.monotonic() - begun < 2.5
    assert healthy(address)


def test_leaving_before_and_during_the_reply_holds_nothing(served: Running, address: tuple[str, int]) -> None:
    many = json.dumps({"instances": np.zeros((9000, 8, 8, 1), int).tolist()}, separators=(",", ":")).encode()
    before = rss(served.process.pid)
    for k in range(12):
        line = socket.create_connection(address, timeout=10)
        line.sendall(post("/v1/models/small:predict", many))
        if k % 2:
            assert line.recv(64).startswith(b"HTTP/1.1 200 ")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset
        line.close()
    with httpx.Client(base_url=served.url, timeout=20) as client:
        # A model is let go when nobody holds it.
        assert client.post("/v2/repository/models/small/load").status_code == 200
        text = client.get("/metrics").text
    assert 'status="500"' not in text
    assert rss(served.process.pid) - before < 200


def test_who_asks_and_never_reads_is_cut_off(served: Running, address: tuple[str, int]) -> None:
    """A stream holds its model; a caller that doesn't take it would keep the model from being replaced."""
    rows = b"\n".join([b'{"age": 40, "town": "east", "since": "2020-01-31", "note": null}'] * 400_000)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(address)
    line.settimeout(10)
    line.sendall(post("/predict/prices?stream=true", rows, b"content-type: application/x-ndjson"))
    assert line.recv(16) == b"HTTP/1.1 200 OK\r"
    time.sleep(0.5)
    begun = time.monotonic()
    assert httpx.post(f"{served.url}/v2/repository/models/prices/load", timeout=20).status_code == 200
    assert time.monotonic() - begun < 10
    found = 0
    with contextlib.suppress(ConnectionResetError):
        while part := line.recv(1 << 16):
            found += len(part)
    assert found < 400_000 * 20  # it was never given all
    line.close()


def test_many_pipelined_requests_are_answered_in_order_on_one_connection(address: tuple[str, int]) -> None:
    ask = b"GET /v2/models/small/versions/%d HTTP/1.1\r\nhost: x\r\n\r\n"
    found = talk(address, b"".join(ask % k for k in range(1, 400)), HEALTH)
    heads = found.count(b"HTTP/1.1 404 Not Found"), found.count(b"HTTP/1.1 200 OK")
    assert heads == (398, 2)
    assert [found.find(b"'%d' of" % k) for k in (2, 30, 399)] == sorted(
        found.find(b"'%d' of" % k) for k in (2, 30, 399)
    )


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 2", b"content-length: 3"], [b"content-length: 2", b"content-length: 2"],
        [b"content-length: 2", b"transfer-encoding: chunked"], [b"content-length: 2, 3"], [b"content-length: +2"],
        [b"transfer-encoding: chunked, identity"],
    ],
)  # fmt: skip
def test_two_lengths_are_refused_and_the_connection_closed(lines: list[bytes], address: tuple[str, int]) -> None:
    """What two readers may read otherwise is how requests are smuggled."""
    head = b"\r\n".join([b"POST /predict/small HTTP/1.1", b"host: x", *lines, b"", b""])
    found = talk(address, head + b"{}" + HEALTH)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 400 ") == 1
    assert b"HTTP/1.1 200 " not in found
    assert not found.endswith(b"<open>")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n", b"40"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n", b"200"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"40"),
        (b"GET http://example.org/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"200"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", b"40"),
    ],
)
def test_other_ways_of_speaking_http(head: bytes, status: bytes, address: tuple[str, int]) -> None:
    found = talk(address, head)
    assert found.startswith(b"HTTP/1.1 " + status), found[:200]
    assert healthy(address)


def test_connections_that_have_ended_leave_nothing_behind(image_box: Bundle) -> None:
    """Not even for the collector of cycles, which seldom runs in a server."""
    with running([("", image_box.path)]) as server:
        address = address_of(server)

        def come_and_go(times: int) -> None:
            for _ in range(times):
                with socket.create_connection(address, timeout=10) as line:
                    line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                    assert line.recv(4096).startswith(b"HTTP/1.1 200 ")

        come_and_go(500)
        before = rss(server.process.pid)
        come_and_go(4000)
        assert rss(server.process.pid) - before <= 1


def test_a_thousand_in_hand_and_health_still_answers(served: Running, address: tuple[str, int]) -> None:
    head = b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300
    if room < 1200:
        pytest.skip("too few open files are allowed here")
    lines = open_places(address, 1001)
    try:
        for line in lines:
            line.sendall(head)
        time.sleep(0.3)
        refused = httpx.post(f"{served.url}/predict/small", content=b"x")
        if refused.status_code != 503:  # the first of them have run out of time already
            assert any(line.recv(16) for line in lines[:1])
        else:
            assert (refused.headers["retry-after"], "in hand already" in refused.text) == ("1", True)
        assert healthy(address)
    finally:
        for line in lines:
            line.close()


@pytest.fixture
def channel(served: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc) as channel:
        yield channel


def infer(channel: grpc.Channel):
    method = messages.service("inference.GRPCInferenceService")["ModelInfer"]
    return channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer", method.request.SerializeToString, method.reply.FromString
    )


def turns(count: int):
    request = messages.message("inference.ModelInferRequest")(model_name="turning")
    request.inputs.add(name="turns", shape=[1, 1], datatype="INT64").contents.int64_contents.append(count)
    return request


def test_a_grpc_caller_that_leaves_or_runs_out_of_time_is_let_go(channel: grpc.Channel, served: Running) -> None:
    call = infer(channel)
    assert infer(channel)(turns(3), timeout=5).outputs[0].shape == [1, 1]
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as late:
        call(turns(20_000), timeout=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - begun < 1.5
    left = call.future(turns(20_000), timeout=30)
    threading.Timer(0.2, left.cancel).start()
    with pytest.raises(grpc.FutureCancelledError):
        left.result()
    assert call(turns(1), timeout=90).outputs[0].shape == [1, 1]


def test_a_grpc_message_over_the_limit_is_refused(channel: grpc.Channel) -> None:
    request = messages.message("inference.ModelInferRequest")(
        model_name="small", raw_input_contents=[images(600_000).tobytes()]
    )
    with pytest.raises(grpc.RpcError) as refused:
        infer(channel)(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
