"""A training's history as JSON lines and CSV, an epoch a line, beside `history.json`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from bedplate.core.files import explain_write_errors, write_text
from bedplate.training.distributed import workers
from bedplate.training.run import Event, Run

JSONL, CSV = "history.jsonl", "history.csv"
Entry = dict[str, float]


def _jsonl(entries: Sequence[Entry]) -> str:
    return "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries)


def _csv(entries: Sequence[Entry], *, header: bool) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header and entries:
        writer.writerow(entries[0])
    writer.writerows(entry.values() for entry in entries)
    return buffer.getvalue()


def write_history(folder: Path, history: Sequence[Entry]) -> None:
    """Write both files whole, atomically."""
    write_text(folder / JSONL, _jsonl(history))
    write_text(folder / CSV, _csv(history, header=True))


class HistoryFiles:
    """The training hook that keeps both files up to date.

    The first epoch that a process ends writes them whole, so that what a killed process left (an epoch that its
    checkpoint doesn't know, a torn line) is gone; later epochs are appended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: int | None = None

    def __call__(self, event: Event, run: Run) -> None:
        """Write the epochs that are not written yet."""
        if event != "epoch" or not workers().first:
            return
        if self._written is None:
            write_history(self._folder, run.history)
        else:
            new = run.history[self._written :]
            with explain_write_errors(self._folder):
                for name, text in ((JSONL, _jsonl(new)), (CSV, _csv(new, header=False))):
                    with (self._folder / name).open("a", encoding="utf-8") as file:
                        file.write(text)
        self._written = len(run.history)
