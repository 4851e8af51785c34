"""What was measured once on this machine is remembered: one small file a model in the user's cache folder.

Nothing depends on it: where it can't be read or written, or is damaged, engines are measured again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bedplate.core.files import write_bytes
from bedplate.core.machine import cpu_features, cpu_model

_PACKAGES = ("bedplate", "onnxruntime", "openvino")
_FORMAT = 1
_MOST_BYTES = 1 << 16
_PATIENCE = 30.0


@dataclass(frozen=True)
class Remembered:
    """A choice that was measured.

    Attributes:
        engine: "onnxruntime" or "openvino".
        precision: "f32" or "bf16".
        runners: calls at once.
        threads: of each call.
        inline: run on the event loop.
        most_rows: of a batch; 1 where batching doesn't pay, or gives other answers.
        times: seconds by rows of a batch.
        rates: rows a second of every candidate.
        note: what a person should know, such as why an engine wasn't taken.
    """

    engine: str
    precision: str
    runners: int
    threads: int
    inline: bool
    most_rows: int
    times: dict[int, float]
    rates: dict[str, float]
    note: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Remembered:
        """Rebuild from JSON; raises ValueError, TypeError or KeyError where it makes no sense."""
        found = cls(
            str(value["engine"]), str(value["precision"]), int(value["runners"]), int(value["threads"]),
            bool(value["inline"]), int(value["most_rows"]),
            {int(rows): float(seconds) for rows, seconds in value["times"].items()},
            {str(name): float(rate) for name, rate in value["rates"].items()}, str(value["note"]),
        )  # fmt: skip
        sane = (
            found.engine in {"onnxruntime", "openvino"}
            and found.precision in {"f32", "bf16"}
            and min(found.runners, found.threads, found.most_rows) >= 1
            and 1 in found.times
            and all(rows >= 1 and 0 < seconds < 1e6 for rows, seconds in found.times.items())
        )
        if not sane:
            raise ValueError("no such choice")
        return found


def key(bundle: str, variant: str, threads: int, wanted: str) -> dict[str, Any]:
    """Return all that a choice depends on."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "format": _FORMAT,
        "bundle": bundle,
        "variant": variant,
        "cpu": cpu_model(),
        "features": sorted(cpu_features()),
        "threads": threads,
        "wanted": wanted,
        "versions": versions,
    }


def folder() -> Path:
    """Return where choices are kept: `$XDG_CACHE_HOME/bedplate/engines`, or below `~/.cache`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    return base / "bedplate" / "engines"


def _file(parts: dict[str, Any]) -> Path:
    text = json.dumps(parts, sort_keys=True).encode()
    return folder() / f"{hashlib.sha256(text).hexdigest()[:32]}.json"


def recall(parts: dict[str, Any]) -> Remembered | None:
    """Return what was measured under a key, or None."""
    try:
        data = _file(parts).read_bytes()[: _MOST_BYTES + 1]
        value = json.loads(data)
        if value["key"] != parts:
            return None
        return Remembered.from_json(value["choice"])
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def remember(parts: dict[str, Any], choice: Remembered) -> None:
    """Keep a choice where that is possible; it appears whole or not at all."""
    with contextlib.suppress(Exception):  # an unwritable home, a full disk: it is measured again next time
        file = _file(parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, json.dumps({"key": parts, "choice": asdict(choice)}, indent=1).encode())


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process of this user measure at a time, so that processes started together don't disturb each other.

    Nobody waits for longer than `_PATIENCE` seconds: whoever holds the lock may hang.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
        lock = os.open(folder() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, RuntimeError):
        yield
        return
    try:
        patience = time.monotonic() + _PATIENCE
        while time.monotonic() < patience:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(lock)
