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

SOURCE = Path(__file__).parents[2] / "src"

_SCRIPT = """
import json, sys
from bedplate.serving import serve
from bedplate.core.errors import BedplateError
bundles, port, state = json.loads(sys.argv[1])
try:
    code = serve(bundles, port=port, state=state and __import__("pathlib").Path(state),
                 ready=lambda url: print(url, flush=True))
except BedplateError as error:
    print("ERROR", error.message, flush=True)
    sys.exit(error.exit_code)
heavy = {"torch", "pandas", "pyarrow", "sklearn", "matplotlib", "onnx"} & set(sys.modules)
print("HEAVY", sorted(heavy), flush=True)
sys.exit(code)
"""


@dataclass
class Running:
    """A started server; `stop` ends it with a signal and returns (exit code, what it printed after it was ready)."""

    process: subprocess.Popen[str]
    url: str

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


def start(bundles: Sequence[tuple[str, Path]], *, port: int = 0, state: Path | None = None) -> Running:
    arguments = json.dumps([[(name, str(path)) for name, path in bundles], port, str(state) if state else None])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _SCRIPT, arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert process.stdout is not None
    return Running(process, process.stdout.readline().strip())


@contextlib.contextmanager
def running(bundles: Sequence[tuple[str, Path]], *, state: Path | None = None) -> Iterator[Running]:
    server = start(bundles, state=state)
    try:
        assert server.url.startswith("http://"), server.url
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()
