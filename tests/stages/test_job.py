"""The job folder: what is written is what workers read; locks say who is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bedplate.core.errors import BedplateError, GateError, RunError
from bedplate.models import Outputs, TableInput, build
from bedplate.stages import job as jobs
from bedplate.stages.job import Account, Job, Progress, at_work, held, open_job, raised
from bedplate.training import TrainingData

INPUTS = TableInput(3, (4,), ((0.0,),) * 3)


def data() -> TrainingData:
    draw = np.random.default_rng(0)
    parts = []
    for rows in (20, 5):
        numeric = draw.normal(size=(rows, 3)).astype(np.float32)
        numeric.flags.writeable = False
        parts += [{"numeric": numeric, "categories": draw.integers(0, 4, (rows, 1))}, draw.integers(0, 2, rows)]
    return TrainingData(*parts)  # type: ignore[arg-type]


def test_data_and_weights_come_back_and_are_mapped(tmp_path: Path) -> None:
    network, other = (build("mlp", {"hidden": [4]}, INPUTS, Outputs(2), seed) for seed in (0, 1))
    given = data()
    with open_job(tmp_path / "job", {"seed": 3}) as job:
        job.write_data(network, given)
        again = Job(tmp_path / "job")
        assert again.settings == {"seed": 3}
        found = again.read_data(["numeric", "categories"])
        for split in ("features", "validation_features"):
            for name, array in getattr(found, split).items():
                assert isinstance(array, np.memmap)
                assert array.flags.writeable, "torch would copy it"
                np.testing.assert_array_equal(array, getattr(given, split)[name])
                assert array.dtype == getattr(given, split)[name].dtype
        np.testing.assert_array_equal(found.targets, given.targets)
        np.testing.assert_array_equal(found.validation_targets, given.validation_targets)
        again.load_weights(other, "initial")
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert not (tmp_path / "job").exists()


def test_workers_are_told_to_stop_when_asked_and_when_nobody_is_left(tmp_path: Path) -> None:
    with open_job(tmp_path / "job", {}) as job:
        code = (
            "import sys; from pathlib import Path; from bedplate.stages.job import Job; "
            "print(Job(Path(sys.argv[1])).stopping)"
        )

        def seen_by_a_worker() -> str:
            return subprocess.run(
                [sys.executable, "-c", code, str(job.path)], capture_output=True, text=True, check=True
            ).stdout.strip()

        assert seen_by_a_worker() == "False"
        job.ask_to_stop()
        assert seen_by_a_worker() == "True"
        copy = Job(tmp_path / "abandoned")
        copy.path.mkdir()
        (copy.path / "alive").touch()
        assert copy.stopping


def test_workers_of_a_killed_run_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_LEFT_ALONE", 0.3)
    old = Job(tmp_path / "job")
    old.path.mkdir()
    with at_work(old):
        assert held(old.path / "working") is False  # a worker's lock is shared
        with pytest.raises(RunError, match="still at work"), open_job(old.path, {}):
            pass
        assert (old.path / "stop").exists()
    with open_job(old.path, {}) as job:
        assert not (job.path / "stop").exists()


def test_the_account_is_read_as_it_grows(tmp_path: Path) -> None:
    job = Job(tmp_path)
    account = Account(job)
    assert list(account.news()) == []
    progress = Progress(job)
    progress.tell("start", attempt=0)
    progress.tell("step", step=1)
    assert [news["event"] for news in account.news()] == ["start", "step"]
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"event": "ep')
        file.flush()
        assert list(account.news()) == []
        file.write('och"}\n')
    assert [news["event"] for news in account.news()] == ["epoch"]


@pytest.mark.parametrize("kind", [GateError, RunError])
def test_an_error_crosses_over_whole(tmp_path: Path, kind: type[BedplateError]) -> None:
    job = Job(tmp_path)
    assert job.outcome is None
    error = kind("it diverged", where="epoch 3", expected="a number", received="nan", hint="lower it")
    job.fail(error)
    assert job.outcome is not None
    found = raised(job.outcome)
    assert type(found) is kind
    assert str(found) == error.message
    assert isinstance(found, BedplateError)
    assert found.exit_code == error.exit_code


def test_a_fault_brings_its_traceback(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.end("fault", traceback="Traceback: line 7")
    assert job.outcome is not None
    assert "line 7" in str(raised(job.outcome))
