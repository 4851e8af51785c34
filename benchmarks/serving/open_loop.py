"""Open loop: send at a fixed rate whatever the server does, and time each answer from when it *should* have been sent.

    python -m benchmarks.serving.open_loop --port 8000 --path /json --body FILE --headers FILE --rate 500 --seconds 10

A closed loop waits for a slow answer and meanwhile doesn't ask, so it hardly sees a stall (coordinated omission). Here
the requests of a stall's time are counted with the wait that they would have had: the schedule never moves. Requests
that are unanswered when the patience ends are counted with the time that they have waited by then.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import math
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

PATIENCE = 3.0
"""Seconds after the last send in which answers are still waited for."""

MOST_CONNECTIONS = 256


@dataclass(frozen=True)
class Schedule:
    """What an open loop saw: latencies in ms from the intended times.

    Attributes:
        rate: requests a second that were intended.
        sent: requests that were intended.
        answered: good answers within the schedule's own time; a server that keeps up reaches nearly `sent`.
        bad: answers of another status than 200, and broken connections.
        faults: how many of each kind those were, by status or by the fault's name.
        unanswered: requests without an answer when the patience ended.
        late: how far behind its schedule the generator itself woke, 99th percentile in ms: beyond a millisecond or so
            the figures tell as much of the generator, which shares the processors, as of the server.
    """

    rate: float
    sent: int
    answered: int
    bad: int
    unanswered: int
    p50: float
    p99: float
    p999: float
    worst: float
    late: float
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def kept_up(self) -> bool:
        """Whether the server answered as quickly as it was asked."""
        return self.unanswered == 0 and self.bad == 0 and self.answered >= 0.97 * self.sent


class _Connection:
    """One keep-alive connection that has at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.intended = 0.0
        self._out = memoryview(b"")
        self._in = bytearray()
        self._needed = -1  # bytes of the whole reply; -1 where unknown yet, -2 where it comes in chunks

    def fileno(self) -> int:
        return self.socket.fileno()

    def begin(self, request: bytes, intended: float) -> None:
        """Start a request."""
        self.intended, self._out, self._needed = intended, memoryview(request), -1
        self._in.clear()
        self.push()

    def push(self) -> None:
        """Send what the system takes now."""
        try:
            while self._out:
                self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            pass

    @property
    def sending(self) -> bool:
        return bool(self._out)

    def pull(self) -> bool:
        """Read what is there; return whether the reply is whole. Raises OSError where the server hung up."""
        try:
            part = self.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        if not part:
            raise ConnectionResetError(errno.ECONNRESET, "the server hung up")
        self._in += part
        if self._needed == -1:
            end = self._in.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._in[:end]).lower()
            _, found, length = head.partition(b"\r\ncontent-length:")
            self._needed = end + 4 + int(length.partition(b"\r\n")[0]) if found else -2
        return self._in.endswith(b"0\r\n\r\n") if self._needed == -2 else len(self._in) >= self._needed

    @property
    def good(self) -> bool:
        return bytes(self._in[9:12]) == b"200"

    @property
    def status(self) -> str:
        return bytes(self._in[9:12]).decode("latin-1")

    @property
    def gone(self) -> bool:
        """Whether the server has hung up meanwhile, as it may on a connection that nobody used for a while."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def closing(self) -> bool:
        return b"connection: close" in bytes(self._in[:2000]).lower()


class _Loop:
    """The generator's state; all times are of `time.perf_counter`."""

    def __init__(self, address: tuple[str, int], request: bytes, connections: int) -> None:
        self.address, self.request = address, request
        self.free = [_Connection(address) for _ in range(connections)]
        self.busy: dict[int, _Connection] = {}
        self.backlog: deque[float] = deque()
        self.latencies: list[float] = []
        self.answered_at: list[float] = []
        self.faults: Counter[str] = Counter()
        self.lateness: list[float] = []

    def start_due(self) -> None:
        """Send what waits, as far as there are connections."""
        while self.backlog:
            while self.free and self.free[-1].gone:
                self.free.pop().socket.close()
            if not self.free:
                if len(self.busy) >= MOST_CONNECTIONS:
                    return
                self.free.append(_Connection(self.address))
            connection = self.free.pop()
            intended = self.backlog.popleft()
            self.busy[connection.fileno()] = connection
            try:
                connection.begin(self.request, intended)
            except OSError as error:
                self._broken(connection, error)

    def turn(self, timeout: float) -> None:
        """Wait until something can be read or written, or the time is over, and do it."""
        writing = [number for number, one in self.busy.items() if one.sending]
        readable, writable, _ = select.select(list(self.busy), writing, (), timeout)
        for number in writable:
            try:
                self.busy[number].push()
            except OSError as error:
                self._broken(self.busy[number], error)
        for number in readable:
            connection = self.busy.get(number)
            try:
                if connection is not None and connection.pull():
                    self._done(connection)
            except OSError as error:
                assert connection is not None
                self._broken(connection, error)

    def _done(self, connection: _Connection) -> None:
        now = time.perf_counter()
        del self.busy[connection.fileno()]
        self.latencies.append(now - connection.intended)
        if connection.good:
            self.answered_at.append(now)
        else:
            self.faults[connection.status] += 1
        if connection.closing:
            connection.socket.close()
        else:
            self.free.append(connection)

    def _broken(self, connection: _Connection, error: OSError) -> None:
        del self.busy[connection.fileno()]
        connection.socket.close()
        self.faults[type(error).__name__] += 1
        self.latencies.append(time.perf_counter() - connection.intended)


def open_loop(
    port: int, path: str, body: bytes, headers: Mapping[str, str], *, rate: float, seconds: float, connections: int = 32
) -> Schedule:
    """Send the same request `rate` times a second for some seconds and return what was seen."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    loop = _Loop(("127.0.0.1", port), head.encode() + body, connections)
    total = max(1, round(rate * seconds))
    begun, due = time.perf_counter() + 0.05, 0
    end = begun + total / rate
    while True:
        now = time.perf_counter()
        while due < total and begun + due / rate <= now:
            loop.backlog.append(begun + due / rate)
            loop.lateness.append(now - (begun + due / rate))  # its own; a wait for a connection is the server's
            due += 1
        loop.start_due()
        if due == total and not loop.busy and not loop.backlog:
            break
        if now > end + PATIENCE:
            break
        wake = begun + due / rate if due < total else end + PATIENCE
        loop.turn(max(0.0, wake - time.perf_counter()))
    now = time.perf_counter()
    waiting = [now - one.intended for one in loop.busy.values()] + [now - intended for intended in loop.backlog]
    latencies = sorted(loop.latencies + waiting)
    for connection in (*loop.free, *loop.busy.values()):
        connection.socket.close()
    in_time = sum(1 for moment in loop.answered_at if moment <= end)
    p50, p99, p999 = (1e3 * percentile(latencies, share) for share in (0.5, 0.99, 0.999))
    late = 1e3 * percentile(sorted(loop.lateness) or [0.0], 0.99)
    return Schedule(
        rate, total, in_time, loop.faults.total(), len(waiting), p50, p99, p999, 1e3 * latencies[-1], late, loop.faults
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of the values don't exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def main() -> None:
    """Run one schedule and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--headers", type=Path, required=True, help="a file with a `Name: value` a line")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    headers = dict(line.split(": ", 1) for line in given.headers.read_text().splitlines() if line)
    gc.disable()
    found = open_loop(given.port, given.path, given.body.read_bytes(), headers, rate=given.rate, seconds=given.seconds)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
