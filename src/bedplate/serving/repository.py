"""What is served: names, their versions with a state each, labels, and a change of versions that nobody notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bedplate.core.errors import BedplateError, InputError, listing
from bedplate.serving.folder import Shelf, Source, check_label, labels_of, policy_of, scan, scan_name, servable
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, unknown_model, unknown_version

log = logging.getLogger("bedplate.serving")

_MOST_DIGITS = 19
"""Of 2⁶³ - 1, the largest version that the protocols can name."""

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
    stamp: tuple[int, ...] = ()
    state: State = State.START
    error: str = ""
    model: Model | None = None


@dataclass
class Entry:
    """One name.

    `versions` holds all that were ever asked for, whatever their state; `coming` are labels of versions that don't
    answer yet. `held`: it was unloaded by hand, and no folder brings it back. `problem`: what is wrong with its folder.
    `newest` is the model of the highest version that answers.
    """

    name: str
    versions: dict[int, Version] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    coming: dict[str, int] = field(default_factory=dict)
    held: bool = False
    problem: str = ""
    newest: Model | None = None

    def settle(self) -> None:
        """Find the newest again; called whenever a version's state has changed."""
        available = self.available
        self.newest = self.versions[available[0]].model if available else None
        # A label never points at what doesn't answer; it comes back with its version.
        for label in [label for label, number in self.labels.items() if number not in available]:
            self.coming[label] = self.labels.pop(label)
        for label in [label for label, number in self.coming.items() if number in available]:
            self.labels[label] = self.coming.pop(label)

    @property
    def available(self) -> list[int]:
        """The versions that answer, the newest first."""
        return sorted((n for n, v in self.versions.items() if v.state is State.AVAILABLE), reverse=True)


def number_of(version: str) -> int:
    """Return the number that a version's text is; -1, which no version has, for any other text.

    Python reads no numbers of thousands of digits, and no version has more than eighteen.
    """
    digits = version.lstrip("0") or version[-1:]
    return int(digits) if len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdigit() else -1


def check_name(name: str) -> str:
    """Return a name that fits into paths and labels, or raise InputError."""
    if not servable(name):
        raise InputError("not a name to serve under", received=repr(name), hint="use letters, digits, dots, - and _")
    return name


def _plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..")


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
        self._changing = asyncio.Lock()
        self._shelves: dict[str, Shelf] = {}
        self._configured: list[dict[str, Any]] | None = None
        self.folder: Path | None = None
        self.arrived: list[Callable[[Model], None]] = []
        self.left: list[Callable[[Model], None]] = []
        self.relabelled: list[Callable[[str, str], None]] = []  # (name, label): its folder says something new of it

    def add(self, model: Model, source: Path) -> None:
        """Serve a model that is open already."""
        entry = self.entries.setdefault(model.name, Entry(model.name))
        number = int(model.version)
        if number in entry.versions:
            raise InputError(
                f"two bundles would be served as '{model.name}'", hint="give one another name with --name NAME=BUNDLE"
            )
        entry.versions[number] = Version(number, source, state=State.AVAILABLE, model=model)
        entry.settle()
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
        return entry.newest if entry is not None else None

    def find(self, name: str, version: str = "", label: str = "", missing: Missing | None = None) -> Model:
        """Return the model that answers a request, or raise a Problem 404."""
        entry = self.entries.get(name)
        if entry is not None:
            if label and label in entry.labels:
                version = str(entry.labels[label])
            if version:
                found = entry.versions.get(number_of(version))
                if found is not None and found.state is State.AVAILABLE and found.model is not None:
                    return found.model
            elif not label and entry.newest is not None:
                return entry.newest
        if missing is not None:
            raise missing(name, label or version)
        if entry is not None and entry.newest is not None:
            raise unknown_version(name, label or version, entry.available)
        raise unknown_model(name, sorted(self.models))

    async def load(self, name: str, number: int, source: Path, stamp: tuple[int, ...] = ()) -> Model:
        """Open a version and serve it; one of this number that is served already gives way once the new one is warm.

        Raises:
            BedplateError: it can't be served; what was served goes on.
        """
        entry = self.entries.setdefault(check_name(name), Entry(name))
        before = entry.versions.get(number)
        version = Version(number, source, stamp, State.LOADING)
        if before is None or before.state is not State.AVAILABLE:
            entry.versions[number] = version
        try:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._executor, self._open, name, number, source)
        except BedplateError as error:
            version.state, version.error = State.END, error.what  # not where: callers read it
            if before is not None and before.state is State.AVAILABLE:
                before.stamp = stamp  # not tried again until it is changed again
            raise
        version.model, version.state = model, State.AVAILABLE
        entry.versions[number] = version
        entry.settle()
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

    def index(self) -> list[tuple[str, Version]]:
        """Return all names with their versions, also those that don't answer, in order."""
        return [
            (name, entry.versions[number])
            for name, entry in sorted(self.entries.items())
            for number in sorted(entry.versions)
        ]

    async def load_name(self, name: str) -> list[int]:
        """Serve a name: what its folder holds now, or each version again from where it came.

        Versions that are served give way once the new ones are warm. Returns the numbers of the versions that answer.

        Raises:
            Problem: 404, the name isn't known.
            BedplateError: one can't be served; what was served goes on.
        """
        async with self._changing:
            shelf = self._as_configured().get(name) if self._configured is not None else None
            if shelf is None and self.folder is not None and _plain(name):
                shelf = scan(self.folder, only=name).get(name)
            entry = self.entries.get(name)
            if shelf is None and (entry is None or not entry.versions):
                raise unknown_model(name, sorted(self.models))
            if shelf is not None:
                entry = self.entries.setdefault(name, Entry(name))
                entry.held = False
                failures = await self._follow(name, shelf, again=True)
                if failures:
                    raise failures[0]
            else:
                assert entry is not None
                entry.held = False
                for number in sorted(entry.versions):
                    await self.load(name, number, entry.versions[number].source)
            return entry.available

    async def unload_name(self, name: str) -> None:
        """Stop serving all versions of a name until it is loaded again. Raises Problem 404."""
        async with self._changing:
            entry = self.entries.get(name)
            if entry is None:
                raise unknown_model(name, sorted(self.models))
            entry.held = True
            for number in entry.available:
                await self.unload(name, number)

    async def set_label(self, name: str, label: str, version: int | None, *, waiting: bool = False) -> dict[str, int]:
        """Point a label at a version that answers, or remove it (None); return the name's labels.

        Args:
            name: the name that has the label.
            label: the label.
            version: where it shall point.
            waiting: for a change that is made again. Where the version doesn't answer any more, the label waits for it;
                one that is gone already is removed well.

        Raises:
            Problem: 404 for an unknown name or label, 409 where the version doesn't answer.
            InputError: not a label.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise unknown_model(name, sorted(self.models))
        if version is None:
            if label not in entry.labels and label not in entry.coming and not waiting:
                raise Problem(404, f"'{name}' has no label '{label[:100]}'; it has: {listing(sorted(entry.labels))}")
            entry.labels.pop(label, None)
            entry.coming.pop(label, None)
        elif waiting and version not in entry.available:
            entry.labels.pop(label, None)
            entry.coming[check_label(label)] = version
        else:
            if version not in entry.available:
                raise Problem(
                    409,
                    f"version {version} of '{name}' doesn't answer; those that do: {entry.available}; load it first",
                )
            entry.coming.pop(label, None)
            entry.labels[check_label(label)] = version
        return dict(entry.labels)

    async def follow(self, shelves: dict[str, Shelf]) -> list[BedplateError]:
        """Serve what a folder says: first load what is new, then unload what isn't wanted any more.

        Returns what failed; such a version isn't tried again before its files change, and what it would have replaced
        goes on.
        """
        async with self._changing:
            if self._configured is not None:
                shelves = self._as_configured()
            gone = [name for name in self._shelves if name not in shelves]
            failures: list[BedplateError] = []
            for name, shelf in shelves.items():
                entry = self.entries.get(name)
                if entry is not None and entry.held:
                    continue
                failures += await self._follow(name, shelf)
            for name in gone:
                for number in self.entries[name].available if name in self.entries else []:
                    await self.unload(name, number)
            # What a faulty file said before it was faulty still counts: its labels are compared with the next ones.
            said = {name: self._shelves[name] for name, one in shelves.items() if one.problem and name in self._shelves}
            self._shelves = {**shelves, **said}
            return failures

    async def reconfigure(self, config: list[dict[str, Any]]) -> None:
        """Replace the whole set of what is served, as TensorFlow Serving's ReloadConfig does.

        Args:
            config: for each name `{"name", "base_path", "policy": "latest" | "all" | {…}, "labels": {…}}`; the path
                lies in the repository folder.

        Raises:
            Problem: 400 for a path outside, or where no folder is served.
            InputError: the folder, the policy or a label makes no sense.
        """
        if self.folder is None:
            raise Problem(400, "the server follows no repository folder; start it with --repository DIR")
        root = self.folder.resolve()
        items: list[dict[str, Any]] = []
        for item in config:
            path = (root / str(item["base_path"])).resolve()
            if root not in (path, *path.parents) or not path.is_dir():
                raise Problem(400, f"base_path of '{item['name']}': expected a folder inside the server's repository")
            items.append(
                {
                    "name": check_name(str(item["name"])),
                    "path": path,
                    "policy": policy_of(item.get("policy", "latest"), "policy"),
                    "labels": labels_of(item.get("labels", {}), "labels"),
                }
            )
        before, self._configured = self._configured, items
        try:
            failures = await self.follow({})
        except OSError as error:
            self._configured = before
            raise Problem(400, "a base_path can't be read") from error
        for name in [name for name in self.entries if name not in {item["name"] for item in items}]:
            await self.unload_name(name)
        if failures:
            raise failures[0]

    def _as_configured(self) -> dict[str, Shelf]:
        """Return what lies where the configuration points."""
        return {
            item["name"]: replace(scan_name(item["path"]), policy=item["policy"], labels=item["labels"], problem="")
            for item in self._configured or []
        }

    async def _follow(self, name: str, shelf: Shelf, *, again: bool = False) -> list[BedplateError]:
        """Bring one name to what its shelf says; `again` tries what failed before, too."""
        if shelf.problem:
            return self._note(name, shelf.problem)
        entry = self.entries.setdefault(check_name(name), Entry(name))
        entry.problem = ""
        failures: list[BedplateError] = []
        wanted = shelf.wanted
        for number, source in wanted.items():
            known = entry.versions.get(number)
            same = known is not None and known.stamp == source.stamp and known.source == source.path
            if same and known is not None and (known.state is State.AVAILABLE or (known.error and not again)):
                continue
            try:
                await self.load(name, number, source.path, source.stamp)
            except BedplateError as error:
                failures.append(error)
        if failures and not entry.available:
            # At a start nothing is there that could go on: then the newest that can be served is better than none.
            await self._next_best(name, {n: one for n, one in shelf.sources.items() if n not in wanted})
        served = entry.available
        if any(number in wanted for number in served):
            for number in served:
                if number not in wanted:
                    await self.unload(name, number)
        self._relabel(entry, self._shelves.get(name, Shelf()).labels, shelf.labels)
        return failures

    def _relabel(self, entry: Entry, before: dict[str, int], now: dict[str, int]) -> None:
        """Follow what has changed in the labels that a folder names; the others stay where they were put."""
        gone = before.keys() - now.keys()
        for label in gone:
            entry.labels.pop(label, None)
            entry.coming.pop(label, None)
        new = {label: number for label, number in now.items() if before.get(label) != number}
        entry.coming |= new
        entry.settle()
        for label in (*gone, *new):
            for tell in self.relabelled:
                tell(entry.name, label)

    async def _next_best(self, name: str, sources: dict[int, Source]) -> None:
        """Serve the highest version that can be served."""
        for number in sorted(sources, reverse=True):
            try:
                await self.load(name, number, sources[number].path, sources[number].stamp)
            except BedplateError:
                continue
            return

    def _note(self, name: str, problem: str) -> list[BedplateError]:
        """Say once what is wrong with a name's folder."""
        entry = self.entries.setdefault(name, Entry(name))
        said, entry.problem = entry.problem, problem
        return [] if said == problem else [InputError(problem, where=name)]

    async def _retire(self, version: Version) -> None:
        model = version.model
        if model is None:
            return
        version.state = State.UNLOADING
        self.entries[model.name].settle()
        await model.drained()
        version.state, version.model = State.END, None
        for tell in self.left:
            tell(model)
