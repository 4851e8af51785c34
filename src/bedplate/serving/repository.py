"""What is served: names, their versions with a state each, labels, and a change of versions that nobody notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bedplate.core.errors import BedplateError, InputError
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, unknown_model

log = logging.getLogger("bedplate.serving")

Missing = Callable[[str, str], Problem]
"""A protocol's way to say that a model isn't there: (name, what was asked for: "", a version, or a label) → Problem."""


class State(StrEnum):
    """The states of a version, as TensorFlow Serving names them."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass
class Version:
    """One version of a name: where it lies, what has become of it, and the model while it is served."""

    number: int
    source: Path
    state: State = State.START
    error: str = ""
    model: Model | None = None


@dataclass
class Entry:
    """One name."""

    name: str
    versions: dict[int, Version] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def available(self) -> list[int]:
        """The versions that answer, the newest first."""
        return sorted((n for n, v in self.versions.items() if v.state is State.AVAILABLE), reverse=True)


def check_name(name: str) -> str:
    """Return a name that fits into paths and labels, or raise InputError."""
    if not name or not name.isprintable() or any(c in name for c in "/:?#%\\ ") or name.startswith("."):
        raise InputError("not a name to serve under", received=repr(name), hint="use letters, digits, - and _")
    return name


class Repository:
    """The served models. All of it but opening a bundle happens on the event loop.

    Args:
        open_model: (name, version, source) → a warm model; called in a thread. It raises BedplateError.
        executor: whose threads open models.
    """

    def __init__(self, open_model: Callable[[str, int, Path], Model], executor: Executor) -> None:
        self.entries: dict[str, Entry] = {}
        self._open = open_model
        self._executor = executor
        self.arrived: list[Callable[[Model], None]] = []
        self.left: list[Callable[[Model], None]] = []

    def add(self, model: Model, source: Path) -> None:
        """Serve a model that is open already."""
        entry = self.entries.setdefault(model.name, Entry(model.name))
        number = int(model.version)
        if number in entry.versions:
            raise InputError(
                f"two bundles would be served as '{model.name}'", hint="give one another name with --name NAME=BUNDLE"
            )
        entry.versions[number] = Version(number, source, State.AVAILABLE, model=model)
        for tell in self.arrived:
            tell(model)

    @property
    def models(self) -> dict[str, Model]:
        """The model of every name that answers where no version is asked for."""
        found = {name: self.newest(name) for name in sorted(self.entries)}
        return {name: model for name, model in found.items() if model is not None}

    def newest(self, name: str) -> Model | None:
        """Return the model of a name's highest version that answers."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        available = entry.available
        return entry.versions[available[0]].model if available else None

    def find(self, name: str, version: str = "", label: str = "", missing: Missing | None = None) -> Model:
        """Return the model that answers a request, or raise a Problem 404."""
        entry = self.entries.get(name)
        if entry is not None:
            if label and label in entry.labels:
                version = str(entry.labels[label])
            if version:
                found = entry.versions.get(int(version)) if version.isascii() and version.isdigit() else None
                if found is not None and found.state is State.AVAILABLE and found.model is not None:
                    return found.model
            elif not label:
                newest = self.newest(name)
                if newest is not None:
                    return newest
        raise missing(name, label or version) if missing else unknown_model(name, sorted(self.models))

    async def load(self, name: str, number: int, source: Path) -> Model:
        """Open a version and serve it; one of this number that is served already gives way once the new one is warm.

        Raises:
            BedplateError: it can't be served; what was served goes on.
        """
        entry = self.entries.setdefault(check_name(name), Entry(name))
        before = entry.versions.get(number)
        version = Version(number, source, State.LOADING)
        if before is None or before.state is not State.AVAILABLE:
            entry.versions[number] = version
        try:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._executor, self._open, name, number, source)
        except BedplateError as error:
            version.state, version.error = State.END, error.message
            raise
        version.model, version.state = model, State.AVAILABLE
        entry.versions[number] = version
        for tell in self.arrived:
            tell(model)
        if before is not None and before.model is not None:
            await self._retire(before)
        return model

    async def unload(self, name: str, number: int) -> None:
        """Stop serving a version, when its requests in hand are answered."""
        entry = self.entries.get(name)
        version = entry.versions.get(number) if entry else None
        if version is None or version.model is None:
            raise unknown_model(name, sorted(self.models))
        await self._retire(version)

    async def _retire(self, version: Version) -> None:
        model = version.model
        if model is None:
            return
        version.state = State.UNLOADING
        await model.drained()
        version.state, version.model = State.END, None
        for tell in self.left:
            tell(model)
