"""A load whose every request is accounted for: when it was due, when it was answered, and how it failed."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle
from bedplate.serving.oip_binary import DATATYPES
from benchmarks.serving.open_loop import percentile


def sample_request(bundle: Bundle) -> bytes:
    """Return the body of a /v2 request with the first golden row of a bundle."""
    inputs = []
    for spec in bundle.inputs:
        row = bundle.golden.inputs[spec.name][:1]
        inputs.append(
            {"name": spec.name, "shape": list(row.shape), "datatype": DATATYPES[spec.dtype],
             "data": row.reshape(-1).tolist()}
        )  # fmt: skip
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Sent:
    """One request: when it was due and done, in seconds of `time.perf_counter`, what came, and from which port."""

    due: float
    done: float
    outcome: str
    port: int


@dataclass
class Paced:
    """Connections that together send `rate` requests a second, each on its own schedule, until they are stopped.

    A request's time counts from when it was due, so that those that a stall holds up are counted with their wait.
    `outcome` is a status, "failed" for a request that was sent and lost, or "refused" where nobody listens any more.
    """

    port: int
    path: str
    body: bytes
    rate: float = 300.0
    connections: int = 16
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(k,), daemon=True) for k in range(self.connections)]

    def __enter__(self) -> Paced:
        self._begun = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        turn, line = 0, _Line(self.port)
        while not self._stop.is_set():
            due = self._begun + (number + turn * self.connections) / self.rate
            turn += 1
            wait = due - time.perf_counter()
            if wait > 0 and self._stop.wait(wait):
                break
            outcome = line.ask(self.path, self.body)
            self.sent.append(Sent(due, time.perf_counter(), outcome, line.own))
        line.close()

    def p99(self, begun: float, ended: float) -> float:
        """Return the 99th percentile in ms of what was due between two moments."""
        times = sorted(one.done - one.due for one in self.sent if begun <= one.due < ended and one.outcome == "200")
        return 1e3 * percentile(times, 0.99) if times else float("nan")


class _Line:
    """A keep-alive connection that is opened again after a failure, or where the server said that it closes."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.own = 0

    def ask(self, path: str, body: bytes) -> str:
        try:
            if self._connection.sock is None:
                self._connection.connect()
                assert self._connection.sock is not None
                self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.own = self._connection.sock.getsockname()[1]
        except OSError:
            self._connection.close()
            return "refused"
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = self._connection.getresponse()
            reply.read()
            return str(reply.status)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return "failed"

    def close(self) -> None:
        self._connection.close()


def ports_of(pid: int) -> set[int]:
    """Return the callers' ports of the connections that a process on this machine holds."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in inodes:
            found.add(int(words[2].rpartition(":")[2], 16))
    return found


def write_section(page: Path, name: str, text: str) -> None:
    """Write a benchmark's section of a page, between its two marks."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text(encoding="utf-8")
    before, found, rest = whole.partition(start)
    if not found or end not in rest:
        raise SystemExit(f"{page.name} lacks the marks {start} and {end}")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what a figure depends on: the processor, how many threads are granted, versions, the day."""
    from bedplate.core import machine as known

    return {
        "cpu": known.cpu_model(), "threads": known.threads_granted(), "date": time.strftime("%Y-%m-%d"),
        "versions": {key: known.versions().get(key) for key in ("python", "onnxruntime", "uvicorn")},
    }  # fmt: skip
