"""One worker of a job: `python -m bedplate.stages.worker JOB`, started by torchrun; Ray Train calls `train_job`.

A worker that is lost makes the others fail too, and the engine starts all of them again. What starting again would not
mend (bad input, a diverged loss, a fault in a plug-in) is written into the job's outcome, and the worker ends quietly.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from bedplate.core.errors import BedplateError, Interrupted
from bedplate.core.files import write_bytes
from bedplate.models import Network, Outputs, build, inputs_from_spec
from bedplate.objectives import objectives
from bedplate.recipe.schema import TrainingSpec
from bedplate.stages.folder import CHECKPOINT
from bedplate.stages.job import Job, Progress, at_work
from bedplate.stages.plugins import blame, load_plugins
from bedplate.stages.process import configured_torch
from bedplate.training import Run, train
from bedplate.training.distributed import leave, workers

_POLL = 0.2
_TELL = 0.1
"""Seconds between two accounts of steps."""
_ABANDONED = 3


def backend(device: str, local_workers: int) -> str:
    """Return the communication library: gloo, and NCCL for gradients where every worker here has a GPU of its own."""
    own = device == "cuda" and torch.cuda.device_count() >= local_workers and distributed.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if own else "gloo"


def _watch(job: Job, stop: threading.Event, agent: int | None) -> None:
    """Turn the job's `stop` into the event; end at once when the agent, or the job's folder, has gone."""
    while True:
        time.sleep(_POLL)
        if (agent is not None and os.getppid() != agent) or not job.path.is_dir():
            os._exit(_ABANDONED)  # nobody is left to whom this worker could tell anything
        if job.stopping:
            stop.set()


class _Teller:
    """The hook of the first worker: writes the job's account."""

    def __init__(self, job: Job, attempt: int) -> None:
        self._progress, self._attempt, self._last = Progress(job), attempt, 0.0
        self._progress.tell("start", attempt=attempt)
        self._begun = False

    def __call__(self, event: str, run: Run) -> None:
        now = time.monotonic()
        if event == "step" and now - self._last < _TELL:
            return
        self._last = now
        facts: dict[str, Any] = {"epoch": run.epoch, "step": run.step_in_epoch, "steps_per_epoch": run.steps_per_epoch}
        facts |= {key: getattr(run, key) for key in ("best_epoch", "stopped_early", "seconds")}
        if not self._begun:  # what an earlier process trained
            done = len(run.history) - (event == "epoch")
            facts["history"] = run.history[:done]
            self._begun = True
        if event == "epoch":
            facts["entry"] = run.history[-1]
        self._progress.tell(event, **facts)


def _network(settings: dict[str, Any]) -> Network:
    model = settings["model"]
    outputs = Outputs.from_json(model["outputs"], settings["counts"])
    return build(model["name"], model["arguments"], inputs_from_spec(model["inputs"]), outputs, 0)


def _run(job: Job, attempt: int, stop: threading.Event) -> None:
    """Train, and let the first worker write what came of it."""
    settings = job.settings
    load_plugins(settings["plugins"], Path.cwd())
    network = _network(settings)
    job.load_weights(network, "initial")
    spec = TrainingSpec.model_validate(settings["spec"])
    assert spec.threads is not None
    first = workers().first
    teller = [_Teller(job, attempt)] if first else []
    with configured_torch(spec.threads):
        run = train(
            network,
            objectives.get(settings["objective"]["name"])(**settings["objective"]["arguments"]),
            job.read_data(list(network.inputs.names)),
            spec,
            seed=settings["seed"],
            select=settings["select"],
            identity=settings["identity"],
            checkpoint=job.path.parent / CHECKPOINT,
            resume=True,  # whatever checkpoint is there is this run's: the launcher has seen to that
            hooks=teller,
            stop=stop,
        )
    if first:
        state = {name: tensor.cpu().contiguous() for name, tensor in run.network.state_dict().items()}
        write_bytes(job.path / "weights.safetensors", save(state))
        facts = ("epoch", "epochs", "steps_per_epoch", "history", "best_epoch", "stopped_early", "seconds")
        job.end("done", **{key: getattr(run, key) for key in facts})


def lost_another(error: BaseException) -> bool:
    """Return whether an error comes from another worker's end rather than from this one's work."""
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "closed by peer"))


def train_job(path: str, *, attempt: int, agent: int | None = None) -> None:
    """Train the job as one of its workers; the process group is there already.

    Args:
        path: the job's folder.
        attempt: how often the workers were started again.
        agent: the process that started this one and without which it must not go on.
    """
    job = Job(Path(path))
    if not job.path.is_dir() or job.outcome is not None:
        return  # another worker has met an error that starting again won't mend
    with at_work(job):
        stop = threading.Event()
        threading.Thread(target=_watch, args=(job, stop, agent), daemon=True).start()
        try:
            _run(job, attempt, stop)
        except Interrupted:
            if workers().first:
                job.end("interrupted")
        except BedplateError as error:
            job.fail(error)
        except Exception as error:
            if lost_another(error):
                raise
            fault = blame(error)
            if fault is not None:
                job.fail(fault)
            else:
                job.end("fault", traceback=traceback.format_exc())


def _join(name: str) -> None:
    """Join the process group that torchrun describes in the environment.

    On one machine torchrun keeps its store over restarts, and with it the addresses of workers that have gone; so every
    start looks in a corner of its own.
    """
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        start = f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = distributed.PrefixStore(start, store)  # type: ignore[attr-defined]
    distributed.init_process_group(name, store=store, rank=rank, world_size=size)


def main() -> None:
    """Join torchrun's process group and train the job named on the command line."""
    job = Job(Path(sys.argv[1]))
    local, agent = int(os.environ["LOCAL_RANK"]), os.getppid()
    if not job.path.is_dir() or job.outcome is not None:
        return
    device = job.settings["spec"]["device"]
    if device == "cuda":
        torch.cuda.set_device(local % torch.cuda.device_count())
    _join(backend(device, int(os.environ["LOCAL_WORLD_SIZE"])))
    train_job(sys.argv[1], attempt=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")), agent=agent)
    leave()


if __name__ == "__main__":
    main()
