"""What a person at the terminal sees: stages, lines, tables and progress. Machines read standard output alone.

With `--json` all of this goes to standard error; with `--quiet` nothing of it is shown.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

Advance = Callable[[int, str], None]
"""Takes (how much is done, a short text about now)."""


class Console:
    """Write for people to `stream`, or nowhere."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self.quiet = quiet
        self.colour = not quiet and hasattr(self.stream, "isatty") and self.stream.isatty()

    def say(self, text: str = "") -> None:
        """Write one line."""
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def stage(self, name: str, text: str = "") -> None:
        """Announce a stage of the life."""
        bold, plain = ("\033[1m", "\033[0m") if self.colour else ("", "")
        self.say(f"{bold}▸ {name:<9}{plain} {text}".rstrip())

    def detail(self, text: str) -> None:
        """Write one line below a stage."""
        self.say(f"            {text}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a plain aligned table below a stage; the last column is left as it is."""
        widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
        for index, row in enumerate([header, *rows]):
            self.detail("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            if index == 0:
                self.detail("  ".join("─" * width for width in widths))

    @contextlib.contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        """Show a progress bar while the block runs, where the stream is a terminal."""
        if self.quiet or not self.colour:
            yield lambda done, text: None
            return
        try:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:  # the core install, where nothing takes long, goes without
            yield lambda done, text: None
            return

        columns = (
            TextColumn("            {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
        )
        with Progress(*columns, console=RichConsole(file=self.stream), transient=True) as bar:
            task = bar.add_task(label, total=total, now="")
            last = 0.0

            def advance(done: int, text: str) -> None:
                nonlocal last
                if time.monotonic() - last > 0.1 or done >= total:
                    last = time.monotonic()
                    bar.update(task, completed=done, now=text)

            yield advance


def human_bytes(size: float) -> str:
    """Return a size as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def human_seconds(seconds: float) -> str:
    """Return a duration as people write it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
