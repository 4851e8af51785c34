"""Where a sweep's trials are kept, and how processes that share them take over what a dead one left.

A trial that is under way names its worker: host, process, and when it was last alive. A worker of the same host is dead
when its process is gone; one of another host, when it has said nothing for five minutes. Its trial is then marked
failed and queued again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from bedplate.core.errors import InputError, RunError, did_you_mean
from bedplate.core.files import explain_write_errors
from bedplate.experiments.sampling import counts

optuna.logging.set_verbosity(optuna.logging.ERROR)

SILENT_SECONDS = 300.0
"""After how long a worker on another host that says nothing is taken for dead."""
BEAT_SECONDS = 20.0
"""How often a worker says that it is alive."""
Direction = Literal["minimize", "maximize"]
WORKER, BEAT, OWN, POINT, RETRY = "worker", "beat", "own", "point", "retry_of"
_DRIVERS = ("psycopg", "psycopg2", "pg8000")


def open_storage(text: str | None, folder: Path) -> tuple[BaseStorage, str]:
    """Open a storage and return it with the name to show, without a password.

    Args:
        text: `journal:PATH` (one file, for processes that share a file system), `sqlite:PATH`, or `postgresql://…`
            (for many machines); None: `study.db` in `folder`.
        folder: the sweep's folder, from which relative paths start only for None.

    Raises:
        InputError: an unknown kind of storage, or one that can't be opened.
    """
    if text is None:
        return _sqlite(folder / "study.db"), str(folder / "study.db")
    kind, _, rest = text.partition(":")
    if kind == "journal" and rest:
        path = Path(rest).expanduser().resolve()
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path))), f"journal:{path}"
    if kind == "sqlite" and rest:
        path = Path("/" + rest.lstrip("/") if rest.startswith("///") else rest).expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return _sqlite(path), f"sqlite:{path}"
    if kind in ("postgresql", "postgres") and rest.startswith("//"):
        return _postgresql(rest), shown(text)
    raise InputError(
        "unknown storage",
        where=f"--storage {shown(text)}",
        expected="journal:PATH, sqlite:PATH or postgresql://USER@HOST/DATABASE",
        hint=did_you_mean(kind, ("journal", "sqlite", "postgresql")),
    )


def close_storage(storage: BaseStorage) -> None:
    """Give back a database's connections."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def shown(text: str) -> str:
    """Return a storage's name without its password."""
    parts = urlsplit(text)
    return text.replace(f":{parts.password}@", ":…@") if parts.password else text


def _sqlite(path: Path) -> RDBStorage:
    with _explained(str(path)):
        return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def _postgresql(rest: str) -> RDBStorage:
    driver = next((name for name in _DRIVERS if find_spec(name)), None)
    if driver is None:
        raise InputError(
            "PostgreSQL needs a driver", where="--storage", hint='pip install "bedplate[postgresql]", or psycopg'
        )
    with _explained(shown("postgresql:" + rest)):
        return RDBStorage(f"postgresql+{driver}:{rest}", engine_kwargs={"pool_pre_ping": True})


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what a database says while it is opened into an error of the user's."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, RuntimeError) as error:
        cause: BaseException = error
        while isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        raise InputError(
            "the storage can't be opened", where=where, received=str(cause).splitlines()[0][:200] if str(cause) else ""
        ) from error


def open_study(
    storage: BaseStorage,
    name: str,
    directions: Sequence[Direction],
    facts: dict[str, str],
    begin: Callable[[optuna.Study], None],
) -> optuna.Study:
    """Create a study, or load the one of that name; either way, `begin` has been called on it.

    Args:
        storage: where.
        name: says what is searched and how it is judged.
        directions: one an objective.
        facts: what every process that works on it must find equal.
        begin: queues the trials that are known beforehand, unless they are there.

    Raises:
        RunError: the study there was begun from other data.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=list(directions))
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        for _ in range(50):  # the process that created it may be at `begin` this moment
            if set(facts) <= set(study.user_attrs):
                break
            time.sleep(0.1)
    there = study.user_attrs
    for key, value in facts.items():
        if there.get(key, value) != value:
            raise RunError(
                f"the study '{name}' was begun with another {key}",
                expected=there[key],
                received=value,
                hint="start again with --fresh, or keep this sweep in another --storage",
            )
    begin(study)
    for key, value in facts.items():
        if key not in there:
            study.set_user_attr(key, value)
    return study


def forget(storage: BaseStorage, name: str) -> None:
    """Remove a study, if it is there."""
    with contextlib.suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)


@cache
def host() -> str:
    """Return what names this machine, this start of it, and this container's processes."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
        parts.append(Path("/proc/self/ns/pid").readlink().name)
    return "/".join(parts)


def born(process: int) -> str | None:
    """Return what tells a process from a later one with its number, or None where it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    else:
        after_name = stat.rpartition(")")[2].split()
        return None if after_name[0] in "ZX" else after_name[19]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "unknown"
    return "unknown"


def worker() -> dict[str, Any]:
    """Return what names this process among all that work on a study."""
    return {"host": host(), "process": os.getpid(), "born": born(os.getpid())}


def is_dead(trial: FrozenTrial, now: float) -> bool:
    """Whether the worker of a running trial is gone."""
    who = trial.user_attrs.get(WORKER)
    if who is None:  # between being taken and being named
        started = trial.datetime_start.timestamp() if trial.datetime_start else now
        return now - started > 60
    if who["host"] == host():
        return bool(born(who["process"]) != who["born"])
    return bool(now - trial.user_attrs.get(BEAT, now) > SILENT_SECONDS)


def queue(study: optuna.Study, point: dict[str, Any], *, own: bool = False, retry_of: int | None = None) -> None:
    """Queue a trial at a point (as optuna stores it), to be taken before any new one is drawn.

    Args:
        study: where.
        point: what is fixed; the sampler draws the rest.
        own: the recipe itself, with whatever it has.
        retry_of: the first trial that began at this point and was lost.
    """
    attributes: dict[str, Any] = {POINT: point, OWN: own}
    if retry_of is not None:
        attributes[RETRY] = retry_of
    study.enqueue_trial(point, user_attrs=attributes)


def give_up(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Mark a half-finished trial as failed and queue its point again; False where another process was faster."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    attributes = trial.user_attrs
    point, first = attributes.get(POINT, dict(trial.params)), attributes.get(RETRY, trial.number)
    queue(study, point, own=bool(attributes.get(OWN)), retry_of=first)
    return True


def take_over(study: optuna.Study) -> list[int]:
    """Give up every running trial whose worker is dead; return their numbers."""
    now = time.time()
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial.number for trial in running if is_dead(trial, now) and give_up(study, trial)]


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if counts(trial)]
