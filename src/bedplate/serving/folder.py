"""A repository folder: which versions of which names lie in it, and which of them are wanted.

    DIR/NAME/VERSION/            a bundle's folder
    DIR/NAME/VERSION.bundle      a bundle's archive
    DIR/NAME/  or  DIR/NAME.bundle   a bundle itself: version 1
    DIR/NAME/serving.json        {"versions": …, "labels": {"stable": 1}}, both optional

What begins with a dot or underscore or ends in .tmp is left alone, so that a version can be copied beside and then
renamed. A version that is copied in place is safe, too: a bundle is opened only where every file has its sealed digest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.bundle.layout import BUNDLE_ID
from bedplate.core.errors import InputError, did_you_mean, json_kind, json_text

SETTINGS = "serving.json"
ARCHIVE = ".bundle"

_MOST_NAMES = 10_000
_NUMBER = re.compile(r"0|[1-9]\d{0,17}")


@dataclass(frozen=True)
class Policy:
    """Which of the versions that are there are served.

    Attributes:
        latest: how many of the newest; 0 with no `specific` means all.
        specific: these and no others.
    """

    latest: int = 1
    specific: tuple[int, ...] = ()

    def wanted(self, there: Iterable[int]) -> list[int]:
        """Return the versions to serve, the oldest first."""
        numbers = sorted(there)
        if self.specific:
            return [number for number in numbers if number in self.specific]
        return numbers[-self.latest :] if self.latest else numbers


ALL, LATEST = Policy(latest=0), Policy(latest=1)


@dataclass(frozen=True)
class Source:
    """One version as it lies on disk; `stamp` differs where it was replaced."""

    path: Path
    stamp: tuple[int, ...]


@dataclass(frozen=True)
class Shelf:
    """What a folder says of one name: its versions, which are wanted, and labels."""

    sources: dict[int, Source] = field(default_factory=dict)
    policy: Policy = LATEST
    labels: dict[str, int] = field(default_factory=dict)
    problem: str = ""

    @property
    def wanted(self) -> dict[int, Source]:
        """The versions to serve; those with a label always are."""
        numbers = {*self.policy.wanted(self.sources), *self.labels.values()}
        return {number: self.sources[number] for number in sorted(numbers) if number in self.sources}


def scan(folder: Path, only: str = "") -> dict[str, Shelf]:
    """Return what lies in a repository folder, by name; `only` one name where it is given.

    Raises:
        OSError: the folder can't be read; whoever follows it keeps what it has.
    """
    found: dict[str, Shelf] = {}
    with os.scandir(folder) as entries:
        listed = sorted((entry for entry in entries if _seen(entry.name)), key=lambda entry: entry.name)
    for entry in listed[:_MOST_NAMES]:
        if only and entry.name not in (only, only + ARCHIVE):
            continue
        name = entry.name.removesuffix(ARCHIVE)
        try:
            if entry.is_dir():
                name, shelf = entry.name, scan_name(Path(entry.path))
            elif entry.name.endswith(ARCHIVE):
                shelf = Shelf({1: Source(Path(entry.path), _stamp(entry))})
            else:
                continue
        except OSError as error:  # what can't be read is the trouble of that name alone
            shelf = Shelf(problem=f"can't be read ({error.strerror})")
        if not servable(name) and (shelf.sources or shelf.problem):
            shelf = Shelf(problem="not a name to serve under; use letters, digits, dots, - and _")
        if shelf.sources or shelf.problem:
            found.setdefault(name, shelf)
    return found


def scan_name(folder: Path) -> Shelf:
    """Return what lies in one name's folder."""
    if (folder / BUNDLE_ID).is_file():
        return Shelf({1: Source(folder, _stamp_of(folder))})
    sources: dict[int, Source] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            number = entry.name.removesuffix(ARCHIVE)
            if not _NUMBER.fullmatch(number):
                continue
            if entry.name.endswith(ARCHIVE) and entry.is_file():
                sources.setdefault(int(number), Source(Path(entry.path), _stamp(entry)))
            elif entry.is_dir() and (Path(entry.path) / BUNDLE_ID).is_file():
                sources[int(number)] = Source(Path(entry.path), _stamp_of(Path(entry.path)))
    try:
        policy, labels = _settings(folder / SETTINGS)
    except InputError as error:
        return Shelf(sources, problem=error.message)
    return Shelf(sources, policy, labels)


def policy_of(value: Any, where: str) -> Policy:
    """Return the policy of `"latest"`, `"all"`, `{"latest": n}` or `{"specific": [n, …]}`. Raises InputError."""
    if value == "latest":
        return LATEST
    if value == "all":
        return ALL
    if isinstance(value, dict) and len(value) == 1:
        latest, specific = value.get("latest"), value.get("specific")
        if type(latest) is int and latest > 0:
            return Policy(latest=latest)
        if isinstance(specific, list) and specific and all(type(n) is int and n >= 0 for n in specific):
            return Policy(specific=tuple(specific))
    raise InputError(
        "no version policy", where=where, expected='"latest", "all", {"latest": n} or {"specific": [n, …]}',
        received=json.dumps(value)[:100],
    )  # fmt: skip


def labels_of(value: Any, where: str) -> dict[str, int]:
    """Return labels with their versions. Raises InputError."""
    if not isinstance(value, dict) or not all(type(n) is int and n >= 0 for n in value.values()):
        raise InputError(
            "not labels", where=where, expected='{"stable": 1, …}, a whole number each', received=json_text(value, 100)
        )
    for label in value:
        check_label(label)
    return dict(value)


def check_label(label: str) -> str:
    """Return a label that fits into a path. Raises InputError."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,63}", label):
        raise InputError("not a label", expected="a letter, then letters, digits, . _ -", received=repr(label)[:80])
    return label


def _settings(file: Path) -> tuple[Policy, dict[str, int]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return LATEST, {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("can't be read", where=SETTINGS, received=type(error).__name__) from error
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError("isn't JSON", where=SETTINGS, received=str(error)) from error
    if not isinstance(value, dict):
        raise InputError("isn't a JSON object", where=SETTINGS, received=json_kind(value))
    known = ("versions", "labels")
    for key in value:
        if key not in known:
            raise InputError(
                f"unknown key '{key}'", where=SETTINGS, expected=" or ".join(known), hint=did_you_mean(key, known)
            )
    return policy_of(value.get("versions", "latest"), SETTINGS), labels_of(value.get("labels", {}), SETTINGS)


def servable(name: str) -> bool:
    """Return whether a name fits into paths, labels and metrics."""
    return bool(name) and name.isprintable() and not any(c in name for c in "/:?#%\\ ") and not name.startswith(".")


def _seen(name: str) -> bool:
    return not name.startswith((".", "_")) and not name.endswith((".tmp", "~"))


def _stamp(entry: os.DirEntry[str]) -> tuple[int, ...]:
    status = entry.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _stamp_of(folder: Path) -> tuple[int, ...]:
    """Return what changes while a bundle's folder is written: how many files, bytes, the newest, the seal."""
    seal = (folder / BUNDLE_ID).stat()
    files, size, newest = 0, 0, 0
    for place in (folder, folder / "graphs"):
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    files, size, newest = files + 1, size + status.st_size, max(newest, status.st_mtime_ns)
        except OSError:  # not there yet
            continue
    return files, size, newest, seal.st_ino, seal.st_mtime_ns
