"""Start a server, wait for its first good answer, weigh its processes, and end them all."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MARK = "BEDPLATE_BENCHMARK_SERVER"
"""An environment variable by which a server's processes are known, even those that left their parent."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            pid = int(entry)
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
                parents[pid] = int(stat.rpartition(")")[2].split()[1])
                if self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
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
        """End the server: politely, and after a few seconds without asking."""
        ours = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        until = time.perf_counter() + 8
        while (left := self.processes()) and time.perf_counter() < until:
            ours |= left
            self.process.poll()
            if left == {self.process.pid} and self.process.poll() is not None:
                break
            time.sleep(0.05)
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)
