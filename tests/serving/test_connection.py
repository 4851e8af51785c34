"""What a raw socket can do to a server."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.serving.running import running

from bedplate.bundle import Bundle

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
