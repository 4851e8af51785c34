"""Follow a repository folder: look once a second, and serve what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bedplate.core.errors import BedplateError
from bedplate.serving.folder import scan
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
        for failure in await self._repository.follow(shelves):
            self._say(f"not served: {failure.message}")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.look()
            except BedplateError as error:
                self._say(f"the repository: {error.message}")
            except Exception:  # following must go on whatever lies in the folder
                log.exception("the repository couldn't be followed")
