"""The run's folder: each stage has a folder of its own, and writes its manifest last.

A stage counts as done when its manifest is there and carries the fingerprint of everything that decides its result; so
a killed run continues where it stopped, and a changed recipe repeats just what the change touches.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bedplate.core.errors import InputError, Interrupted, RunError
from bedplate.core.files import explain_write_errors, read_json, write_json

MARKER, LOCK = "run.json", ".lock"
CHECKPOINT = "checkpoint.safetensors"
PRETRAINED = "pretrain.json"
"""What the training stage writes when its pre-training is done: from then on there is something to continue."""
STAGES = ("train", "evaluate", "compress", "pack")
PACKED = ("report.html", "report.json", "MODEL_CARD.md", "recipe.yaml")
"""What the packing stage writes beside its own folder and the bundle."""

Mode = Literal["new", "resume", "fresh"]


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replaced = False
        """Whether a run lies here that goes when a stage begins, and not before: settings may yet be refused."""

    def stage(self, name: str) -> Path:
        """Return a stage's folder."""
        return self.path / name

    @property
    def bundle(self) -> Path:
        """Where the sealed bundle lies."""
        return self.path / "bundle"

    def manifest(self, stage: str, fingerprint: str | None = None) -> dict[str, Any] | None:
        """Return a done stage's manifest; None where it isn't done, or was done for another fingerprint."""
        path = self.stage(stage) / "stage.json"
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = read_json(path)
            done = found["fingerprint"]
        except (InputError, KeyError, TypeError) as error:
            raise RunError(
                "the stage's manifest is damaged", where=str(path), received=str(error), hint="start again with --fresh"
            ) from error
        return found if fingerprint is None or done == fingerprint else None

    def need(self, stage: str, fingerprint: str) -> None:
        """Raise a RunError unless a stage is done for this fingerprint."""
        if self.manifest(stage, fingerprint) is None:
            raise RunError(
                f"the stage '{stage}' is not done for this recipe and data",
                where=str(self.path),
                hint=f"run `bedplate {stage}` first, with the same recipe and --set",
            )

    def tidy(self) -> bool:
        """Remove what unfinished stages left; return whether something is left to continue.

        Of a training that isn't done a checkpoint, or the weights that were pre-trained, are something.
        """
        for stage in STAGES:
            folder = self.stage(stage)
            worth = ["stage.json", *([CHECKPOINT, PRETRAINED] if stage == "train" else [])]
            if not any((folder / name).is_file() for name in worth):
                shutil.rmtree(folder, ignore_errors=True)
        if not self.stage("pack").is_dir():
            shutil.rmtree(self.bundle, ignore_errors=True)
            for name in PACKED:
                (self.path / name).unlink(missing_ok=True)
        return any(self.stage(stage).is_dir() for stage in STAGES)

    def begin(self, stage: str, *, keep: bool = False) -> Path:
        """Empty a stage's folder (unless `keep`), and those of the stages after it, and return it."""
        with explain_write_errors(self.path):
            if self.replaced:
                write_json(self.path / MARKER, {"format": 1, "state": "begun"})
                self.replaced = False
            for later in STAGES[STAGES.index(stage) + (1 if keep else 0) :]:
                shutil.rmtree(self.stage(later), ignore_errors=True)
            shutil.rmtree(self.bundle, ignore_errors=True)
            self.stage(stage).mkdir(parents=True, exist_ok=True)
        return self.stage(stage)

    def finish(self, stage: str, fingerprint: str, facts: dict[str, Any]) -> None:
        """Write a stage's manifest: from now on it is done."""
        write_json(self.stage(stage) / "stage.json", {"stage": stage, "fingerprint": fingerprint, **facts})


def _is_run(path: Path) -> bool:
    return (path / MARKER).is_file()


def check_free(path: Path, mode: Mode) -> Path:
    """Return the absolute path of a run's folder, if a run may begin (or continue) there. Writes nothing.

    Raises:
        RunError: it holds a run already (mode "new"), or something else.
    """
    with explain_write_errors(path):
        path = path.expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise RunError("not a folder", where=str(path), hint="choose another with --out")
        if not path.is_dir() or all(entry.name == LOCK for entry in path.iterdir()):
            return path
    if not _is_run(path):
        raise RunError("the folder holds something that is no run", where=str(path), hint="choose another with --out")
    if mode == "new":
        raise RunError(
            "the folder holds a run already",
            where=str(path),
            hint="--resume continues it, --fresh starts it again, --out DIR puts this one elsewhere",
        )
    return path


@contextlib.contextmanager
def open_run(path: Path, mode: Mode) -> Iterator[RunFolder]:
    """Open the folder of a run and hold its lock.

    Where the block fails, what it left unfinished is removed, and so is a folder that then holds nothing to continue.

    Raises:
        RunError: as `check_free`, or another process is at work in it.
        InputError: it can't be written.
        Interrupted: Ctrl-C, at whatever stage.
    """
    path = check_free(path, mode)
    began = not _is_run(path)
    with hold(path, "run") as made:
        folder = RunFolder(path)
        try:
            folder.replaced = _is_run(path) and mode == "fresh"
            if not _is_run(path):
                write_json(path / MARKER, {"format": 1, "state": "begun"})
            yield folder
        except BaseException as error:
            left = folder.tidy()
            if began and not left:
                remove_begun(path, MARKER, made)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("stopped by the user", hint="continue with --resume" if left else None) from error
            raise


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[list[Path]]:
    """Make a folder if need be, hold its lock, and yield the folders that were made for it, the innermost first.

    Raises:
        RunError: another process holds it; `what` says what it works on ("run", "experiment").
        InputError: it can't be written.
    """
    with explain_write_errors(path):
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another process is working on this {what}",
                where=str(path),
                hint="wait for it, or choose another folder with --out",
            ) from error
        yield made
    finally:
        os.close(lock)


def remove_begun(path: Path, marker: str, made: list[Path]) -> None:
    """Remove a folder in which nothing was finished, and the folders above it that were made for it."""
    for name in (marker, LOCK):
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # someone else's file lies there: then the folder stays
        for folder in made:
            folder.rmdir()
