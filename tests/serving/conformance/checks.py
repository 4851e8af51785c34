"""Run a script of checks in a client's own environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path


def names(script: Path) -> list[str]:
    """Return the names of a script's checks, without running it."""
    return re.findall(r"^def (check_\w+)\(", script.read_text(), re.MULTILINE)


def run(python: Path, script: Path, *arguments: str) -> dict[str, str]:
    """Run a script's checks; return what went wrong by name, "" where nothing did."""
    done = subprocess.run(
        [str(python), str(script), *arguments], capture_output=True, text=True, timeout=280,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["name"]: line["fault"] for line in lines}
