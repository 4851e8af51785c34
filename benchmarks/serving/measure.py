"""One visit to one server: start it, prove its answers, warm it, load it, weigh it, end it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.environments import ROOT, Missing, environment
from benchmarks.serving.load import closed_loop
from benchmarks.serving.models import Model
from benchmarks.serving.processes import Server, free_port, post
from benchmarks.serving.roster import Ask, Peer

TOLERANCE = 1e-3
QUIET = {
    "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONDONTWRITEBYTECODE": "",
}  # fmt: skip
"""Switches the peers' reports to their makers off; nothing else about them is changed."""


@dataclass(frozen=True)
class Place:
    """Where a run keeps its files, and how long it measures."""

    folder: Path
    seconds: float
    warm: float


def wrong(peer_ask: Ask, model: Model, form: str, port: int) -> str:
    """Return what is wrong with the server's answer to the sample, or "" where it equals the golden answer."""
    status, reply = post(port, peer_ask.path, peer_ask.body, peer_ask.headers)
    if status != 200:
        return f"status {status}: {reply[:200].decode(errors='replace')}"
    try:
        found = peer_ask.read(reply)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"its reply can't be read ({type(error).__name__}): {reply[:120].decode(errors='replace')}"
    golden = model.golden[form]
    if found.shape != golden.shape:
        return f"{found.shape} instead of {golden.shape}"
    if int(found.argmax()) != int(golden.argmax()) or not np.allclose(found, golden, atol=TOLERANCE, rtol=0):
        return f"another answer: it differs by up to {float(np.abs(found - golden).max()):.2g}"
    return ""


class Visit:
    """A peer that serves a model, from its start to its end.

    Args:
        peer: the server.
        model: what it serves.
        place: where its files go.
        fresh: forget what earlier starts remembered.
        more: further words of the command.
    """

    def __init__(
        self, peer: Peer, model: Model, place: Place, *, fresh: bool = False, more: tuple[str, ...] = ()
    ) -> None:
        self.peer, self.model, self.place = peer, model, place
        binaries = environment(peer.environment, peer.packages)
        self.folder = place.folder / "".join(c if c.isalnum() else "-" for c in f"{peer.name}-{model.name}")
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")},
            **QUIET, "PATH": f"{binaries}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PEER_MODEL": str(place.folder / f"{model.name}.json"), "PEER_PORT": str(self.port),
            "PEER_PROCESSES": str(peer.processes), "PEER_THREADS": str(peer.threads(model)),
            "PEER_FOLDER": str(self.folder), "PEER_KIND": model.name,
        }  # fmt: skip
        self._binaries = binaries
        if peer.prepare and not (self.folder / "prepared").exists():
            self._prepare()
        self.server = Server(self._words((*peer.command, *more)), self.environment, self.folder)

    def _words(self, words: tuple[str, ...]) -> list[str]:
        meanings = {
            "PORT": str(self.port), "BUNDLE": f"{self.model.name}={self.model.bundle}", "FOLDER": str(self.folder),
            "PROCESSES": str(self.peer.processes), "THREADS": str(self.peer.threads(self.model)),
            "PEERS": str(Path(__file__).parent / "peers"),
        }  # fmt: skip
        first, *rest = words
        return [str(self._binaries / first), *(meanings.get(word, word) for word in rest)]

    def _prepare(self) -> None:
        done = subprocess.run(
            self._words(self.peer.prepare), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise Missing(f"can't be prepared: {' '.join(done.stderr.split())[-300:]}")
        (self.folder / "prepared").touch()

    def asks(self) -> dict[str, Ask]:
        """Return the requests by form, without those that this server doesn't know."""
        found = {form: self.peer.ask(self.model, form) for form in self.model.forms}
        return {form: ask for form, ask in found.items() if ask is not None}

    def ready(self) -> float:
        """Return the seconds from the start to the first good answer. Raises RuntimeError."""
        form, ask = next(iter(self.asks().items()))
        last = [""]

        def good() -> bool:
            last[0] = wrong(ask, self.model, form, self.port)
            return not last[0]

        try:
            return self.server.wait(good, limit=120.0)
        except RuntimeError as error:
            raise RuntimeError(f"{last[0]} {error}".strip()) from None

    def load(self, form: str, ask: Ask) -> dict[str, Any]:
        """Warm the server and measure it in a closed loop; or say what is wrong with its answer."""
        fault = wrong(ask, self.model, form, self.port)
        if fault:
            return {"failed": fault}
        url = f"http://127.0.0.1:{self.port}{ask.path}"
        many = self.model.connections
        closed_loop(
            url, ask.body, ask.headers, self.folder, connections=many, seconds=self.place.warm * self.peer.warmth
        )
        pace = closed_loop(url, ask.body, ask.headers, self.folder, connections=many, seconds=self.place.seconds)
        fault = wrong(ask, self.model, form, self.port)  # a server that broke under load isn't a quick one
        if fault or pace.bad:
            return {"failed": f"under load: {fault or f'{pace.bad} answers that were not good'}", **asdict(pace)}
        return asdict(pace)

    def schedule(self, ask: Ask, rate: float) -> dict[str, Any]:
        """Measure the server in an open loop, in a process of its own."""
        body, headers = self.folder / "body", self.folder / "headers"
        body.write_bytes(ask.body)
        headers.write_text("".join(f"{name}: {value}\n" for name, value in ask.headers.items()))
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.serving.open_loop", "--port", str(self.port), "--path", ask.path,
                "--body", body, "--headers", headers, "--rate", str(rate), "--seconds", str(self.place.seconds),
            ],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1][:200]}
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def weigh(self) -> tuple[float, float]:
        """Return the resident and the proportional size of the whole server, at rest after the load."""
        time.sleep(1.0)
        return self.server.memory()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()


def visit(peer: Peer, model: Model, place: Place) -> dict[str, Any]:
    """Return one round's figures of one server with one model; `failed` says why there are none."""
    found: dict[str, Any] = {"forms": {}}
    try:
        if peer.kind == "own":  # the first start measures the engines, later ones remember the choice
            with Visit(peer, model, place, fresh=True) as first:
                found["ready_first"] = first.ready()
        with Visit(peer, model, place) as one:
            found["ready"] = one.ready()
            for form, ask in one.asks().items():
                found["forms"][form] = one.load(form, ask)
            found["resident_mb"], found["proportional_mb"] = one.weigh()
    except (Missing, RuntimeError, OSError, subprocess.SubprocessError) as error:
        found["failed"] = str(error)
    return found
