"""A finished run that the tests of the command line share; nothing writes into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bedplate = Callable[..., subprocess.CompletedProcess[str]]


def command(
    *words: str,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run `bedplate` as a user would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", *words], cwd=cwd, input=stdin or b"", capture_output=True,
        env={**os.environ, **(env or {})}, timeout=timeout, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="session")
def bedplate() -> Bedplate:
    return command


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The `--json` of a short run on digits."""
    out = tmp_path_factory.mktemp("digits") / "run"
    done = command("run", "digits", "--out", str(out), "--json", "--set", "training.epochs=12", "gate={}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The `--json` of a short run on the wine table."""
    out = tmp_path_factory.mktemp("wine") / "run"
    done = command("run", "wine", "--out", str(out), "--json", "--set", "training.epochs=10")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
