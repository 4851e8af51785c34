"""An hour under load: does memory grow, and do times?

    python -m benchmarks.serving.soak --minutes 60 --bundle DIR

The server is asked at 70 % of the most that it kept up with for ten seconds, by an open loop, while a second caller
sends it a bit of everything else: other protocols, streams, bad requests, unknown names. Resident memory is read once a
second, and so is how long the machine itself stood still and how fast it was (`pauses.py`), which excuses nothing and
explains much. Writes
benchmarks/results/soak.json and the table of docs/reliability.md. Exits 1 where memory surely grows by more than
5 MiB an hour, or where the 99th percentile at the end is over 1.5 times that at the beginning.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from benchmarks.serving.environments import ROOT
from benchmarks.serving.models import make
from benchmarks.serving.paced import machine, sample_request, write_section
from benchmarks.serving.pauses import Pauses
from benchmarks.serving.processes import Server, free_port, post

RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
PAGE = ROOT / "docs" / "reliability.md"
SHARE = 0.7
MOST_GROWTH = 5.0
"""MiB an hour."""

MOST_SLOWER = 1.5


def loop(port: int, path: str, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Run the open loop in a process of its own and return what it saw."""
    words = ["--port", port, "--path", path, "--body", folder / "body", "--headers", folder / "headers"]
    words += ["--rate", f"{rate:.1f}", "--seconds", f"{seconds:.1f}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.open_loop", *map(str, words)], cwd=ROOT, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def keeps_up(seen: dict[str, Any]) -> bool:
    return bool(
        seen["bad"] == seen["unanswered"] == 0 and seen["answered"] >= 0.97 * seen["sent"] and seen["p99"] < 100
    )


def most(port: int, path: str, folder: Path) -> float:
    """Return about the most requests a second that the server keeps up with, on this machine and with this caller.

    What it keeps up with for two seconds finds the range, but only what it keeps up with twice for ten counts: a
    processor that is shared is at times much faster than it is for long.
    """

    def holds(rate: float, seconds: float) -> bool:
        """A pause of the machine can spoil a try: a rate has failed where it failed twice."""
        return any(keeps_up(loop(port, path, folder, rate, seconds)) for _ in range(2))

    good, rate = 0.0, 100.0
    while holds(rate, 2.0):
        good, rate = rate, rate * 1.5
    for _ in range(3):
        middle = (good + rate) / 2 if good else rate / 2
        if holds(middle, 3.0):
            good = middle
        else:
            rate = middle
    while good and not all(keeps_up(loop(port, path, folder, good, 10.0)) for _ in range(2)):
        good *= 0.9
    if good < 10:
        raise SystemExit("it doesn't keep up with ten requests a second")
    return good


class Everything(threading.Thread):
    """A caller that sends a bit of everything, about twenty requests a second."""

    def __init__(self, port: int, name: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self._port, self._name, self._body = port, name, body
        self._stopped = threading.Event()
        self.asked, self.faults = 0, 0

    def run(self) -> None:
        rng = random.Random(0)
        for number in itertools.count():
            if self._stopped.wait(0.05):
                return
            odd = f"x{rng.random()}"
            method, path, body = rng.choice(
                [
                    ("GET", "/metrics", b""), ("GET", "/healthz", b""), ("GET", f"/v2/models/{self._name}", b""),
                    ("GET", f"/nowhere/{odd}", b""), ("POST", f"/predict/{odd}", b"x"),
                    ("POST", f"/v1/models/{odd}:predict", b"{}"),
                    ("POST", f"/v2/models/{self._name}/infer", b"{" + rng.randbytes(50)),
                    ("POST", f"/v2/models/{self._name}/infer", self._body[: number % max(len(self._body), 1)]),
                    ("POST", f"/v1/models/{self._name}:predict", b'{"instances": [' + b"1," * 2000 + b"1]}"),
                    ("POST", f"/predict/{self._name}?stream=true", b"[]"), ("DELETE", f"/v1/models/{self._name}", b""),
                ]
            )  # fmt: skip
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request(method, path, body, {"x-request-id": str(number)})
                reply = connection.getresponse()
                reply.read()
                self.faults += reply.status >= 500
                self.asked += 1
            except (OSError, http.client.HTTPException):
                self.faults += 1
            finally:
                connection.close()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


class Memory(threading.Thread):
    """Reads a server's resident memory once a second: `seconds` since the start and `mib` of all its processes."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._stopped = server, threading.Event()
        self.seconds: list[float] = []
        self.mib: list[float] = []

    def run(self) -> None:
        begun = time.perf_counter()
        while not self._stopped.wait(1.0):
            self.mib.append(sum(map(resident, self._server.processes())))
            self.seconds.append(time.perf_counter() - begun)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def resident(pid: int) -> float:
    """Return a process's resident memory in MiB, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def slope(seconds: list[float], mib: list[float], skip: float, blocks: int = 20) -> tuple[float, float, float]:
    """Return the growth in MiB an hour and its 95 % interval, from the means of consecutive blocks.

    One second's memory is much like the last one's, so that single readings would promise a far too narrow interval;
    blocks are nearly independent.
    """
    from scipy.stats import t

    kept = [(at, size) for at, size in zip(seconds, mib, strict=True) if at >= skip]
    if len(kept) < 2 * blocks:
        raise ValueError(f"{len(kept)} readings are too few for {blocks} blocks")
    parts = np.array_split(np.array(kept), blocks)
    x, y = np.array([part.mean(axis=0) for part in parts]).T
    centred = x - x.mean()
    rise = float((centred * y).sum() / (centred**2).sum())
    rest = y - y.mean() - rise * centred
    error = float(np.sqrt((rest**2).sum() / (blocks - 2) / (centred**2).sum()))
    reach = float(t.ppf(0.975, blocks - 2)) * error
    return 3600 * rise, 3600 * (rise - reach), 3600 * (rise + reach)


def verdict(found: dict[str, Any]) -> list[str]:
    """Return what is wrong, a line each."""
    wrong = []
    if found["slope"][1] > MOST_GROWTH:
        wrong.append(f"memory grows by at least {found['slope'][1]:.1f} MiB an hour")
    if found["last p99"] > MOST_SLOWER * found["first p99"]:
        wrong.append(f"p99 went from {found['first p99']:.1f} to {found['last p99']:.1f} ms")
    if found["bad"] or found["faults"]:
        wrong.append(f"{found['bad']} requests failed {found['kinds']}, {found['faults']} of the others")
    return wrong


def soak(bundle: Path, minutes: float) -> dict[str, Any]:
    """Serve a bundle under load for some minutes and return all figures."""
    name, parts = "model", []
    each = 60.0 if minutes >= 5 else 60.0 * minutes / 10
    with tempfile.TemporaryDirectory() as place:
        folder, port = Path(place), free_port()
        body, path = sample_request(Bundle.open(bundle)), f"/v2/models/{name}/infer"
        (folder / "body").write_bytes(body)
        (folder / "headers").write_text("Content-Type: application/json\n")
        words = ["serve", "--name", f"{name}={bundle}", "--port", str(port), "--state", str(folder / "state")]
        server = Server([sys.executable, "-m", "bedplate", *words], os.environ, folder)
        try:
            server.wait(lambda: post(port, path, body, {})[0] == 200)
            top = most(port, path, folder)
            print(f"it keeps up with {top:.0f} requests a second; {SHARE * top:.0f} from now on", flush=True)
            memory, others, pauses = Memory(server), Everything(port, name, body), []
            memory.start()
            others.start()
            for k in range(round(60 * minutes / each)):
                with Pauses() as stood:
                    parts.append(loop(port, path, folder, SHARE * top, each))
                pauses.append(stood.told())
                print(
                    f"{(k + 1) * each / 60:.1f} min: p50 {parts[-1]['p50']:.1f} ms, p99 {parts[-1]['p99']:.1f} ms,"
                    f" {memory.mib[-1]:.0f} MiB; the machine stood still {pauses[-1]['lost']:.0f} ms,"
                    f" {pauses[-1]['longest']:.0f} at once, small work"
                    f" {pauses[-1]['work']:.0f} to {pauses[-1]['slowest']:.0f} µs",
                    flush=True,
                )  # fmt: skip
            others.stop()
            memory.stop()
        finally:
            server.stop()
    return judged(top, minutes, each, parts, memory.seconds, memory.mib, others) | {"pauses": pauses}


def judged(
    top: float, minutes: float, each: float, parts: list[dict[str, Any]], seconds: list[float], mib: list[float],
    others: Everything,
) -> dict[str, Any]:  # fmt: skip
    """Put the figures together."""
    skip = min(60.0, 15 * minutes)
    fifth = max(1, len(parts) // 5)
    growth = slope(seconds, mib, skip)
    after = [size for at, size in zip(seconds, mib, strict=True) if at >= skip]
    return {
        "minutes": minutes, "most": round(top), "rate": round(SHARE * top), "each": each,
        "requests": sum(part["sent"] for part in parts), "bad": sum(part["bad"] + part["unanswered"] for part in parts),
        "kinds": dict(sum((Counter(part["faults"]) for part in parts), Counter())),
        "others": others.asked, "faults": others.faults, "skipped": skip, "slope": [round(one, 2) for one in growth],
        "first": round(statistics.mean(after[:30]), 1), "last": round(statistics.mean(after[-30:]), 1),
        "highest": round(max(mib), 1), "p50": [round(part["p50"], 2) for part in parts],
        "p99": [round(part["p99"], 2) for part in parts],
        "first p99": statistics.median(part["p99"] for part in parts[:fifth]),
        "last p99": statistics.median(part["p99"] for part in parts[-fifth:]),
        "memory": [round(size, 1) for size in mib[:: max(1, len(mib) // 360)]], "machine": machine(),
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Return the page's section."""
    rise, low, high = found["slope"]
    told, work = found["machine"], [one["work"] for one in found["pauses"]]
    rows = [
        ("time", f"{found['minutes']:g} minutes"),
        ("rate", f"{found['rate']:,} requests a second, 70 % of the {found['most']:,} that it kept up with"),
        ("requests", f"{found['requests']:,}, of which {found['bad']} failed; beside them {found['others']:,} of every"
                     f" other kind, of which {found['faults']} got a 5xx"),
        ("memory", f"{found['first']:.0f} MiB at first, {found['last']:.0f} MiB at last,"
                   f" {found['highest']:.0f} MiB at most"),
        ("growth", f"{rise:+.1f} MiB an hour, 95 % interval {low:+.1f} to {high:+.1f}, without the first "
                   f"{found['skipped']:.0f} seconds"),
        ("p50", f"{min(found['p50']):.1f} to {max(found['p50']):.1f} ms over the parts of {found['each']:.0f} seconds"),
        ("p99", f"{found['first p99']:.1f} ms in the first fifth, {found['last p99']:.1f} ms in the last"),
        ("speed", f"the same small work took {min(work):.0f} to {max(work):.0f} µs (medians of those parts), and"
                  f" {max(one['slowest'] for one in found['pauses']):.0f} in the slowest second"),
        ("the machine", f"stood still {sum(one['lost'] for one in found['pauses']) / 1e3:.2f} s in all,"
                        f" {max(one['longest'] for one in found['pauses']):.0f} ms at once, whatever ran on it"),
    ]  # fmt: skip
    lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]
    lines += [
        "", f"Model `{found['bundle']}`, one process; {told['cpu']}, {told['threads']} threads, shared with the caller;"
        f" {told['date']}. Written by `make soak`.",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Run one soak, write it, and judge it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="what is served; the benchmark's CNN where none is given")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    given = parser.parse_args()
    bundle = (given.bundle or make("cnn", Path(tempfile.gettempdir()) / "bedplate-serving").bundle).resolve()
    found = soak(bundle, given.minutes) | {"bundle": Bundle.open(bundle).name}
    print(table(found))
    if not given.dry:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_section(PAGE, "soak", table(found))
    wrong = verdict(found)
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
