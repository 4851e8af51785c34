"""Run a script of checks in a client's own environment, against a real server of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"

_SERVE = """
import json, sys
from pathlib import Path
from bedplate.serving import serve
from bedplate.serving.spec import ServerSpec
bundles = tuple(("", Path(path)) for path in json.loads(sys.argv[1]))
serve(spec=ServerSpec(bundles, port=0, grpc_port=0), announce=lambda line: print(line, flush=True))
"""


@contextmanager
def serving(*bundles: Path) -> Iterator[tuple[str, str]]:
    """Start a server with HTTP and gRPC; give its URL and its gRPC address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, json.dumps([str(path) for path in bundles])],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = address = ""
        said = []
        while not (url and address):
            line = process.stdout.readline()
            assert line, f"the server ended: {''.join(said)[-2000:]}"
            said.append(line)
            if found := re.search(r"https?://[^ \n]+", line):
                url = found[0]
            if found := re.search(r"grpc://([^ \n]+)", line):
                address = found[1]
        yield url, address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def names(script: Path) -> list[str]:
    """Return the names of a script's checks, without running it."""
    return re.findall(r"^def (check_\w+)\(", script.read_text(), re.MULTILINE)


def run(python: Path, script: Path, *arguments: str) -> dict[str, str]:
    """Run a script's checks; return what went wrong by name, "" where nothing did."""
    done = subprocess.run(
        [str(python), str(script), *arguments], capture_output=True, text=True, timeout=240,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["name"]: line["fault"] for line in lines}
