"""What a case is, and where it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a case happens: an empty folder of its own, and finished things that it may copy but not change.

    `digits` and `table` are bundles (of images, and of a table with categories); `run` is the run that `digits` came
    from; `overrides` are the `--set` texts it was made with.
    """

    folder: Path
    digits: Path
    table: Path
    run: Path
    overrides: tuple[str, ...] = ()

    def text(self, name: str, content: str, encoding: str = "utf-8") -> Path:
        """Write a text file below the folder."""
        return self.bytes(name, content.encode(encoding))

    def bytes(self, name: str, content: bytes) -> Path:
        """Write a file below the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@dataclass(frozen=True)
class Case:
    """One bad input of the command line.

    Attributes:
        group: the heading under which it stands in the docs.
        sent: what was sent, in words; unique in its group.
        words: the command's words; `{digits}`, `{table}` and `{run}` stand for the things of the place, and
            `{overrides}` for the overrides of the run.
        says: words that the message must hold.
        code: the exit code that must come back; 0 where the input is unusual but good.
        build: writes what the command needs into the place.
        most_bytes: a limit on the size of any file that the command writes (so that it meets a full disk), or None.
        stdin: what is piped in.
    """

    group: str
    sent: str
    words: str
    says: tuple[str, ...]
    code: int = 2
    build: Callable[[Place], object] | None = None
    most_bytes: int | None = None
    stdin: bytes = b""

    def argv(self, place: Place) -> list[str]:
        """Return the command's words in a place."""
        found: list[str] = []
        for word in self.words.split():
            if word == "{overrides}":
                found += ["--set", *place.overrides]
            else:
                names = {"digits": place.digits, "table": place.table, "run": place.run}
                found.append(word.format(**names) if word.startswith("{") else word.replace("␠", " "))
        return found

    @property
    def command(self) -> str:
        """The command as the docs show it."""
        shown = self.words.replace("{overrides}", "--set …").replace("␠", " ")
        return "bedplate " + shown.replace("{digits}", "digits.bundle").replace("{table}", "orders.bundle")


@dataclass(frozen=True)
class Request:
    """One bad request to a server. `status` is the HTTP status that must come back; `says` as for a case."""

    sent: str
    path: str
    body: bytes
    says: tuple[str, ...]
    status: int = 400
    content_type: str = "application/json"
    method: str = "POST"
