"""What a raw socket can do to a server."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from tests.bundle.boxes import images
from tests.serving.running import running

from bedplate.bundle import Bundle
from bedplate.serving.describe import to_png

LIMITS = {"body_bytes": 1 << 20, "head_bytes": 8192, "head_seconds": 1.0, "body_seconds": 1.0}


@pytest.fixture(scope="module")
def address(image_box: Bundle) -> Iterator[tuple[str, int]]:
    with running([("", image_box.path)], limits=LIMITS) as server:
        parts = urlsplit(server.url)
        yield parts.hostname or "", parts.port or 0


def talk(address: tuple[str, int], *parts: bytes, pause: float = 0.0, end: bool = False) -> bytes:
    """Send parts and return all that comes until the server closes, or for three seconds."""
    with socket.create_connection(address, timeout=3) as line:
        for part in parts:
            try:
                line.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        if end:
            line.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while got := line.recv(65536):
                found += got
        except TimeoutError:
            found += b"<open>"
        except ConnectionResetError:
            found += b"<reset>"
    return found


def test_a_head_that_never_ends_is_ended(address: tuple[str, int]) -> None:
    begun = time.monotonic()
    found = talk(address, b"GET / HTTP/1.1\r\n", b"x-a: b\r\n")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"didn't come within 1 seconds" in found
    assert time.monotonic() - begun < 2.5
    assert talk(address) == b""


def test_a_head_that_is_too_large_is_refused(address: tuple[str, int]) -> None:
    one = b"GET / HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 300_000
    assert talk(address, one).startswith(b"HTTP/1.1 431 ")
    many = (
        b"GET / HTTP/1.1\r\nhost: x\r\n"
        + b"".join(b"x-%d: aaaaaaaaaaaaaaaaaaaa\r\n" % k for k in range(2000))
        + b"\r\n"
    )
    assert talk(address, many).startswith(b"HTTP/1.1 431 ")


def test_a_body_that_never_comes_is_given_up(address: tuple[str, int]) -> None:
    found = talk(address, b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in found.lower()


@pytest.mark.parametrize("head", [b"content-length: 99999999", b"transfer-encoding: chunked"])
def test_a_body_that_is_too_large_is_refused_before_it_is_held(head: bytes, address: tuple[str, int]) -> None:
    body = (
        b"" if b"length" in head else b"".join(b"10000\r\n" + b"a" * 65536 + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
    )
    found = talk(address, b"POST /predict/small HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\n", body)
    assert found.startswith(b"HTTP/1.1 413 ") or found == b"<reset>"


@pytest.mark.parametrize(
    "text",
    [
        b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1x\r\n\r\n",
        b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict/small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nx\x00y: 1\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_gets_a_400(text: bytes, address: tuple[str, int]) -> None:
    found = talk(address, text, end=True)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in found
    assert b'"error"' in found


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    ask = b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n"
    found = talk(address, ask % b"healthz" + ask % b"none" + ask % b"v2/health/live", end=True)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", found)
    assert statuses == [b"200", b"404", b"200"]


def test_a_million_small_chunks_cost_no_memory(address: tuple[str, int]) -> None:
    chunk = b"1\r\na\r\n" * 20_000
    found = talk(
        address,
        b"POST /predict/small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        *[chunk] * 20,
        b"0\r\n\r\n",
        end=True,
    )
    assert found.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))


def test_those_who_leave_early_harm_nobody(address: tuple[str, int]) -> None:
    for k in range(40):
        with socket.create_connection(address, timeout=3) as line:
            line.sendall(b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"[: 10 + 2 * k])
    assert talk(address, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_many_idle_connections_are_let_go(address: tuple[str, int]) -> None:
    lines = [socket.create_connection(address, timeout=5) for _ in range(300)]
    try:
        assert talk(address, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").startswith(
            b"HTTP/1.1 200 "
        )
        time.sleep(1.5)
        assert all(line.recv(1) == b"" for line in lines)
    finally:
        for line in lines:
            line.close()


ASK = b"POST /predict/small HTTP/1.1\r\nhost: x\r\n"


def test_who_expects_to_be_let_in_is_told_so_before_the_body(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=3) as line:
        line.sendall(ASK + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert line.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"{}")
        assert line.recv(4096).startswith(b"HTTP/1.1 400 ")
    refused = talk(address, ASK + b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in refused


def test_a_refusal_is_read_by_who_still_sends(address: tuple[str, int]) -> None:
    body = b"a" * (8 << 20)
    found = talk(address, ASK + b"content-length: %d\r\n\r\n" % len(body), body)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b"<reset>" not in found


def test_http_1_0_is_kept_only_where_asked(address: tuple[str, int]) -> None:
    plain = talk(address, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert plain.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in plain
    assert not plain.endswith(b"<open>")
    kept = talk(address, b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert b"connection: keep-alive" in kept
    assert kept.endswith(b"<open>")


def test_no_other_protocol_is_spoken(address: tuple[str, int]) -> None:
    upgrade = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    found = talk(address, upgrade, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", pause=0.05)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1") == 1
    assert talk(address, b"CONNECT other:80 HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_whole_url_and_an_odd_one(address: tuple[str, int]) -> None:
    assert talk(address, b"GET http://x/healthz HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert talk(address, b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_a_head_is_answered_without_a_body(address: tuple[str, int]) -> None:
    ask = b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    found = talk(address, ask + ask.replace(b"HEAD", b"GET"), end=True)
    first, _, rest = found.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", first)
    assert length is not None
    assert int(length[1]) > 0
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_a_body_that_comes_a_byte_at_a_time_is_read(address: tuple[str, int], image_box: Bundle) -> None:
    png = to_png(images(1, seed=9)[0])
    head = ASK + b"content-length: %d\r\n\r\n" % len(png)
    found = talk(address, *[(head + png)[k : k + 7] for k in range(0, len(head + png), 7)], pause=0.001)
    assert found.startswith(b"HTTP/1.1 200 ")


def test_replies_keep_their_order_where_the_first_takes_long(address: tuple[str, int]) -> None:
    png = to_png(images(1, seed=9)[0])  # decoded in a thread: the two behind it are ready sooner
    slow = ASK + b"content-length: %d\r\nx-request-id: slow\r\n\r\n" % len(png) + png
    quick = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: %s\r\n\r\n"
    found = talk(address, slow + quick % b"second" + slow.replace(b"slow", b"third") + quick % b"last", end=True)
    assert re.findall(rb"x-request-id: (\w+)", found) == [b"slow", b"second", b"third", b"last"]
    assert found.count(b"HTTP/1.1 200 ") == 4


def test_a_stream_ends_where_its_caller_goes(image_box: Bundle) -> None:
    rows = json.dumps(images(500, seed=2).tolist() * 40).encode()
    head = b"POST /predict/small?stream=true HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(rows)
    with running([("", image_box.path)]) as server:
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset in place of an end
            line.sendall(head + rows)
            assert line.recv(100).startswith(b"HTTP/1.1 200 ")
        deadline = time.monotonic() + 10
        wanted = 'bedplate_requests_total{model="small",protocol="native",status="499",version="1"} 1.0'
        while wanted not in httpx.get(f"{server.url}/metrics").text:
            assert time.monotonic() < deadline, "the stream went on for nobody"
            time.sleep(0.05)
