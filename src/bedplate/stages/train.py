"""The training stage: run folder's `train/` gets the best weights, the history and the checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bedplate.core.console import Advance
from bedplate.core.errors import RunError
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.models import Network
from bedplate.objectives import objectives
from bedplate.stages.folder import CHECKPOINT
from bedplate.stages.work import Work
from bedplate.training import Run, TrainingData, train, weights_digest
from bedplate.training.loop import steps_per_epoch

WEIGHTS, HISTORY, MODEL = "weights.safetensors", "history.json", "model.json"


@contextlib.contextmanager
def configured_torch(threads: int) -> Iterator[None]:
    """Set what training relies on: the thread count, deterministic algorithms, and no slow denormal numbers.

    All three hold for the whole process, so they are put back: a caller from Python goes on as before.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.set_flush_denormal(False)


def _epoch_line(run: Run) -> str:
    last = run.history[-1]
    figure = (
        f"accuracy {last['validation_accuracy']:.4f}"
        if "validation_accuracy" in last
        else f"RMSE {last['validation_rmse']:.5g}"
    )
    best = "  ← best" if run.best_epoch == int(last["epoch"]) - 1 else ""
    return (
        f"epoch {int(last['epoch']):>3}/{run.epochs}  loss {last['train_loss']:.4f}"
        f"  validation loss {last['validation_loss']:.4f}  {figure}  {last['seconds']:.1f} s{best}"
    )


def train_stage(work: Work, *, resume: bool) -> Network:
    """Train, or take what is done already, and return the network with the best weights."""
    fingerprint = work.fingerprint("train")
    network = work.build()
    done = work.folder.manifest("train")
    if resume and done is not None and done["fingerprint"] == fingerprint:
        work.console.stage("train", f"done before: {done['epochs']} epochs")
        return load_network(work)
    checkpoint = work.folder.stage("train") / CHECKPOINT
    if resume and done is not None:
        raise RunError(
            "this run was trained from another recipe or other data",
            where=str(work.folder.path),
            hint="start again with --fresh, or put this run elsewhere with --out",
        )
    work.folder.begin("train", keep=resume)
    parameters = sum(p.numel() for p in network.parameters())
    assert work.recipe.model is not None
    assert work.recipe.objective is not None
    spec = work.recipe.training
    if resume and checkpoint.exists():
        work.console.stage("train", f"continuing from {checkpoint.name}")
    else:
        work.console.stage(
            "train",
            f"{work.recipe.model.name}, {parameters:,} parameters, {spec.optimizer.name}, "
            f"up to {spec.epochs} epochs, {work.threads} threads",
        )
    dataset = work.dataset
    data = TrainingData(
        work.features(dataset.train),
        dataset.train.targets,
        work.features(dataset.validation),
        dataset.validation.targets,
    )
    started = time.monotonic()
    every = max(1, spec.epochs // 10)
    steps = spec.epochs * steps_per_epoch(len(dataset.train), spec.batch_size)
    with configured_torch(work.threads), work.console.progress("training", steps) as advance:
        run = train(
            network,
            objectives.get(work.recipe.objective.name)(**work.recipe.objective.arguments),
            data,
            spec,
            seed=work.recipe.seed,
            select=work.task.select,
            identity=work.identity,
            checkpoint=checkpoint,
            resume=resume,
            hooks=[lambda event, run: _show(work, event, run, every, advance)],
        )
    _save(work, run, fingerprint, parameters, time.monotonic() - started)
    return network


def _show(work: Work, event: str, run: Run, every: int, advance: Advance) -> None:
    if event == "step":
        advance(run.step, f"epoch {run.epoch + 1}")
    elif run.epoch % every == 0 or run.finished or run.epoch == 1:
        work.console.detail(_epoch_line(run))


def _save(work: Work, run: Run, fingerprint: str, parameters: int, seconds: float) -> None:
    """Write the stage's results, its manifest last."""
    folder = work.folder.stage("train")
    state = {name: tensor.contiguous() for name, tensor in run.network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state))
    write_json(folder / HISTORY, run.history)
    write_json(folder / MODEL, work.model_json)
    if run.stopped_early:
        work.console.detail(f"stopped early; best epoch {run.best_epoch + 1}")
    facts = {
        "epochs": run.epoch,
        "best_epoch": run.best_epoch + 1,
        "stopped_early": run.stopped_early,
        "parameters": parameters,
        "steps": run.epoch * run.steps_per_epoch,
        "seconds": round(run.seconds, 3),
        "weights_sha256": weights_digest(state),
        "threads": work.threads,
        "torch": torch.__version__,
    }
    work.folder.finish("train", fingerprint, facts)


def load_network(work: Work) -> Network:
    """Return the network with the weights that the training stage kept.

    Raises:
        RunError: the run holds no finished training for this recipe and data.
    """
    if work.folder.manifest("train", work.fingerprint("train")) is None:
        other = work.folder.manifest("train") is not None
        raise RunError(
            "the run was trained from another recipe or other data" if other else "nothing is trained here yet",
            where=str(work.folder.path),
            hint="run `bedplate train` with --fresh first" if other else "run `bedplate train` first",
        )
    network = work.build()
    weights = work.folder.stage("train") / WEIGHTS
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise RunError(
            "the trained weights can't be read",
            where=str(weights),
            received=str(error).splitlines()[0],
            hint="start again with --fresh",
        ) from error
    network.eval()
    return network


def history(work: Work) -> list[dict[str, float]]:
    """Return the training's history, one entry an epoch."""
    found: list[dict[str, float]] = read_json(work.folder.stage("train") / HISTORY)
    return found
