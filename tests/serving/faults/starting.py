"""Servers that are started with little of something: files, memory, room on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tests.serving.running import SOURCE, Running

_SCRIPT = """
import os, resource, sys, json
for name, most in json.loads(sys.argv[1]).items():
    resource.setrlimit(getattr(resource, name), (most, most))
os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "bedplate", "serve", "--port", "0", "--json", *sys.argv[2:]])
"""


def rss(pid: int) -> int:
    """The resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    raise ProcessLookupError(pid)


@contextlib.contextmanager
def limited(
    limits: Mapping[str, int], *words: str | Path, said: Path | IO[str], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run `bedplate serve WORDS` under resource limits (`RLIMIT_…`); what it says goes to `said`."""
    with contextlib.ExitStack() as held:
        errors = held.enter_context(said.open("w")) if isinstance(said, Path) else said
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, json.dumps(dict(limits)), *map(str, words)],
            stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})},
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        server = Running(process, json.loads(line)["url"] if line else "")
        try:
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(ValueError):
                process.communicate()
