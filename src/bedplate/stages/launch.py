"""Start the workers of a training on their engine, follow them, and bring back what one process would have.

The engine is a command that runs in a process of its own: torchrun, or Ray's driver (`ray_engine.py`). What is said
between it and here stands in the job folder (`job.py`), so that both engines are followed, stopped and judged alike.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bedplate.core.errors import InputError, Interrupted, RunError
from bedplate.models import Network
from bedplate.recipe.schema import Part, TrainingSpec, WorkersSpec
from bedplate.stages.folder import CHECKPOINT
from bedplate.stages.job import Account, Job, open_job, raised
from bedplate.stages.work import Work
from bedplate.training import Hook, Run, TrainingData, load_checkpoint
from bedplate.training.averaging import batch_norms
from bedplate.training.loop import catch_interrupt

LOG = "workers.log"
_POLL = 0.05
_PATIENCE = 60.0
"""Seconds that workers are given to write their checkpoint and end."""


def several(spec: TrainingSpec) -> bool:
    """Return whether the training goes to workers rather than being done in this process."""
    return (spec.workers.count > 1 or spec.workers.engine == "ray") and spec.epochs > 0


def workers_of(spec: TrainingSpec) -> str:
    """Return what to say of the workers on the stage's line."""
    workers = spec.workers
    return f" among {workers.count} workers ({workers.engine})" if several(spec) else ""


def check_workers(work: Work, data: TrainingData) -> None:
    """Raise an InputError where this training can't be done by several workers here."""
    workers = work.recipe.training.workers
    if data.stream is not None:
        raise InputError(
            "streamed rows are trained by one process",
            where="training.workers",
            received=f"{workers.count} workers on {workers.engine}",
            hint="leave data.stream out, or train with --on local",
        )
    if workers.address is not None and workers.engine != "ray":
        raise InputError("an address is Ray's", where="training.workers.address", hint="say engine: ray")
    if workers.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError(
            "Ray is not installed", where="training.workers.engine", hint='pip install "bedplate[cluster]"'
        )


def notes(network: Network, spec: TrainingSpec) -> list[str]:
    """Return what is different with several workers, for this network."""
    if spec.workers.count > 1 and batch_norms(network):
        return [
            "batch normalisation takes its statistics from each worker's own rows, so the result differs a little "
            "from one process's"
        ]
    return []


def _settings(work: Work, spec: TrainingSpec, objective: Part) -> dict[str, Any]:
    assert spec.threads is not None
    own = spec.model_copy(update={"threads": max(1, spec.threads // spec.workers.count)})
    plugins = [(work.resolved.base / Path(text).expanduser()).resolve() for text in work.recipe.plugins]
    return {
        "spec": own.model_dump(mode="json"),
        "model": work.model_json,
        "counts": list(work.outputs.counts),
        "objective": {"name": objective.name, "arguments": objective.arguments},
        "seed": work.recipe.seed,
        "select": work.task.select,
        "identity": work.identity,
        "plugins": [str(path) for path in plugins],
    }


def command(job: Job, workers: WorkersSpec) -> list[str]:
    """Return the engine's command line."""
    if workers.engine == "ray":
        return [sys.executable, "-m", "bedplate.stages.ray_engine", str(job.path)]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"),
        *("--nproc-per-node", str(workers.count), "--max-restarts", str(workers.restarts)),
        *("-m", "bedplate.stages.worker", str(job.path)),
    ]


def environment(threads: int, workers: WorkersSpec) -> dict[str, str]:
    """Return the workers' environment: this process's, with their share of threads, and nothing sent to anyone."""
    found = dict(os.environ)
    found["OMP_NUM_THREADS"] = str(threads)
    found.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if workers.engine == "torchrun":  # all on this machine: nothing else needs to reach them
        found.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    else:
        found |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_ENABLE_STATE_TRACKING": "0", "RAY_DEDUP_LOGS": "0"}
    return found


@contextlib.contextmanager
def _engine(words: Sequence[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the engine in a session of its own (Ctrl-C reaches this process alone); never leave it behind."""
    with log.open("ab") as out:
        engine = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            yield engine
        finally:
            _end(engine)


def _end(engine: subprocess.Popen[bytes]) -> None:
    if engine.poll() is None:
        engine.terminate()  # it ends its workers in turn
        try:
            engine.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            engine.kill()  # its workers see that it has gone, and end
            engine.wait()


class _Follower:
    """Turns the job's account into the state of a `Run`, and calls the hooks with it."""

    def __init__(self, work: Work, run: Run, hooks: Sequence[Hook], allowed: int) -> None:
        self.run, self.restarts = run, 0
        self._console, self._hooks, self._allowed = work.console, hooks, allowed
        self._shown = 0

    def take(self, news: dict[str, Any]) -> None:
        """Take one line of the account."""
        if news["event"] == "start":
            if news["attempt"]:
                self.restarts = news["attempt"]
                self._console.detail(
                    "a worker was lost: all start again from the last checkpoint "
                    f"(restart {self.restarts} of at most {self._allowed})"
                )
            return
        run = self.run
        for key in ("best_epoch", "stopped_early", "seconds", "epoch", "steps_per_epoch"):
            setattr(run, key, news[key])
        run.step_in_epoch = news["step"]
        if run.first_step_at is None:
            run.first_step_at = time.monotonic() - (time.time() - news["time"])
        if "history" in news:
            run.history = list(news["history"])
            self._shown = max(self._shown, len(run.history))
        if news["event"] == "epoch":
            entry = news["entry"]
            run.history[int(entry["epoch"]) - 1 :] = [entry]
            if entry["epoch"] <= self._shown:  # done once more after a restart, to the same figures
                return
            self._shown = int(entry["epoch"])
        for hook in self._hooks:
            hook(news["event"], run)


def train_by_workers(
    work: Work, network: Network, data: TrainingData, spec: TrainingSpec, *, resume: bool, hooks: Sequence[Hook]
) -> tuple[Run, int]:
    """Train `network` by the recipe's workers, and return the run and how often they were started again.

    Args:
        work: the run under way; the job lies in its `train` folder.
        network: with the weights to start from; the best epoch's weights are loaded into it.
        data: training and validation rows.
        spec: the settled `training`; each worker takes an equal share of its threads, one at the least.
        resume: continue the checkpoint that is there.
        hooks: called in this process, with a run that has position and history but no optimiser.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; all workers have ended, and the checkpoint holds their last step.
        RunError: the workers were lost more often than `restarts` allows, or the checkpoint belongs to another run.
        BedplateError: as `train`.
    """
    folder = work.folder.stage("train")
    checkpoint, log = folder / CHECKPOINT, folder / LOG
    if resume and checkpoint.exists():
        _check_count(checkpoint, spec.workers.count)
    else:
        checkpoint.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    assert work.recipe.objective is not None
    settings = _settings(work, spec, work.recipe.objective)
    run = Run(network, [], work.identity, 1, spec.epochs)
    follower = _Follower(work, run, hooks, spec.workers.restarts)
    with catch_interrupt() as wanted, open_job(folder / "job", settings) as job:
        job.write_data(network, data)
        env = environment(settings["spec"]["threads"], spec.workers)
        with _engine(command(job, spec.workers), env, log) as engine:
            outcome = _follow(job, engine, follower, wanted)
        if outcome is None:
            raise _lost(engine.returncode, log, spec.workers, follower.restarts, checkpoint.exists())
        if outcome["state"] == "interrupted":
            raise Interrupted("stopped by the user", hint="continue with --resume")
        if outcome["state"] != "done":
            raise raised(outcome)
        job.load_weights(network, "weights")
    log.unlink()
    for key in ("epoch", "epochs", "steps_per_epoch", "history", "best_epoch", "stopped_early", "seconds"):
        setattr(run, key, outcome[key])
    run.step_in_epoch = 0
    network.eval()
    return run, follower.restarts


def _check_count(checkpoint: Path, count: int) -> None:
    """Refuse another worker count before anything is started."""
    began = load_checkpoint(checkpoint)["identity"].get("number of workers")
    if began != count:
        raise RunError(
            "this run was started with another number of workers",
            where=str(checkpoint),
            expected=str(began),
            received=str(count),
            hint=f"resume it with --workers {began}, or start again with --fresh",
        )


def _follow(
    job: Job, engine: subprocess.Popen[bytes], follower: _Follower, wanted: threading.Event
) -> dict[str, Any] | None:
    """Read the account until the engine has ended; return the job's outcome, or None where there is none."""
    account, asked, ended = Account(job), 0.0, 0.0
    while True:
        gone = engine.poll() is not None
        for news in account.news():
            follower.take(news)
        if gone:
            return job.outcome
        now = time.monotonic()
        if wanted.is_set() and not asked:
            job.ask_to_stop()
            asked = now
        if not ended and job.outcome is not None:
            ended = now
        if (asked and now - asked > _PATIENCE) or (ended and now - ended > _PATIENCE):
            _end(engine)  # the workers hang
        time.sleep(_POLL)


_SAID = re.compile(r"(\w*(?:Error|Exception|Exit)\b.*|Signal \d+ \(\w+\).*)")


def _lost(code: int, log: Path, workers: WorkersSpec, restarts: int, checkpoint: bool) -> RunError:
    """Return the error that says that the engine gave up."""
    said = [match.group(1) for line in log.read_text(errors="replace").splitlines() if (match := _SAID.search(line))]
    said = [line for line in said if "ChildFailedError" not in line]
    heard = list(dict.fromkeys(line[:200] for line in said))[-2:]
    last = f"; the last that was heard: {' | '.join(heard)}" if heard else ""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return RunError(
        f"the workers were lost, and {workers.engine} {how}",
        where=str(log) if checkpoint else None,  # without a checkpoint nothing is left, the log neither
        received=f"{restarts} of at most {workers.restarts} restarts{last}",
        hint="continue from the checkpoint with --resume" if checkpoint else "there was no checkpoint yet",
    )
