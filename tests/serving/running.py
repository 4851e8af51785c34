"""A real server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"

_SCRIPT = """
import json, sys
from pathlib import Path
from bedplate.serving import serve
from bedplate.serving.body import Limits
from bedplate.serving.spec import ServerSpec
from bedplate.core.errors import BedplateError
bundles, port, state, more = json.loads(sys.argv[1])
said = []
try:
    code = serve(spec=ServerSpec(
        tuple((name, Path(path)) for name, path in bundles), port=port, state=state and Path(state),
        **{key: Path(value) if key in ("repository", "token_file") else Limits(**value) if key == "limits"
           else tuple(map(Path, value)) if key == "tls" else value
           for key, value in more.items()}),
        announce=said.append,
        ready=lambda url: print(url, *[line for line in said if line.startswith("grpc")], flush=True))
except BedplateError as error:
    print("ERROR", error.message, flush=True)
    sys.exit(error.exit_code)
heavy = {"torch", "pandas", "pyarrow", "sklearn", "matplotlib", "onnx"} & set(sys.modules)
print("HEAVY", sorted(heavy), flush=True)
sys.exit(code)
"""


@dataclass
class Running:
    """A started server; `stop` ends it with a signal and returns (exit code, what it printed after it was ready).

    `grpc` is its gRPC address, host:port."""

    process: subprocess.Popen[str]
    url: str
    grpc: str = ""

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


def start(bundles: Sequence[tuple[str, Path]], *, port: int = 0, state: Path | None = None, **more: Any) -> Running:
    """Start a server; `more` are further fields of its `ServerSpec`."""
    arguments = json.dumps(
        [[(name, str(path)) for name, path in bundles], port, str(state) if state else None, more], default=str
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _SCRIPT, arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    url, _, rpc = line.partition(" ") if line.startswith("http") else (line, "", "")
    return Running(process, url, rpc.rpartition("/")[2])


@contextlib.contextmanager
def running(bundles: Sequence[tuple[str, Path]], *, state: Path | None = None, **more: Any) -> Iterator[Running]:
    server = start(bundles, state=state, **more)
    try:
        assert server.url.startswith(("http://", "https://")), server.url
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@contextlib.contextmanager
def command(*words: str | Path, lines: Path | None = None, port: int | None = 0) -> Iterator[Running]:
    """Run `bedplate serve WORDS` (on a free port; port None leaves it to the words), and end it."""
    chosen = [] if port is None else ["--port", str(port)]
    with lines.open("w") if lines else contextlib.nullcontext(subprocess.DEVNULL) as said:  # type: ignore[attr-defined]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "bedplate", "serve", *chosen, "--json", *map(str, words)],
            stdout=subprocess.PIPE, stderr=said, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        server = Running(process, json.loads(line)["url"] if line else "")
        try:
            assert server.url.startswith("http"), lines.read_text() if lines else "it didn't start"
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            except ValueError:  # `stop` has read it to its end
                pass
