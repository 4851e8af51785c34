"""Ports: those of other servers, and more than one for the same answers."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from tests.serving.running import SOURCE, command, running

import bedplate
from bedplate.bundle import Bundle
from bedplate.serving.spec import PEERS


def free_ports(count: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


@pytest.mark.parametrize("processes", [1, 2])
def test_all_ports_give_the_same_answers(processes: int, image_box: Bundle, png: bytes) -> None:
    ports = free_ports(2)
    with running([("", image_box.path)], also=ports, processes=processes) as server:
        expected = httpx.post(f"{server.url}/predict/small", content=png).json()
        for port in ports:
            for _ in range(8):
                assert httpx.post(f"http://127.0.0.1:{port}/predict/small", content=png).json() == expected
            assert "nv_inference_count" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert server.stop()[0] == 0


@pytest.mark.parametrize("name", sorted(PEERS))
def test_another_servers_ports_are_taken(name: str, image_box: Bundle, tmp_path: Path, png: bytes) -> None:
    peer = PEERS[name]
    for port in (peer.port, peer.grpc_port, *peer.also):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"another program listens on {port}")
    said = tmp_path / "said.txt"
    with command(image_box.path, "--as", name, lines=said, port=None) as server:
        assert server.url == f"http://127.0.0.1:{peer.port}"
        for port in (peer.port, *peer.also):
            assert httpx.post(f"http://127.0.0.1:{port}/predict/small", content=png).status_code == 200
        assert f"grpc://127.0.0.1:{peer.grpc_port}" in said.read_text()


def refused(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", "serve", "--port", "0", *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_state_within_a_bundle_is_refused_before_anything_is_written(image_box: Bundle) -> None:
    before = sorted(image_box.path.rglob("*"))
    for place in (image_box.path, image_box.path / "graphs" / "state"):
        assert "can't lie within a bundle" in refused(image_box.path, "--state", place)
    assert sorted(image_box.path.rglob("*")) == before
    Bundle.open(image_box.path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl on the PATH")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize("processes", [1, 2])
def test_an_idle_tls_connection_keeps_no_server_from_ending(
    pair: tuple[Path, Path], image_box: Bundle, processes: int
) -> None:
    """A caller that waits for its next question answers no farewell; without TLS none is awaited."""
    certificate, key = pair
    trust = ssl.create_default_context(cafile=str(certificate))
    words = ["--tls-cert", certificate, "--tls-key", key, "--processes", processes]
    with command(image_box.path, *words) as server:
        parts = urlsplit(server.url)
        address = parts.hostname or "", parts.port or 0
        with (
            socket.create_connection(address, timeout=20) as plain,
            trust.wrap_socket(plain, server_hostname=address[0]) as line,
        ):
            line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
            begun = time.monotonic()
            assert server.stop()[0] == 0
            assert time.monotonic() - begun < 8
            assert line.recv(65536) == b"", "the end was said, not torn off"


def test_tls_over_both_wires(pair: tuple[Path, Path], image_box: Bundle, png: bytes, tmp_path: Path) -> None:
    certificate, key = pair
    words = ["--tls-cert", certificate, "--tls-key", key, "--grpc-port", "0"]
    said = tmp_path / "said.txt"
    with command(image_box.path, *words, lines=said) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        with bedplate.Client(server.url, verify=context) as client:
            assert client.predict("small", png) == image_box.predict([png])
        address = re.findall(r"grpcs://\S+", said.read_text())[0]
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with bedplate.GrpcClient(address, credentials=credentials) as rpc:
            inputs = image_box.golden.inputs
            assert set(rpc.infer("small", inputs)) == {"probabilities"}
        with bedplate.Client(server.url, retries=0) as stranger, pytest.raises(bedplate.ServerError):
            stranger.predict("small", png)


def test_certificates_that_cannot_be_used_are_named(pair: tuple[Path, Path], image_box: Bundle, tmp_path: Path) -> None:
    certificate, key = pair
    empty, locked = tmp_path / "empty.pem", tmp_path / "locked.pem"
    empty.touch()
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked],
        check=True,
        capture_output=True,
    )
    for chain, private, words in (
        (empty, key, "can't be used together"), (key, certificate, "can't be used together"), (certificate, locked, "pass phrase"),
    ):  # fmt: skip
        said = refused(image_box.path, "--tls-cert", chain, "--tls-key", private)
        assert words in said
        assert str(private if "pass" in words else chain) in said


def test_a_server_needs_no_standard_output(image_box: Bundle, png: bytes) -> None:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "bedplate", "serve", str(image_box.path), "--port", str(port)],
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    try:
        with bedplate.Client(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(30)
            assert client.predict("small", png) == image_box.predict([png])
    finally:
        process.terminate()
        assert process.wait(30) == 0
