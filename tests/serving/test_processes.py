"""Several real processes on one port, under real load."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.serving.running import SOURCE, Running, command

from bedplate.bundle import Bundle
from bedplate.profile import Reference
from bedplate.serving.state import read_state

PROCESSES = 2


@dataclass
class Load:
    """Clients that ask one after another, each on a connection of its own."""

    url: str
    png: bytes
    path: str = "/predict/small"
    statuses: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(6)]

    def _ask(self) -> None:
        while not self.stop.is_set():
            with httpx.Client(base_url=self.url, timeout=20) as client:
                try:
                    while not self.stop.is_set():
                        self.statuses.append(client.post(self.path, content=self.png).status_code)
                except httpx.ConnectError:
                    self.refused += 1  # nobody listens any more: not a request that was taken and lost
                    time.sleep(0.01)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def workers(server: Running) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return sorted(int(word) for word in found.stdout.split())


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said.txt"


@pytest.fixture
def server(image_box: Bundle, said: Path) -> Iterator[Running]:
    with command(image_box.path, "--processes", PROCESSES, lines=said) as running:
        yield running


def test_all_processes_answer_and_metrics_are_their_sum(server: Running, png: bytes) -> None:
    assert len(workers(server)) == PROCESSES
    for _ in range(40):
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
    text = httpx.get(f"{server.url}/metrics").text
    label = r'bedplate_requests_total\{model="small",protocol="native",status="200",version="1"\} ([\d.]+)'
    assert re.findall(label, text) == ["40.0"]
    assert 'nv_inference_request_success{model="small",version="1"} 40.0' in text
    assert re.findall(r"bedplate_model_info\{.*\} ([\d.]+)", text) == ["1.0"]


def test_a_killed_process_costs_only_what_was_in_its_hands(server: Running, png: bytes, said: Path) -> None:
    with Load(server.url, png) as load:
        time.sleep(0.5)
        before = workers(server)
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(now := set(workers(server)) - {before[0]}) < PROCESSES:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert now != set(before)
        asked = len(load.statuses)
        time.sleep(1.0)
        assert len(load.statuses) > asked
    assert set(load.statuses) == {200}
    assert len(load.failures) <= len(load.threads)
    assert load.refused == 0
    assert "SIGKILL" in said.read_text()


def test_a_change_reaches_every_process_and_those_that_come_later(
    server: Running, png: bytes, image_box: Bundle
) -> None:
    assert httpx.put(f"{server.url}/models/small/labels/stable", json={"version": 1}).status_code == 200
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict/small/labels/stable", content=png).status_code == 200
    first = workers(server)[0]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while first in workers(server) or len(workers(server)) < PROCESSES:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict/small/labels/stable", content=png).status_code == 200
    assert httpx.delete(f"{server.url}/models/small/labels/stable").status_code == 200
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict/small/labels/stable", content=png).status_code == 404


@pytest.mark.slow
def test_a_process_that_stands_still_keeps_no_server_from_ending(server: Running, said: Path) -> None:
    stopped = workers(server)[0]
    os.kill(stopped, signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=90) == 0
    assert "killed" in said.read_text()


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_a_drain_under_load_loses_nothing(processes: int, image_box: Bundle, png: bytes) -> None:
    with command(image_box.path, "--processes", processes) as server, Load(server.url, png) as load:
        time.sleep(0.7)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        time.sleep(0.1)
    assert set(load.statuses) == {200}
    assert load.failures == []
    assert len(load.statuses) > 5


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_told_twice_to_stop_nobody_is_waited_for_any_longer(processes: int, image_box: Bundle) -> None:
    with command(image_box.path, "--processes", processes) as server:
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port or 0), timeout=20) as line:
            line.sendall(b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nabc")
            time.sleep(0.5)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):  # told once, it waits for the rest
                server.process.wait(timeout=2)
            begun = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(timeout=60) == 0
            assert time.monotonic() - begun < 8


def test_the_processes_end_with_their_supervisor(server: Running) -> None:
    mine = workers(server)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 20
    while any(
        Path(f"/proc/{one}/cmdline").exists() and b"worker" in Path(f"/proc/{one}/cmdline").read_bytes() for one in mine
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_keeps_one_from_starting_is_said_as_by_one_process(image_box: Bundle, tmp_path: Path) -> None:
    failed = subprocess.run(
        [sys.executable, "-m", "bedplate", "serve", str(tmp_path / "none"), "--port", "0", "--processes", "2"],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert failed.returncode == 2
    assert "no such bundle" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_each_process_keeps_its_state_and_monitor_reads_them_together(
    image_box: Bundle, tmp_path: Path, png: bytes
) -> None:
    state = tmp_path / "state"
    with command(image_box.path, "--processes", PROCESSES, "--state", state) as server:
        for _ in range(30):
            httpx.post(f"{server.url}/predict/small", content=png)
        server.stop()
    assert sorted(path.name for path in state.iterdir()) == ["process-0", "process-1"]
    found = read_state(state, image_box.id, Reference.from_json(image_box.reference, "small"))
    assert found.rows == 30


def test_counters_never_go_back_where_a_process_is_killed(server: Running, png: bytes) -> None:
    def answered() -> float:
        text = httpx.get(f"{server.url}/metrics", timeout=10).text
        return sum(
            float(value) for value in re.findall(r'bedplate_requests_total\{[^}]*status="200"[^}]*\} ([\d.]+)', text)
        )

    for _ in range(60):
        httpx.post(f"{server.url}/predict/small", content=png)
    before = answered()
    assert before == 60
    first = workers(server)[0]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while first in workers(server) or len(workers(server)) < PROCESSES:
        assert time.monotonic() < deadline
        assert answered() >= before
    for _ in range(10):
        httpx.post(f"{server.url}/predict/small", content=png)
    assert answered() == before + 10


@pytest.mark.slow
def test_a_process_that_stands_still_is_replaced(server: Running, png: bytes, said: Path) -> None:
    stopped = workers(server)[0]
    os.kill(stopped, signal.SIGSTOP)
    text = ""
    deadline = time.monotonic() + 40
    while "bedplate_model_info" not in text:  # of the other one, and not later than a scrape may take
        assert time.monotonic() < deadline
        try:
            text = httpx.get(f"{server.url}/metrics", timeout=4).text
        except httpx.TransportError:  # the system gave the connection to the one that stands still
            continue
    deadline = time.monotonic() + 60
    while stopped in workers(server):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "has not answered" in said.read_text()
    deadline = time.monotonic() + 20
    while len(workers(server)) < PROCESSES:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(1)
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict/small", content=png, timeout=5).status_code == 200
