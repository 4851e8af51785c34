"""Environments of official clients, which often need what Bedplate doesn't; each has a folder of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest


def client_environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that has the requirements; made once, under the system's temporary folder.

    `$BEDPLATE_CLIENTS/<name>/bin/python` is taken where it exists. The test is skipped where the environment can't be
    made, as without a package index.
    """
    ready = Path(os.environ.get("BEDPLATE_CLIENTS", "/nonexistent")) / name / "bin" / "python"
    if ready.is_file():
        return ready
    digest = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"bedplate-clients-{os.getuid()}" / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").is_file():
        return python
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
    ):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"the environment of '{name}' can't be made: {error}")
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            pytest.skip(f"the environment of '{name}' can't be made: {last[:300]}")
    (folder / "complete").touch()
    return python
