"""What a change, a drain and a crash cost those who ask meanwhile.

    python -m benchmarks.serving.disruptions --bundle DIR

Each disruption happens to a server of two processes that is asked at a steady rate. Every request is accounted for:
answered, lost in the hands of the process that was killed, or failed otherwise, of which there must be none. Writes
benchmarks/results/disruptions.json and the table of docs/reliability.md; exits 1 where a request failed that shouldn't.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle
from benchmarks.serving.environments import ROOT
from benchmarks.serving.models import make
from benchmarks.serving.paced import Paced, machine, ports_of, sample_request, write_section
from benchmarks.serving.processes import Server, free_port, post

RESULTS = ROOT / "benchmarks" / "results" / "disruptions.json"
PAGE = ROOT / "docs" / "reliability.md"
NAME = "model"
TITLES = {
    "reload": "a new version takes over, five times",
    "label": "a label is switched, a hundred times",
    "kill": "one of two processes is killed (SIGKILL)",
    "drain": "the server is told to stop (SIGTERM)",
}


def publish(bundle: Path, folder: Path, number: int) -> None:
    """Lay a version into a repository, by an atomic rename."""
    aside = folder / f".{number}.tmp"
    shutil.copytree(bundle, aside)
    aside.rename(folder / str(number))


def call(port: int, path: str, method: str = "GET", value: Any = None) -> Any:
    """Ask the server for JSON."""
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def until(what: Callable[[], bool], limit: float = 60.0) -> None:
    deadline = time.perf_counter() + limit
    while not what():
        if time.perf_counter() > deadline:
            raise SystemExit("it didn't happen in time")
        time.sleep(0.02)


def available(port: int, number: int) -> bool:
    versions = call(port, f"/models/{NAME}/versions")["versions"]
    return any(one["version"] == number and one["state"] == "AVAILABLE" for one in versions)


class Scene:
    """A server with a repository of one name, and what can be done to it."""

    def __init__(self, bundle: Path, folder: Path, server: Server, port: int) -> None:
        self.bundle, self.folder, self.server, self.port = bundle, folder, server, port
        self.victims: set[int] = set()
        self.killed = float("inf")

    def reload(self) -> None:
        for number in range(2, 7):
            publish(self.bundle, self.folder / NAME, number)
            until(lambda number=number: available(self.port, number))  # type: ignore[misc]
        time.sleep(1.0)

    def label(self) -> None:
        for k in range(100):
            call(self.port, f"/models/{NAME}/labels/stable", "PUT", {"version": 1 + k % 2})
            time.sleep(0.02)

    def kill(self) -> None:
        children = subprocess.run(
            ["pgrep", "-P", str(self.server.process.pid)], capture_output=True, text=True, check=True
        )
        workers = [int(word) for word in children.stdout.split()]
        os.kill(workers[0], signal.SIGSTOP)  # so that what it holds doesn't change while it is read
        self.victims = ports_of(workers[0])
        self.killed = time.perf_counter()
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: self.server.said.read_text().count("starting it again") > 0)
        time.sleep(4.0)

    def drain(self) -> None:
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(60)


@contextmanager
def scene(bundle: Path, versions: int) -> Iterator[Scene]:
    """Start a server of two processes that follows a folder with some versions."""
    with tempfile.TemporaryDirectory() as place:
        folder, port = Path(place) / "models", free_port()
        (folder / NAME).mkdir(parents=True)
        for number in range(1, versions + 1):
            publish(bundle, folder / NAME, number)
        if versions > 1:
            (folder / NAME / "serving.json").write_text(json.dumps({"versions": "all", "labels": {"stable": 1}}))
        words = ["serve", "--repository", folder, "--port", port, "--processes", 2]
        server = Server([sys.executable, "-m", "bedplate", *map(str, words)], os.environ, Path(place))
        try:
            server.wait(lambda: call(port, "/healthz")["status"] == "ok")
            yield Scene(bundle, folder, server, port)
        finally:
            server.stop()


def disrupt(what: str, bundle: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Ask for some seconds, do one thing to the server while it is asked, and count what became of every request."""
    body = sample_request(Bundle.open(bundle))
    with scene(bundle, 2 if what == "label" else 1) as place:
        path = f"/v2/models/{NAME}/infer"
        if what == "label":
            # The label is a path of Bedplate's own interface and of TensorFlow Serving's.
            path = f"/v1/models/{NAME}/labels/stable:predict"
            columns = {one["name"]: _nested(one["data"], one["shape"]) for one in json.loads(body)["inputs"]}
            body = json.dumps({"inputs": columns}).encode()
        if post(place.port, path, body, {})[0] != 200:
            raise SystemExit(f"the sample isn't answered at {path}")
        with Paced(place.port, path, body, rate) as load:
            time.sleep(1.0)
            warm = time.perf_counter()
            time.sleep(seconds)
            begun = time.perf_counter()
            getattr(place, what)()
            ended = time.perf_counter()
    counted = [one for one in load.sent if one.outcome != "refused"]
    lost = [one for one in counted if one.outcome != "200"]
    # A connection that the killed process held loses at most the one request that it was asked.
    theirs = [one for one in lost if one.port in place.victims and one.done >= place.killed]
    bad = Counter(one.outcome for one in lost if one not in theirs)
    found = {
        "sent": len(counted), "answered": len(counted) - len(lost), "in flight of the killed": len(theirs),
        "failed otherwise": sum(bad.values()), "p99 before": round(load.p99(warm, begun), 1),
        "p99 during": round(load.p99(begun, ended), 1), "seconds": round(ended - begun, 1),
    }  # fmt: skip
    if bad:
        found["kinds"] = dict(bad)
    print(f"{what}: {found}", flush=True)
    return found


def _nested(data: list[Any], shape: list[int]) -> list[Any]:
    import numpy as np

    nested: list[Any] = np.array(data).reshape(shape).tolist()
    return nested


def table(results: dict[str, Any]) -> str:
    """Return the page's table."""
    lines = [
        "| what happens | requests | answered | lost with the killed process | failed otherwise | p99 before |"
        " p99 during |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, one in results["disruptions"].items():
        lines.append(
            f"| {TITLES[what]} | {one['sent']:,} | {one['answered']:,} | {one['in flight of the killed']} |"
            f" {one['failed otherwise']} | {one['p99 before']} ms | {one['p99 during']} ms |"
        )
    told = results["machine"]
    lines += [
        "",
        f"{results['rate']:.0f} requests a second on {results['connections']} connections to two processes, model"
        f" `{results['bundle']}`; times count from when a request was due. {told['cpu']}, {told['threads']} threads;"
        f" {told['date']}. Written by `python -m benchmarks.serving.disruptions`.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Do all disruptions and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="what is served; the benchmark's CNN where none is given")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="before each disruption")
    parser.add_argument("--only", choices=list(TITLES), help="do this one and write nothing")
    given = parser.parse_args()
    bundle = given.bundle or make("cnn", Path(tempfile.gettempdir()) / "bedplate-serving").bundle
    bundle = bundle.resolve()
    found = {what: disrupt(what, bundle, given.rate, given.seconds) for what in TITLES if given.only in (None, what)}
    results = {
        "bundle": Bundle.open(bundle).name, "rate": given.rate, "connections": Paced.connections, "machine": machine(),
        "disruptions": found,
    }  # fmt: skip
    print(table(results))
    if given.only is None:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        write_section(PAGE, "disruptions", table(results))
    return int(any(one["failed otherwise"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
