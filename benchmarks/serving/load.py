"""Closed loop: wrk keeps so many connections busy, and says how many answers came and how late."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
wrk.method = "POST"
local file = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.body = file:read("*a")
file:close()
for line in io.lines(os.getenv("BENCH_HEADERS")) do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "bad": %d, "lost": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Pace:
    """What a closed loop saw: answers a second, latencies in ms, and how many answers weren't good."""

    rate: float
    p50: float
    p99: float
    bad: int


def find_wrk() -> str:
    """Return wrk's path; install it with apt-get where that is allowed."""
    found = shutil.which("wrk")
    if found is None and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing wrk", flush=True)
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "wrk"], capture_output=True, check=False)
        found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk makes the load and isn't installed; install your system's package: apt-get install wrk")
    return found


def closed_loop(
    url: str, body: bytes, headers: Mapping[str, str], folder: Path, *, connections: int, seconds: float
) -> Pace:
    """Send the same request over and over on so many connections."""
    script, payload, lines = folder / "post.lua", folder / "body", folder / "headers"
    script.write_text(_SCRIPT)
    payload.write_bytes(body)
    lines.write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
    done = subprocess.run(
        [find_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", script, url],
        env={**os.environ, "BENCH_BODY": str(payload), "BENCH_HEADERS": str(lines)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not found:
        raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout)[-300:]}")
    said = json.loads(found[-1])
    good = said["requests"] - said["bad"]
    return Pace(good / (said["microseconds"] / 1e6), said["p50"] / 1e3, said["p99"] / 1e3, said["bad"] + said["lost"])
