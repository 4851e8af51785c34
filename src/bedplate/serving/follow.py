"""Follow a repository folder: look once a second, and serve what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bedplate.core.errors import BedplateError
from bedplate.serving.folder import Shelf, Source, scan
from bedplate.serving.repository import Repository

log = logging.getLogger("bedplate.serving")

SECONDS = 1.0


class Follower:
    """The task that follows one folder.

    Args:
        repository: what is served.
        folder: where names lie.
        say: is told what changed, and what couldn't be served.
    """

    def __init__(self, repository: Repository, folder: Path, say: Callable[[str], None]) -> None:
        self._repository, self._folder, self._say = repository, folder, say
        self._lost = False
        self._seen: dict[str, Shelf] | None = None
        self._unmet: set[tuple[str, str, int]] = set()
        self._task: asyncio.Task[None] | None = None
        repository.folder = folder

    async def start(self) -> None:
        """Serve what lies in the folder now, and go on following it."""
        await self.look()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Look once. Where the folder can't be read, what is served goes on."""
        try:
            shelves = await asyncio.to_thread(scan, self._folder)
        except OSError as error:
            if not self._lost:
                self._say(f"the repository can't be read ({error.strerror}); what is served goes on")
            self._lost = True
            return
        if self._lost:
            self._say("the repository can be read again")
            self._lost = False
        self._say_unmet(shelves)
        seen, self._seen = self._seen, shelves
        if seen is not None:
            shelves = {name: self._steady(name, shelf, seen.get(name)) for name, shelf in shelves.items()}
        for failure in await self._repository.follow(shelves):
            kept = self._repository.newest(failure.where or "") is not None
            self._say(f"{'what is served goes on' if kept else 'not served'}: {failure.message}")

    def _say_unmet(self, shelves: dict[str, Shelf]) -> None:
        """Say once of each label whose version isn't there: it is no fault, but may be a slip."""
        unmet = {
            (name, label, number)
            for name, shelf in shelves.items()
            for label, number in shelf.labels.items()
            if number not in shelf.sources
        }
        for name, label, number in sorted(unmet - self._unmet):
            there = sorted(shelves[name].sources)
            self._say(f"{name}: the label '{label}' waits for version {number}, which isn't there; there are: {there}")
        self._unmet = unmet

    def _steady(self, name: str, shelf: Shelf, before: Shelf | None) -> Shelf:
        """Return a shelf without what has changed since the last look: it may still be being copied.

        Of a version that is served already and is being replaced, what is served stays.
        """
        sources: dict[int, Source] = {}
        entry = self._repository.entries.get(name)
        for number, source in shelf.sources.items():
            if before is not None and before.sources.get(number) == source:
                sources[number] = source
            elif entry is not None and number in entry.versions and entry.versions[number].model is not None:
                sources[number] = Source(entry.versions[number].source, entry.versions[number].stamp)
        return replace(shelf, sources=sources)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.look()
            except BedplateError as error:
                self._say(f"the repository: {error.message}")
            except Exception:  # following must go on whatever lies in the folder
                log.exception("the repository couldn't be followed")
