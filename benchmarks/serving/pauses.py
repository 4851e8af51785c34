"""How long the machine itself stood still, and how much its speed changed, told apart from what runs on it.

    python -m benchmarks.serving.pauses

A process that wants next to nothing sleeps 5 ms at a time and tells by how much each sleep came late, as Gil Tene's
jHiccup does. It runs at real-time priority where that is allowed, so that no program of this machine keeps it waiting:
what is late then was held up by the machine. After each sleep it does the same small piece of work, whose time tells
how fast the processor is just then: a virtual one shares its core with others, which no counter of the guest shows.
Prints a line of JSON a second: `longest`, `lost` (both in ms), `work` (median, in µs) and `stolen` (share of the
processors' time that the host gave to others).
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.environments import ROOT

STEP = 0.005
LATE = 0.02
"""Seconds from which on a late sleep counts as lost time."""

WORK = 1000
"""Turns of the small piece of work, about 30 µs."""


def watch() -> None:
    """Print a line a second until the reader goes."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    stolen, total = ticks()
    while True:
        longest = lost = 0.0
        works = []
        begun = last = time.perf_counter()
        while last - begun < 1.0:
            time.sleep(STEP)
            now = time.perf_counter()
            late = now - last - STEP
            longest = max(longest, late)
            lost += late if late > LATE else 0.0
            sum(range(WORK))
            last = time.perf_counter()
            works.append(1e6 * (last - now))
        before, stolen_before = total, stolen
        stolen, total = ticks()
        share = (stolen - stolen_before) / max(1, total - before)
        told = {"longest": 1e3 * longest, "lost": 1e3 * lost, "work": statistics.median(works), "stolen": share}
        print(json.dumps(told), flush=True)


def ticks() -> tuple[int, int]:
    """Return the processors' stolen and whole time since they were started, in clock ticks."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return numbers[7], sum(numbers)


@dataclass
class Pauses:
    """The watcher in a process of its own, from entering to leaving."""

    def __enter__(self) -> Pauses:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.pauses"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self.seconds: list[dict[str, Any]] = [
            json.loads(line) for line in self._process.stdout if line.endswith("}\n")
        ]  # fmt: skip
        self._process.wait()

    def told(self) -> dict[str, float]:
        """Return the longest pause, what was lost in all (ms), the work of its median and slowest second (µs), and the
        stolen share."""
        return {
            "longest": round(max((one["longest"] for one in self.seconds), default=0.0), 1),
            "lost": round(sum(one["lost"] for one in self.seconds), 1),
            "work": round(statistics.median(one["work"] for one in self.seconds), 1) if self.seconds else 0.0,
            "slowest": round(max((one["work"] for one in self.seconds), default=0.0), 1),
            "stolen": round(sum(one["stolen"] for one in self.seconds) / max(1, len(self.seconds)), 4),
        }


if __name__ == "__main__":
    watch()
