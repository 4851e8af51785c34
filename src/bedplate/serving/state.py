"""What a server learns while it runs: sketches of the last full window and of the running one, in a folder of its own.

Nothing is ever written into a bundle. A file holds counts, not rows, and costs the same however much was served.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, count, take
from bedplate.core.errors import InputError
from bedplate.core.files import explain_write_errors, read_json, write_json
from bedplate.profile import DriftReport, Reference, Sketches, compare, merge
from bedplate.profile.drift import PARTS
from bedplate.profile.sketch import Sketch

FORMAT = 1
MOST_HISTORY = 100

PROCESS = "process-"
"""How the folders of several processes' states begin."""

SAME_TIME = 3600.0
"""States that were saved within this many seconds of the newest are of one server."""


@dataclass
class WindowState:
    """The windows of one model: tumbling, each of `reference.window` rows in `PARTS` parts by order of arrival.

    `running` are the parts of the window that is filling, `last` those of the last full one; `history` holds the
    verdicts of the last hundred windows.
    """

    bundle_id: str
    reference: Reference
    running: list[Sketches] = field(default_factory=list)
    last: list[Sketches] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    windows: int = 0

    def add(self, inputs: Arrays, outputs: Arrays) -> list[DriftReport]:
        """Put rows in; return the verdicts of the windows that they filled."""
        verdicts: list[DriftReport] = []
        start, total = 0, count(inputs)
        while start < total:
            filled = rows_in(self.running)
            window = self.reference.window
            # The running part ends where the next one begins: parts are as equal as whole rows allow.
            part = min(PARTS - 1, filled * PARTS // window)
            end = -(-(part + 1) * window // PARTS)
            piece = slice(start, start + min(total - start, max(1, end - filled)))
            sketch = self.reference.sketch(take(inputs, piece), take(outputs, piece))
            if filled == -(-part * window // PARTS):
                self.running.append(sketch)
            else:
                self.running[-1] = merge([self.running[-1], sketch])
            start = piece.stop
            self.rows += piece.stop - piece.start
            if rows_in(self.running) >= window:
                verdicts.append(self._close())
        return verdicts

    def _close(self) -> DriftReport:
        self.last, self.running = self.running, []
        self.windows += 1
        report = compare(self.reference, self.last)
        moved = [feature.name for feature in report.moved]
        self.history.append({"at": int(time.time()), "rows": report.rows, "drift": report.drift, "moved": moved})
        del self.history[:-MOST_HISTORY]
        return report

    def newest(self) -> tuple[list[Sketches], list[Sketches]]:
        """Return the parts of the last full window, and of the rows that came after it."""
        return self.last, self.running

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {
            "format": FORMAT,
            "bundle_id": self.bundle_id,
            "window": self.reference.window,
            "rows": self.rows,
            "windows": self.windows,
            "history": self.history,
            "last": [_sketches_json(part) for part in self.last],
            "running": [_sketches_json(part) for part in self.running],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], reference: Reference) -> WindowState:
        """Rebuild from `to_json()`; raises ValueError, KeyError or TypeError where it doesn't fit the reference."""
        if value["format"] != FORMAT or value["window"] != reference.window:
            raise ValueError(f"format {value['format']}, window {value['window']}")
        parts = {key: [_sketches(part, reference) for part in value[key]] for key in ("last", "running")}
        if rows_in(parts["running"]) >= reference.window or len(parts["last"]) > PARTS:
            raise ValueError("more rows than a window holds")
        history = [dict(entry) for entry in value["history"]][-MOST_HISTORY:]
        rows, windows = int(value["rows"]), int(value["windows"])
        return cls(str(value["bundle_id"]), reference, parts["running"], parts["last"], history, rows, windows)


def rows_in(parts: list[Sketches]) -> int:
    """Return how many rows some parts hold together."""
    return sum(max((sketch.rows for sketch in part.values()), default=0) for part in parts)


def _sketches_json(part: Sketches) -> dict[str, Any]:
    return {name: sketch.to_json() for name, sketch in part.items()}


def _sketches(value: Mapping[str, Any], reference: Reference) -> Sketches:
    part = {name: Sketch.from_json(entry, reference.features[name].bins) for name, entry in value.items()}
    if len({sketch.rows for sketch in part.values()}) > 1 or not np.isfinite([s.total for s in part.values()]).all():
        raise ValueError("the sketches of one part disagree")
    return part


class StateFolder:
    """A server's state folder: one file a model, held by one server at a time.

    Raises:
        InputError: another server holds it, or it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_write_errors(path, "--state"):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InputError(
                "another server keeps its state here", where=str(path), hint="give each server a --state of its own"
            ) from error

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._lock)

    def file(self, name: str) -> Path:
        """Return where a model's state lies."""
        return self.path / f"{name}.json"

    def save(self, name: str, state: WindowState) -> None:
        """Write a model's state atomically."""
        write_json(self.file(name), state.to_json(), "--state")

    def restore(self, name: str, bundle_id: str, reference: Reference) -> tuple[WindowState, str | None]:
        """Return a model's state, and what to tell of it.

        A file that can't be read or that speaks of another bundle is kept beside under another name, and a new state
        begins.
        """
        file = self.file(name)
        fresh = WindowState(bundle_id, reference)
        if not file.exists():
            return fresh, None
        try:
            value = read_json(file)
            if value["bundle_id"] != bundle_id:
                aside = self._set_aside(file, str(value["bundle_id"])[:12])
                return fresh, f"{name}: the state was of another bundle; it is kept as {aside.name}"
            state = WindowState.from_json(value, reference)
        except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
            aside = self._set_aside(file, "damaged")
            return fresh, f"{name}: the state couldn't be read ({error}); it is kept as {aside.name}"
        return state, f"{name}: {state.rows} rows watched before"

    @staticmethod
    def _set_aside(file: Path, why: str) -> Path:
        safe = "".join(c for c in why if c.isalnum()) or "damaged"
        aside = file.with_name(f"{file.stem}.{safe}-{time.time_ns()}.aside")
        file.rename(aside)
        return aside


def read_state(folder: Path, bundle_id: str, reference: Reference) -> WindowState:
    """Return the newest state of a bundle in a server's folder, for one who only looks.

    Raises:
        InputError: no such folder, or nothing of this bundle in it.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), hint="give the --state folder of a server")
    found: list[tuple[float, WindowState]] = []
    others: list[str] = []
    # A server of several processes keeps a folder for each.
    for file in sorted([*folder.glob("*.json"), *folder.glob(f"{PROCESS}*/*.json")]):
        value = read_json(file)
        if not isinstance(value, dict) or value.get("bundle_id") != bundle_id:
            others.append(file.name)
            continue
        try:
            found.append((file.stat().st_mtime, WindowState.from_json(value, reference)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("the state can't be read", where=str(file), received=str(error)) from error
    if not found:
        raise InputError(
            "nothing was watched for this bundle here", where=str(folder),
            received=f"the states of other bundles: {', '.join(others)}" if others else "an empty folder",
            hint="serve the bundle with this --state, and send it some rows",
        )  # fmt: skip
    newest = max(time for time, _ in found)
    together = [state for time, state in found if time > newest - SAME_TIME] if len(found) > 1 else [found[0][1]]
    return together[0] if len(together) == 1 else _together(together)


def _together(states: list[WindowState]) -> WindowState:
    """Return the states of processes that served side by side as one: part by part, so that order of arrival stays."""
    first = states[0]

    def parts(choose: Callable[[WindowState], list[Sketches]]) -> list[Sketches]:
        longest = max(len(choose(state)) for state in states)
        return [merge([choose(state)[k] for state in states if k < len(choose(state))]) for k in range(longest)]

    return WindowState(
        first.bundle_id, first.reference, parts(lambda state: state.running), parts(lambda state: state.last),
        sorted((entry for state in states for entry in state.history), key=lambda entry: entry["at"])[-MOST_HISTORY:],
        sum(state.rows for state in states), sum(state.windows for state in states),
    )  # fmt: skip
