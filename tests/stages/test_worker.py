"""A worker: which errors call for a new start, and what it communicates with. That it trains: `test_launch.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed

from bedplate.stages.job import Job
from bedplate.stages.worker import backend, lost_another, train_job


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[.../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"), True),
        (RuntimeError("NCCL error: remote process exited"), True),
        (distributed.DistBackendError("x"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
        (torch.OutOfMemoryError("out of memory"), False),
    ],
)
def test_another_workers_end_is_told_from_an_own_fault(error: Exception, lost: bool) -> None:
    assert lost_another(error) is lost


def test_workers_without_a_gpu_each_talk_over_gloo() -> None:
    assert backend("cpu", 2) == "gloo"
    assert backend("cuda", torch.cuda.device_count() + 1) == "gloo"


def test_a_worker_of_a_job_that_has_ended_or_gone_ends_quietly(tmp_path: Path) -> None:
    train_job(str(tmp_path / "gone"), attempt=1)
    job = Job(tmp_path)
    job.end("error", kind="GateError", fields={"what": "it diverged"})
    train_job(str(tmp_path), attempt=1)
    assert job.outcome is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outcome.json"]
