"""The training stage: run folder's `train/` gets the best weights, the history and the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bedplate.core.arrays import take
from bedplate.core.console import Advance
from bedplate.core.errors import RunError
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.models import Network
from bedplate.objectives import Objective, objectives
from bedplate.recipe.schema import Recipe, TrainingSpec
from bedplate.stages.folder import CHECKPOINT
from bedplate.stages.history import HistoryFiles, write_history
from bedplate.stages.launch import check_workers, notes, several, train_by_workers, workers_of
from bedplate.stages.masked_language import corpus_of, pretrain_body, pretraining_facts
from bedplate.stages.process import configured_torch as configured_torch  # others find it here, too
from bedplate.stages.pseudo_labels import offered_rows, pseudo_label_rounds, round_folder
from bedplate.stages.start_tokens import check_tokens
from bedplate.stages.tensorboard import EventFiles, need_tensorboard
from bedplate.stages.work import Work
from bedplate.training import (
    Hook,
    Run,
    TrainingData,
    choose,
    plain,
    rows_a_step,
    settle,
    start_from,
    steps_per_epoch,
    train,
    weights_digest,
)
from bedplate.training.conformal import calibrate_quantiles
from bedplate.training.dry_run import dry_run, take_step
from bedplate.training.start import weights_path

WEIGHTS, HISTORY, MODEL = "weights.safetensors", "history.json", "model.json"
CHOICES, START, DECIDES = "choices.json", "start.json", "decides.json"


def _epoch_line(run: Run) -> str:
    last = run.history[-1]
    figure = (
        f"F1 {last['validation_f1']:.4f}"
        if "validation_f1" in last
        else f"accuracy {last['validation_accuracy']:.4f}"
        if "validation_accuracy" in last
        else f"RMSE {last['validation_rmse']:.5g}"
    )
    best = "  ← best" if run.best_epoch == int(last["epoch"]) - 1 else ""
    return (
        f"epoch {int(last['epoch']):>3}/{run.epochs}  loss {last['train_loss']:.4f}"
        f"  validation loss {last['validation_loss']:.4f}  {figure}  {last['seconds']:.1f} s{best}"
    )


def training_data(work: Work) -> TrainingData:
    """Return what the loop trains on and validates with."""
    dataset = work.dataset
    return TrainingData(
        work.features(dataset.train),
        dataset.train.targets,
        work.features(dataset.validation),
        dataset.validation.targets,
        dataset.stream,
    )


def _settled(work: Work, network: Network, objective: Objective, data: TrainingData, resume: bool) -> TrainingSpec:
    """Return the recipe's training with every choice made: the run's own earlier one, or one measured now."""
    path = work.folder.stage("train") / CHOICES
    spec = work.recipe.training
    if resume and path.exists():
        return settle(spec, read_json(path))
    if several(spec) and spec.compile == "auto":  # a trial here would say nothing of a compiled network in DDP
        spec = spec.model_copy(update={"compile": False})
    choices = choose(
        network,
        objective,
        data,
        spec,
        seed=work.recipe.seed,
        threads=work.threads,
        announce=lambda text: work.console.detail(f"choice: {text}"),
    )
    if several(spec) and work.recipe.training.compile == "auto":
        choices.reasons["compile"] = "not tried: there are several workers"
    write_json(path, choices.to_json())
    return settle(spec, choices.to_json())


def prepared(work: Work, network: Network, objective: Objective, data: TrainingData) -> dict[str, Any] | None:
    """Load the weights that the recipe starts from, and take a step on a copy, so that what can't work is told now.

    Returns:
        What matched of the starting weights, as JSON; None where the recipe names none.

    Raises:
        InputError: weights, patterns or class weights that don't fit the model.
    """
    spec, started = work.recipe.training, None
    if spec.start is not None:
        check_tokens(work, weights_path(spec.start, work.resolved.base))
        started = start_from(network, spec.start, work.resolved.base)
        work.console.stage("weights", started.source)
        for line in started.lines():
            work.console.detail(line)
    if data.stream is None and spec.epochs:
        few = min(len(data), 8)
        small = replace(data, features=take(data.features, slice(0, few)), targets=data.targets[:few])
        tried = plain(spec).model_copy(update={"batch_size": few, "accumulate": 1})
        take_step(*dry_run(network, objective, small, tried, seed=work.recipe.seed))
    return started.to_json() if started else None


def settled_recipe(work: Work) -> Recipe:
    """Return the resolved recipe with the choices that the run's training measured: running it again is exact."""
    path = work.folder.stage("train") / CHOICES
    if not path.exists():
        return work.recipe
    return work.recipe.model_copy(update={"training": settle(work.recipe.training, read_json(path))})


def train_stage(work: Work, *, resume: bool, hooks: Sequence[Hook] = ()) -> Network:
    """Train, or take what is done already, and return the network with the best weights.

    Args:
        work: the run.
        resume: continue what is there.
        hooks: called after every step and epoch, beside the stage's own.
    """
    fingerprint = work.fingerprint("train")
    network = work.build()
    done = work.folder.manifest("train")
    if resume and done is not None and done["fingerprint"] == fingerprint:
        work.console.stage("train", f"done before: {done['epochs']} epochs")
        return load_network(work)
    checkpoint = work.folder.stage("train") / CHECKPOINT
    if resume:
        work.check_same(work.folder.stage("train") / DECIDES)
    if resume and done is not None:
        raise RunError(
            "this run was trained from another recipe or other data",
            where=str(work.folder.path),
            hint="start again with --fresh, or put this run elsewhere with --out",
        )
    spec = work.recipe.training
    if spec.tensorboard:
        need_tensorboard()
    offered = offered_rows(work)
    assert work.recipe.objective is not None
    objective = objectives.get(work.recipe.objective.name)(**work.recipe.objective.arguments)
    data, going_on = training_data(work), resume and checkpoint.exists()
    if several(spec):
        check_workers(work, data)
    started_from = None if going_on else prepared(work, network, objective, data)
    corpus = None if going_on else corpus_of(work, network)
    folder = work.folder.begin("train", keep=resume)
    write_json(folder / DECIDES, work.decides("train"))
    if started_from:
        write_json(folder / START, started_from)
    parameters = sum(p.numel() for p in network.parameters())
    assert work.recipe.model is not None
    if going_on:
        work.console.stage("train", f"continuing from {checkpoint.name}")
    else:
        work.console.stage(
            "train",
            f"{work.recipe.model.name}, {parameters:,} parameters, {spec.optimizer.name}, "
            f"up to {spec.epochs} epochs, {work.threads} threads{workers_of(spec)}",
        )
    if several(spec):
        for note in notes(network, spec):
            work.console.detail(f"note: {note}")
    started, restarts = time.monotonic(), 0
    with configured_torch(work.threads):
        spec = _settled(work, network, objective, data, resume)
        assert spec.threads is not None
        torch.set_num_threads(spec.threads)
        if corpus is not None:
            pretrain_body(work, network, corpus, spec, resume=resume)
            work.console.stage("finetune", f"{len(data):,} labelled texts")

        def trained(network: Network, rows: TrainingData, number: int, identity: dict[str, Any]) -> Run:
            nonlocal restarts
            steps = spec.epochs * steps_per_epoch(len(rows), rows_a_step(spec))
            own = folder if offered is None else round_folder(folder, number)
            with work.console.progress("training", steps) as advance:
                told = [_shown(work, spec, advance), *_recorders(own, spec, len(rows)), *hooks]
                if several(spec):
                    run, restarts = train_by_workers(work, network, rows, spec, resume=resume, hooks=told)
                    return run
                return train(
                    network,
                    objective,
                    rows,
                    spec,
                    seed=work.recipe.seed,
                    select=work.task.select,
                    identity=identity,
                    checkpoint=(own if number else folder) / CHECKPOINT,
                    resume=resume,
                    hooks=told,
                )

        run, rows, labelled = trained(network, data, 0, work.identity), len(data), None
        if offered is not None:
            run, rows, labelled = pseudo_label_rounds(work, run, data, offered, trained)
    if data.stream is not None:
        data.stream.release()
    shifts = calibrate_quantiles(run.network, data.validation_features, data.validation_targets)
    if shifts is not None:
        moved = float(np.abs(shifts).max())
        work.console.detail(f"quantiles are moved by up to {moved:.3g}, to hold their share of the validation rows")
    told = {"pseudo_labels": labelled, "pretrain": pretraining_facts(work)}
    more = {"restarts": restarts, **{key: facts for key, facts in told.items() if facts}}
    _save(work, run, fingerprint, parameters, rows, started, more)
    return run.network


def _recorders(folder: Path, spec: TrainingSpec, rows: int) -> list[Hook]:
    """Return the hooks that write each epoch's figures into a folder."""
    return [HistoryFiles(folder), *([EventFiles(folder, rows)] if spec.tensorboard else [])]


def _shown(work: Work, spec: TrainingSpec, advance: Advance) -> Hook:
    """Return the hook by which people see how far training is."""
    every = max(1, spec.epochs // 10)
    return lambda event, run: _show(work, event, run, every, advance)


def _show(work: Work, event: str, run: Run, every: int, advance: Advance) -> None:
    if event == "step":
        advance(run.step, f"epoch {run.epoch + 1}")
    elif run.epoch % every == 0 or run.finished or run.epoch == 1:
        work.console.detail(_epoch_line(run))


def _save(
    work: Work, run: Run, fingerprint: str, parameters: int, rows: int, started: float, more: dict[str, Any]
) -> None:
    """Write the stage's results, its manifest last."""
    folder = work.folder.stage("train")
    state = {name: tensor.contiguous() for name, tensor in run.network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state))
    write_json(folder / HISTORY, run.history)
    write_history(folder, run.history)
    write_json(folder / MODEL, work.model_json)
    if run.stopped_early:
        work.console.detail(f"stopped early; best epoch {run.best_epoch + 1}")
    if restarts := more["restarts"]:
        work.console.detail(f"a worker was lost {restarts} time{'s' if restarts > 1 else ''}, and training went on")
    choices = read_json(folder / CHOICES)
    facts = {
        "epochs": run.epoch,
        "best_epoch": run.best_epoch + 1,
        "stopped_early": run.stopped_early,
        "parameters": parameters,
        "steps": run.epoch * run.steps_per_epoch,
        "seconds": round(run.seconds, 3),
        "rows_per_second": round(run.epoch * rows / max(run.seconds, 1e-9), 1),
        "first_step_seconds": round((run.first_step_at or started) - work.started, 3),
        "choices": choices,
        "weights_sha256": weights_digest(state),
        "threads": choices["settled"]["threads"],
        "workers": work.recipe.training.workers.count,
        "engine": work.recipe.training.workers.engine if several(work.recipe.training) else "local",
        "torch": torch.__version__,
        **more,
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
