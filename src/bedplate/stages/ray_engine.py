"""Ray's driver: `python -m bedplate.stages.ray_engine JOB` runs the job's workers under Ray Train's TorchTrainer.

Nothing is reported to Ray's makers, and no dashboard is started.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bedplate.stages.job import Job


def _work(config: dict[str, Any]) -> None:
    """Train the job as one of Ray's workers; Ray Train has made the process group."""
    from bedplate.stages.worker import train_job

    job = Job(Path(config["job"]))
    told = job.path / "progress.jsonl"
    attempt = told.read_text().count('"event": "start"') if told.exists() else 0
    train_job(config["job"], attempt=attempt)


def main() -> None:
    """Start or join a Ray cluster, and train the job named on the command line."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a cluster begun here is ended
    job = Job(Path(sys.argv[1]))
    spec = job.settings["spec"]
    workers = spec["workers"]
    own = Path(tempfile.mkdtemp(prefix="bedplate-ray-"))  # short: Ray puts sockets there, whose paths are limited
    try:
        settings: dict[str, Any] = {"address": workers["address"]} if workers["address"] else {}
        if not settings and "RAY_ADDRESS" not in os.environ:
            settings = {"include_dashboard": False, "_temp_dir": str(own), "num_cpus": _processors(spec)}
        ray.init(log_to_driver=True, **settings)
        gpu = spec["device"] == "cuda"
        trainer = TorchTrainer(
            _work,
            train_loop_config={"job": str(job.path)},
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers["count"], use_gpu=gpu, resources_per_worker={"CPU": spec["threads"]}
            ),
            run_config=RunConfig(
                name="job",
                storage_path=str(job.path / "ray"),
                failure_config=FailureConfig(max_failures=workers["restarts"]),
            ),
        )
        trainer.fit()
    finally:
        ray.shutdown()
        shutil.rmtree(own, ignore_errors=True)


def _processors(spec: dict[str, Any]) -> int:
    """Return how many processors a cluster of our own says it has: what the workers were promised."""
    return int(spec["workers"]["count"] * spec["threads"])


if __name__ == "__main__":
    main()
