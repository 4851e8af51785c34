"""Start a server, wait for its first good answer, weigh its processes, and end them all."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MARK = "BEDPLATE_BENCHMARK_SERVER"
"""An environment variable by which a server's processes are known, even those that left their parent."""


def free_port(row: int = 5) -> int:
    """Return the first of some ports in a row that nobody listens on, below those that systems give out."""
    for first in random.sample(range(20_000, 32_000, 10), 200):
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + row):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports between 20000 and 32000")


def post(port: int, path: str, body: bytes, headers: Mapping[str, str], timeout: float = 60) -> tuple[int, bytes]:
    """Return the status and the body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, dict(headers))
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


class Server:
    """A started server with all its processes.

    Args:
        command: what starts it.
        environment: its variables.
        folder: where it runs, and where `said.txt` takes what it says.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self._known: set[int] = set()
        self.said = folder / "said.txt"
        self.begun = time.perf_counter()
        with self.said.open("a") as said:
            self.process = subprocess.Popen(
                [str(word) for word in command], env={**environment, MARK: self._mark}, cwd=folder, stdout=said,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def wait(self, good: Callable[[], bool], limit: float = 120.0) -> float:
        """Return the seconds until the first good answer. Raises RuntimeError with the server's last words."""
        why = "it didn't answer"
        while time.perf_counter() - self.begun < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended with {self.process.returncode}: {self.last_words()}")
            try:
                if good():
                    return time.perf_counter() - self.begun
                why = "its answer wasn't good"
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.01)
        raise RuntimeError(f"{why} within {limit:.0f} s: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what the server said."""
        return " ".join(self.said.read_text(errors="replace").split())[-400:]

    def processes(self) -> set[int]:
        """Return the ids of the server's living processes: descendants, and those with its mark."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state == "Z":  # it has ended, and only nobody has asked how
                    continue
                parents[pid] = int(parent)
                if self._mark.encode() in (entry / "environ").read_bytes():
                    self._known.add(pid)
            except (OSError, ValueError):
                continue
        found = {pid for pid in self._known if pid in parents} | ({self.process.pid} & parents.keys())
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        self._known = found
        return found

    def memory(self) -> tuple[float, float]:
        """Return (sum of resident sizes, sum of proportional sizes) of all processes, in units of 10⁶ bytes."""
        resident = proportional = 0
        for pid in self.processes():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines()[1:]}
            resident, proportional = resident + sizes.get("Rss", 0), proportional + sizes.get("Pss", 0)
        return resident / 1e6, proportional / 1e6

    def stop(self) -> None:
        """End the server: politely, and what is left after a few seconds without asking."""
        self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(8)
        if not self._gone(2.0):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self._gone(10.0):
                raise RuntimeError(f"processes that can't be ended: {sorted(self.processes())}")
        self.process.wait(10)

    def _gone(self, seconds: float) -> bool:
        """Return whether all processes end within some seconds."""
        until = time.perf_counter() + seconds
        while self.processes():
            if time.perf_counter() > until:
                return False
            self.process.poll()
            time.sleep(0.05)
        return True
