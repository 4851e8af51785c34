"""The job folder: all that workers need to train, and where they tell how it goes. Plain files, for any engine.

- `job.json`: the settled recipe's training, model, objective, seed, identity, plug-ins.
- `initial.safetensors`: the weights to start from.
- `*.npy`: features and targets, which all workers map into memory, so that they are there once.
- `progress.jsonl`: what the first worker has done, appended.
- `stop`: when it is there, the workers write a checkpoint and end.
- `alive`, `working`: locked as long as whoever started the job, and each worker, live.
- `weights.safetensors`, `outcome.json`: how it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.torch import load_file, save

from bedplate.core import errors
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BedplateError, RunError
from bedplate.core.files import explain_write_errors, read_json, write_bytes, write_json
from bedplate.models import Network
from bedplate.training import TrainingData

_LEFT_ALONE = 90.0
"""Seconds that the workers of a killed run are given to end, before the run may be continued."""


@dataclass(frozen=True)
class Job:
    """One job folder."""

    path: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What `job.json` says."""
        found: dict[str, Any] = read_json(self.path / "job.json")
        return found

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How the job ended: `state` is done, interrupted, error or fault; None while it goes on."""
        path = self.path / "outcome.json"
        return read_json(path) if path.exists() else None

    def end(self, state: str, **facts: Any) -> None:
        """Say how the job ended."""
        write_json(self.path / "outcome.json", {"state": state, **facts})

    def fail(self, error: BedplateError) -> None:
        """Say that the job ended with an error that starting it again would not mend."""
        fields = {key: getattr(error, key) for key in ("what", "where", "expected", "received", "hint")}
        self.end("error", kind=type(error).__name__, fields=fields)

    def ask_to_stop(self) -> None:
        """Ask the workers to write a checkpoint and to end."""
        (self.path / "stop").touch()

    @property
    def stopping(self) -> bool:
        """Whether the workers should end: they were asked to, or whoever started the job has gone."""
        return (self.path / "stop").exists() or not held(self.path / "alive")

    def write_data(self, network: Network, data: TrainingData) -> None:
        """Write the weights to start from, features and targets."""
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        write_bytes(self.path / "initial.safetensors", save(state))
        with explain_write_errors(self.path):
            for split, features, targets in (
                ("train", data.features, data.targets),
                ("validation", data.validation_features, data.validation_targets),
            ):
                for name, array in {**features, "": targets}.items():
                    np.save(self._array(split, name), np.asarray(array), allow_pickle=False)

    def read_data(self, names: list[str]) -> TrainingData:
        """Return features and targets, mapped into memory and not read."""
        parts: list[Any] = []
        for split in ("train", "validation"):
            features: Arrays = {name: self._mapped(split, name) for name in names}
            parts += [features, self._mapped(split, "")]
        return TrainingData(*parts)

    def load_weights(self, network: Network, name: str) -> None:
        """Load `initial` or the final `weights` into the network."""
        network.load_state_dict(load_file(self.path / f"{name}.safetensors"))

    def _array(self, split: str, name: str) -> Path:
        return self.path / (f"{split}.features.{name}.npy" if name else f"{split}.targets.npy")

    def _mapped(self, split: str, name: str) -> np.ndarray:
        # "c": torch wants arrays that may be written to; what is never written stays one copy for all workers.
        found: np.ndarray = np.load(self._array(split, name), mmap_mode="c", allow_pickle=False)
        return found


def raised(outcome: dict[str, Any]) -> Exception:
    """Return the exception that a job's outcome "error" or "fault" stands for."""
    if outcome["state"] == "fault":
        return RuntimeError(f"a worker failed:\n{outcome['traceback']}")
    kind = getattr(errors, outcome["kind"], BedplateError)
    fields = dict(outcome["fields"])
    return kind(fields.pop("what"), **fields) if issubclass(kind, BedplateError) else RuntimeError(str(fields))


def held(path: Path) -> bool:
    """Return whether another process holds the lock on a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[IO[bytes]]:
    with path.open("ab") as file:
        fcntl.flock(file, how)
        yield file


@contextlib.contextmanager
def at_work(job: Job) -> Iterator[None]:
    """Be known as one of the job's workers while the block runs."""
    with _locked(job.path / "working", fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def open_job(path: Path, settings: dict[str, Any]) -> Iterator[Job]:
    """Make a job folder, hold it while the block runs, and remove it.

    Raises:
        RunError: workers of an earlier process are still at work in it.
    """
    job = Job(path)
    if path.exists():
        _await_others(job)
        shutil.rmtree(path)
    with explain_write_errors(path):
        path.mkdir(parents=True)
    try:
        with _locked(path / "alive", fcntl.LOCK_EX):
            (path / "working").touch()
            write_json(path / "job.json", settings)
            yield job
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _await_others(job: Job) -> None:
    """Wait until the workers of a process that was killed have seen it and ended."""
    job.ask_to_stop()
    until = time.monotonic() + _LEFT_ALONE
    while (job.path / "working").exists():
        with (job.path / "working").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise RunError(
                        "workers of an earlier process are still at work in this run",
                        where=str(job.path),
                        hint="end them, or choose another folder with --out",
                    ) from error
        time.sleep(0.2)


class Progress:
    """The first worker's account: one JSON object a line."""

    def __init__(self, job: Job) -> None:
        self._file = os.open(job.path / "progress.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    def tell(self, event: str, **facts: Any) -> None:
        """Append a line, in one write, so that a reader sees it whole."""
        os.write(self._file, (json.dumps({"event": event, "time": time.time(), **facts}) + "\n").encode())


class Account:
    """Reads what `Progress` wrote, as it grows."""

    def __init__(self, job: Job) -> None:
        self._path, self._at = job.path / "progress.jsonl", 0

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that were added since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                yield json.loads(line)
