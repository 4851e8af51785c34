"""Where trials are kept: the storages by name, and taking over what a dead process left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tests.experiments.sweeps import swept

from bedplate.core.errors import InputError, RunError
from bedplate.experiments.storage import (
    BEAT,
    OWN,
    POINT,
    RETRY,
    WORKER,
    born,
    counted,
    is_dead,
    open_storage,
    open_study,
    queue,
    shown,
    take_over,
    worker,
)


def study_in(folder: Path, name: str = "a") -> optuna.Study:
    storage, _ = open_storage(f"journal:{folder / 'j.log'}", folder)
    return open_study(storage, name, ["minimize"], {"data": "x"}, lambda _: None)


def dead_process() -> tuple[int, str | None]:
    """Return the number and birth of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = born(process.pid)
    process.communicate(b"\n")
    return process.pid, name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresq://host/db", "did you mean 'postgresql'?"),
        ("journal:", "unknown storage"),
        ("redis://me:secret@host", "redis://me:…@host"),
    ],
)
def test_an_unknown_storage_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        open_storage(text, tmp_path)
    assert said in caught.value.message
    assert "secret" not in caught.value.message


def test_a_password_is_never_shown() -> None:
    assert shown("postgresql://me:secret@host/db") == "postgresql://me:…@host/db"
    assert shown("postgresql://me@host/db") == "postgresql://me@host/db"


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database, " * 100)
    with pytest.raises(InputError, match="the storage can't be opened"):
        open_storage(None, tmp_path)


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused at once
        with pytest.raises(InputError) as caught:
            open_storage(f"postgresql://me:secret@127.0.0.1:{taken.getsockname()[1]}/db", tmp_path)
    assert "the storage can't be opened" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_study_of_other_data_is_refused(tmp_path: Path) -> None:
    study_in(tmp_path)
    storage, _ = open_storage(f"journal:{tmp_path / 'j.log'}", tmp_path)
    begun: list[str] = []
    with pytest.raises(RunError, match="begun with another data"):
        open_study(storage, "a", ["minimize"], {"data": "y"}, lambda _: begun.append("y"))
    assert not begun


def test_this_process_lives_and_an_ended_one_does_not() -> None:
    number, name = dead_process()
    assert born(os.getpid()) == born(os.getpid()) is not None
    assert name is not None
    assert born(number) != name


def test_a_dead_workers_trial_is_queued_again_first(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    queue(study, {"x": 0.25}, own=True)
    lost, living, unnamed = study.ask(), study.ask(), study.ask()
    number, name = dead_process()
    lost.set_user_attr(WORKER, {**worker(), "process": number, "born": name})
    living.set_user_attr(WORKER, worker())
    assert unnamed.number == 2
    assert take_over(study) == [lost.number]
    assert take_over(study) == []
    assert study.trials[0].state == TrialState.FAIL
    assert [trial.number for trial in counted(study)] == [1, 2, 3]
    again = study.ask()
    assert (again.number, again.user_attrs[POINT], again.user_attrs[OWN], again.user_attrs[RETRY]) == (
        3,
        {"x": 0.25},
        True,
        0,
    )
    assert again.suggest_float("x", 0, 1) == 0.25


def test_a_worker_elsewhere_is_dead_when_it_has_been_silent(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    trial = study.ask()
    trial.set_user_attr(WORKER, {"host": "another", "process": 1, "born": "1"})
    trial.set_user_attr(BEAT, 1000.0)
    frozen = study.trials[0]
    assert not is_dead(frozen, 1200.0)
    assert is_dead(frozen, 1301.0)


def test_a_retry_begins_at_the_first_trials_point(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    trial = study.ask()
    drawn = trial.suggest_float("x", 0, 1)
    number, name = dead_process()
    for expected in (1, 2):
        trial.set_user_attr(WORKER, {**worker(), "process": number, "born": name})
        take_over(study)
        trial = study.ask()
        assert (trial.number, trial.user_attrs[RETRY]) == (expected, 0)
        assert trial.suggest_float("x", 0, 1) == drawn


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL server of its own, and its address."""
    found = [shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    programs = next((Path(one).resolve().parent for one in found if one), None)
    if programs is None or not (programs / "pg_ctl").exists():
        pytest.skip("PostgreSQL's server is not installed")
    pytest.importorskip("pg8000", reason="needs bedplate[postgresql]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "pg"
    home.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user 'postgres'")
        shutil.chown(home, "postgres")
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        as_user = ["runuser", "-u", "postgres", "--"]

    def call(*words: str) -> None:
        done = subprocess.run([*as_user, *words], capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(home / "data")
    call(str(programs / "initdb"), "-D", data, "-U", "me", "--auth=trust", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -h 127.0.0.1 -k '' -F"
    call(str(programs / "pg_ctl"), "-D", data, "-w", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        call(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")


def test_a_sweep_lives_in_postgresql(tmp_path: Path, postgresql: str) -> None:
    started = time.monotonic()
    first = swept(tmp_path, "search.trials=3", out="one", storage=postgresql)
    assert first["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert first["storage"] == postgresql
    assert not (tmp_path / "one" / "study.db").exists()
    # Another machine, with a folder of its own, finds the study and adds to it.
    second = swept(tmp_path, "search.trials=5", out="two", storage=postgresql)
    assert len(second["trials"]) == 5
    assert second["trials"][:3] == first["trials"]
    again = swept(tmp_path, "search.trials=2", out="two", storage=postgresql, mode="fresh")
    assert len(again["trials"]) == 2
    assert time.monotonic() - started < 120
