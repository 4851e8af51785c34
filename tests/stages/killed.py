"""Kill a training in the middle, as a power cut would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def kill_when(words: list[str], folder: Path, ready: Callable[[], bool], seconds: float = 120) -> None:
    """Start `bedplate` with these words and send SIGKILL as soon as `ready` says so; fail if it ends before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bedplate", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            _, message = process.communicate()
            raise AssertionError(f"it ended before it could be killed: {message.decode()[-2000:]}")
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def resume(words: list[str], folder: Path) -> str:
    """Continue with --resume and return what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", *words, "--resume"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
