"""The watcher: sketches what was served, in a thread of its own, so that no reply waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bedplate.core.arrays import Arrays, concatenate, count, take
from bedplate.core.errors import BedplateError
from bedplate.profile import DriftReport, Reference, compare
from bedplate.serving.allowance import Allowance
from bedplate.serving.metrics import Metrics
from bedplate.serving.models import Model
from bedplate.serving.state import StateFolder, WindowState

log = logging.getLogger("bedplate.serving")

ROWS_A_SECOND, SHARE = 100.0, 0.02
"""Of a busy model so many rows a second are sketched, and no more than that share of a core can sketch. A window has
some hundred rows, so that more windows a second would say nothing new; sketching all rows of a small model took up to
half of the requests a second."""

MOST_AT_ONCE, SECONDS_AT_ONCE = 4096, 5.0
"""Rows that are sketched however quickly they come, after a time with few: so many, or what so many seconds can do."""

_PAUSE, _PAUSE_WHEN_BUSY = 0.05, 5.0
"""Seconds in which rows gather before they are sketched together. Each batch takes Python's lock from the requests some
two hundred times, however few rows it has, and each time they wait for the other thread to get a core."""

_SAVE_EVERY = 2.0


class Watcher:
    """Sketches the rows of all models that have a drift reference, and keeps the sketches in a folder if given one.

    A fault in watching is logged and never reaches a reply.
    """

    def __init__(self, metrics: Metrics, folder: Path | None, say: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._say = say
        self._waiting: deque[tuple[str, Arrays, Arrays]] = deque()
        self._allowances: dict[str, Allowance] = {}
        self._sketching = threading.Lock()
        self._wake = threading.Event()
        self._busy = False
        self._stop = threading.Event()
        self._folder = StateFolder(folder) if folder is not None else None
        self.states: dict[str, WindowState] = {}
        self._changed: set[str] = set()
        self._drifting: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="bedplate-watch", daemon=True)
        self._thread.start()

    def add(self, model: Model) -> None:
        """Watch a model from now on, in place of another of its name; one without a drift reference isn't watched."""
        if model.bundle.reference.get("features"):
            reference = Reference.from_json(model.bundle.reference, model.name)
            state = self._restored(model, reference)
        else:
            self._say(f"{model.name}: the bundle holds no drift reference; it is not watched")
            state = None
        with self._sketching:
            before = self.states.get(model.name)
            if before is not None and self._folder is not None and before.bundle_id != model.bundle.id:
                self._folder.save(model.name, before)
                state = state and self._restored(model, state.reference)
            if state is None:
                self.states.pop(model.name, None)
            else:
                self.states[model.name] = state

    def _restored(self, model: Model, reference: Reference) -> WindowState:
        if self._folder is None:
            return WindowState(model.bundle.id, reference)
        state, note = self._folder.restore(model.name, model.bundle.id, reference)
        if note:
            self._say(note)
        if state.last:
            self._metrics.note_drift(model.name, compare(reference, state.last), new=False)
        return state

    def put(self, model: Model, inputs: Arrays, outputs: Arrays, rows: int) -> None:
        """Hand over rows that were predicted; returns at once. Of many, some are taken, spread evenly over the time."""
        name = model.name
        state = self.states.get(name)
        if state is None or state.bundle_id != model.bundle.id:
            return
        allowance = self._allowances.get(name)
        if allowance is None:
            allowance = self._allowances[name] = Allowance(ROWS_A_SECOND, MOST_AT_ONCE)
        taken = allowance.take(rows)
        if taken < rows:
            self._metrics.tallies.pass_over(name, rows - taken)
            self._busy = True
            if not taken:
                return
            some = np.arange(taken) * rows // taken
            inputs, outputs = take(inputs, some), take(outputs, some)
        self._waiting.append((name, inputs, outputs))
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Sketch what is waiting, save, and end the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=30)
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _run(self) -> None:
        saved = time.monotonic()
        while True:
            self._wake.wait(timeout=_SAVE_EVERY)
            stopping = self._stop.is_set() or self._stop.wait(_PAUSE_WHEN_BUSY if self._busy else _PAUSE)
            self._busy = False
            self._wake.clear()
            self._take_all()
            if stopping or time.monotonic() - saved >= _SAVE_EVERY:
                self._save()
                saved = time.monotonic()
            if stopping:
                return

    def _take_all(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for name in {name for name, _, _ in batch}:
            mine = [(inputs, outputs) for of, inputs, outputs in batch if of == name]
            begun = time.thread_time()
            try:
                inputs = concatenate([inputs for inputs, _ in mine])
                outputs = concatenate([outputs for _, outputs in mine])
                with self._sketching:
                    reports = self.states[name].add(inputs, outputs) if name in self.states else []
                for report in reports:
                    self._metrics.note_drift(name, report)
                    self._tell(name, report)
            except Exception:  # an observer must never take the server down
                log.exception("%s: %d requests couldn't be watched", name, len(mine))
                self._metrics.tallies.pass_over(name, sum(count(inputs) for inputs, _ in mine))
            self._changed.add(name)
            each = (time.thread_time() - begun) / sum(count(inputs) for inputs, _ in mine)
            if each > 0 and name in self._allowances:
                allowance = self._allowances[name]
                allowance.rate = min(ROWS_A_SECOND, SHARE / each)
                allowance.most = min(MOST_AT_ONCE, max(1.0, SECONDS_AT_ONCE / each))

    def _tell(self, name: str, report: DriftReport) -> None:
        """Log a line when the verdict changes; the metrics carry every one, and `bedplate monitor` the detail."""
        if report.drift == (name in self._drifting):
            return
        if report.drift:
            self._drifting.add(name)
            moved = ", ".join(one.name for one in report.moved[:4])
            log.warning("%s: drift in %d rows: %s; see `bedplate monitor`", name, report.rows, moved)
        else:
            self._drifting.discard(name)
            log.warning("%s: no drift any more in %d rows", name, report.rows)

    def _save(self) -> None:
        if self._folder is None:
            return
        for name in sorted(self._changed):
            try:
                with self._sketching:
                    if name in self.states:
                        self._folder.save(name, self.states[name])
                self._changed.discard(name)
            except (BedplateError, OSError, ValueError) as error:
                log.warning("%s: the state couldn't be saved: %s", name, error)
