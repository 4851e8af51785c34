"""The loop: move the weights, epoch by epoch, from data that is resident in memory or streamed."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bedplate.core.arrays import Arrays, by_length
from bedplate.core.errors import GateError, InputError, Interrupted
from bedplate.core.seeds import derive
from bedplate.data.stream import RowStream
from bedplate.models import Network, Outputs, TextInput, to_tensors
from bedplate.objectives import Objective
from bedplate.objectives.quantile import pinball
from bedplate.objectives.supervised_contrastive import supervised_contrastive
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.augment import bind, parts_of
from bedplate.training.averaging import RECALIBRATION_BATCHES, MovingAverage, judged_weights
from bedplate.training.batches import Batches, Resident, Streamed, longest, standardised
from bedplate.training.distributed import Agreement, workers
from bedplate.training.execution import Execution, execution_of, plain, rows_a_step
from bedplate.training.parameter_groups import freeze, hold_frozen_norms, penalised
from bedplate.training.run import Hook, Run
from bedplate.training.schedules import schedules
from bedplate.training.tagging import tagging_figures
from bedplate.training.updates import Machinery, epoch_rows, make_optimizers, steps_per_epoch
from bedplate.training.windows import Windows

MOST_SCORES, MOST_WINDOWS = 1 << 23, 32
"""Scores of the next token that are held at once, and windows that are read at once for them."""


@dataclass(frozen=True)
class TrainingData:
    """Features and targets of the training and validation rows (int64 classes, or float64 values).

    Where the training rows are a `stream`, `features` and `targets` are a sample of them.
    """

    features: Arrays
    targets: np.ndarray
    validation_features: Arrays
    validation_targets: np.ndarray
    stream: RowStream | None = None

    def __len__(self) -> int:
        """Return the training rows of one epoch."""
        return len(self.targets) if self.stream is None else len(self.stream)

    def batches(self, network: Network, seed: int, sampling: str, device: str = "cpu", rows_a_step: int = 0) -> Batches:
        """Return where the loop takes its batches from."""
        inputs = network.inputs
        if network.outputs.sequence and isinstance(inputs, TextInput) and inputs.separator is None:
            return Windows(network, self.features, self.targets, seed, device)
        if self.stream is not None:
            return Streamed(network, self.stream, seed, device)
        return Resident(network, self.features, self.targets, seed, sampling, device, rows_a_step)


@contextlib.contextmanager
def catch_interrupt(wanted: threading.Event | None = None) -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that training stops between two steps."""
    wanted = wanted or threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return
    before = {number: signal.signal(number, lambda *_: wanted.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def scores_of(network: Network, features: list[Tensor], batch_size: int) -> Tensor:
    """Return the raw scores of all rows; texts run in parts of like length, cut to the longest of each."""
    starts = range(0, len(features[0]), batch_size)
    if not isinstance(network.inputs, TextInput):
        return torch.cat([network(*[f[i : i + batch_size] for f in features]) for i in starts])

    def run(rows: Arrays) -> Arrays:
        return {"raw": network(torch.from_numpy(rows["tokens"]).to(features[0].device)).cpu().numpy()}

    tokens = features[0].cpu().numpy()
    parts = [by_length(run, {"tokens": tokens[i : i + batch_size]}, "tokens")["raw"] for i in starts]
    return torch.from_numpy(np.concatenate(parts)).to(features[0].device)


def figure_names(outputs: Outputs) -> tuple[str, ...]:
    """Return the names of the figures that `validate` gives."""
    if outputs.tags:
        return "validation_loss", "validation_accuracy", "validation_f1"
    if outputs.many:
        return "validation_loss", "validation_f1"
    return "validation_loss", "validation_accuracy" if outputs.labelled else "validation_rmse"


@torch.inference_mode()
def validate(network: Network, features: list[Tensor], targets: Tensor, batch_size: int = 1024) -> dict[str, float]:
    """Return validation loss and accuracy (of vectors, recall at 1), F1 of sets of labels, or RMSE.

    Of a tagger see `tagging_figures`.

    The loss is log loss (of every token, where there is one answer a token), the supervised contrastive one of vectors,
    the squared error of the standardised target, or the pinball loss of a forecast's quantiles.

    It is computed in float32, as what is exported will answer.
    """
    network.eval()
    if network.outputs.sequence:
        return _validate_tokens(network, features[0], targets)
    if network.outputs.tags:
        figures = tagging_figures(network, features, targets)
        network.train()
        hold_frozen_norms(network)
        return figures
    raw = scores_of(network, features, batch_size)
    network.train()
    hold_frozen_norms(network)
    if network.outputs.classes:
        loss = functional.cross_entropy(raw, targets).item()
        return {"validation_loss": loss, "validation_accuracy": (raw.argmax(1) == targets).double().mean().item()}
    if network.outputs.many:
        loss = functional.binary_cross_entropy_with_logits(raw, targets).item()
        answered = raw >= 0  # one half of the logistic function: `codecs.answers.LIKELY`
        both, either = float((answered * targets).sum()), float(answered.sum() + targets.sum())
        return {"validation_loss": loss, "validation_f1": 2 * both / either if either else 0.0}
    if network.outputs.vector:
        vectors = functional.normalize(raw, dim=1)
        blocks = [slice(i, i + 256) for i in range(0, len(targets), 256)]
        loss = sum(float(supervised_contrastive(vectors[b], targets[b])) for b in blocks) / len(blocks)
        near = torch.cat([vectors[b] @ vectors.T for b in blocks]).fill_diagonal_(-2.0).argmax(1)
        return {"validation_loss": loss, "validation_accuracy": (targets[near] == targets).double().mean().item()}
    levels = network.outputs.levels
    if levels:
        quantiles = raw.reshape(*targets.shape, len(levels))
        raw = quantiles[..., levels.index(0.5)]
        found = pinball(quantiles, targets, torch.tensor(levels, device=raw.device)).item()
        rmse = math.sqrt(functional.mse_loss(raw, targets).item())
        return {"validation_loss": found, "validation_rmse": rmse}
    loss = functional.mse_loss(raw.reshape(targets.shape), targets).item()
    # Of a forecast's columns, whose units differ, in standard deviations.
    scale = 1.0 if network.outputs.shape else network.outputs.spread
    return {"validation_loss": loss, "validation_rmse": math.sqrt(loss) * scale}


def _validate_tokens(network: Network, tokens: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the mean loss and accuracy of every next token, from few enough rows at a time for all their scores."""
    rows = max(1, min(MOST_WINDOWS, MOST_SCORES // (tokens.shape[1] * network.outputs.width)))
    loss, right = 0.0, 0
    order = torch.argsort((tokens != 0).sum(1), stable=True)
    for start in range(0, len(targets), rows):
        part = order[start : start + rows]
        width = longest(tokens[part])
        wanted = targets[part][:, :width].flatten()
        scores = network(tokens[part][:, :width]).flatten(0, 1)
        loss += functional.cross_entropy(scores, wanted, ignore_index=-1, reduction="sum").item()
        right += int((scores.argmax(1) == wanted).sum())
    network.train()
    hold_frozen_norms(network)
    judged = int((targets >= 0).sum())
    return {"validation_loss": loss / judged, "validation_accuracy": right / judged}


def train(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    *,
    seed: int,
    select: Literal["accuracy", "f1", "loss"],
    identity: dict[str, Any],
    checkpoint: Path | None = None,
    resume: bool = False,
    hooks: Sequence[Hook] = (),
    stop: threading.Event | None = None,
) -> Run:
    """Train `network` and return the run with the best epoch's weights loaded.

    Args:
        network: freshly built, or with weights to start from; its weights are replaced when resuming.
        objective: what is minimised.
        data: training and validation rows.
        spec: the recipe's `training`; what is still `auto` is taken as the plain choice (`training.choices` measures).
        seed: the recipe's seed: order, augmentation and dropout derive from it and the position alone.
        select: the validation figure whose best epoch is kept; ties go to the lower loss.
        identity: what must be equal for a resumed run to be bit-equal (recipe, data, versions, threads).
        checkpoint: where checkpoints are written, each `checkpoint_seconds` and each epoch.
        resume: take up `checkpoint` if it is there.
        hooks: called after every step and epoch.
        stop: set by others to stop training as Ctrl-C does; left out: only signals do.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the checkpoint holds the last step.
        GateError: the loss is not finite.
        RunError: the checkpoint doesn't belong to this run.
    """
    spec = plain(spec)
    if len(data) < 2:
        raise InputError("too few training rows", expected="2 or more", received=str(len(data)))
    machinery = machinery_for(network, objective, data, spec, seed)
    machinery.workers.check_batch(min(rows_a_step(spec), machinery.batches.rows))
    validation = [tensor.to(spec.device) for tensor in to_tensors(network, data.validation_features)]
    wanted_targets = standardised(data.validation_targets, network).to(spec.device)
    run = Run(
        network,
        make_optimizers(network, objective, spec),
        {
            **identity,
            "choices": str(machinery.execution.to_json() | {"batch_size": spec.batch_size}),
            "number of workers": machinery.workers.size,
        },
        steps_per_epoch(machinery.batches.rows, rows_a_step(spec), machinery.workers.size),
        spec.epochs,
        loss_sum=torch.zeros((), dtype=torch.float64, device=spec.device),
        average=MovingAverage(network, spec.ema) if spec.ema else None,
    )
    if resume and checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint, machinery.workers.rank)
    network.train()
    hold_frozen_norms(network)
    if spec.epochs == 0:  # weights that are taken as they are
        run.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    with catch_interrupt(stop) as wanted:
        while not run.finished:
            _epoch(run, machinery, checkpoint, wanted, hooks)
            _close_epoch(run, machinery, (validation, wanted_targets), select, hooks)
            if checkpoint is not None and machinery.workers.first:
                run.save(checkpoint)
    if machinery.workers.first:
        run.load_best()
    Execution().prepare(network)
    network.memory_format = None
    network.eval()
    return run


def machinery_for(
    network: Network, objective: Objective, data: TrainingData, spec: TrainingSpec, seed: int
) -> Machinery:
    """Return what takes the steps of a settled spec; the network is frozen, moved and laid out for it, in place."""
    execution, place = execution_of(spec), workers()
    freeze(network, spec.freeze)
    execution.prepare(network)
    return Machinery(
        objective,
        spec,
        execution,
        seed,
        schedules.get(spec.schedule.name)(**spec.schedule.arguments),
        bind(parts_of(spec.augment), network),
        data.batches(network, seed, spec.sampling, spec.device, rows_a_step(spec)),
        place.wrap(execution.callable(network)),
        penalised(network, spec),
        place,
    )


def _epoch(
    run: Run, machinery: Machinery, checkpoint: Path | None, wanted: threading.Event, hooks: Sequence[Hook]
) -> None:
    """Take the steps that are left of the run's epoch."""
    saved = started = time.monotonic()
    before = run.seconds
    agreement = Agreement(machinery.workers)
    while run.step_in_epoch < run.steps_per_epoch:
        machinery.step(run)
        now = time.monotonic()
        run.seconds = before + now - started
        if run.first_step_at is None:
            run.first_step_at = now
        for hook in hooks:
            hook("step", run)
        if not agreement.due():
            continue
        stop, save = agreement.reach(wanted.is_set(), now - saved >= machinery.spec.checkpoint_seconds)
        if checkpoint is not None and (stop or save):
            sums = machinery.workers.gathered(run.loss_sum)
            if machinery.workers.first:
                run.save(checkpoint, sums)
            saved = now
        if stop:
            raise Interrupted("stopped by the user", hint="continue with --resume" if checkpoint else None)
    run.loss_sum.item()  # a GPU is told its steps ahead of time: wait for the last one before the clock is read
    run.seconds = before + time.monotonic() - started


def _calibration(run: Run, machinery: Machinery) -> Iterator[list[Tensor]]:
    """Yield the features of the epoch's first batches, for statistics of batch normalisation."""
    for k in range(min(RECALIBRATION_BATCHES, run.steps_per_epoch)):
        features, _ = machinery.batch(run.epoch, k, derive(machinery.seed, "recalibrate", run.epoch, k))
        yield features


def _close_epoch(
    run: Run, machinery: Machinery, validation: tuple[list[Tensor], Tensor], select: str, hooks: Sequence[Hook]
) -> None:
    """Judge the epoch, keep the best weights, decide on stopping, and move on to the next one."""
    place = machinery.workers
    rows = epoch_rows(machinery.batches.rows, rows_a_step(machinery.spec), place.size)
    loss = place.gathered(run.loss_sum).sum().item() / rows
    judged: dict[str, Tensor] = {}
    found: dict[str, float] | None = None
    if place.first:
        with judged_weights(run.network, run.average, run.optimizers, _calibration(run, machinery)):
            found = validate(run.network, *validation)
            judged = {name: tensor.detach().clone() for name, tensor in run.network.state_dict().items()}
    figures = place.from_first(found, figure_names(run.network.outputs))
    if not math.isfinite(loss) or not math.isfinite(figures["validation_loss"]):
        raise GateError(
            "training diverged: the loss is not finite",
            where=f"epoch {run.epoch + 1}",
            received=f"training loss {loss}",
            hint="lower training.optimizer.lr, or set training.gradient_clip: 1.0",
        )
    rate = run.optimizers[0].param_groups[0]["lr"]
    run.history.append(
        {"epoch": run.epoch + 1, "train_loss": loss, **figures, "learning_rate": rate, "seconds": run.seconds}
    )
    figure = -figures["validation_loss"] if select == "loss" else figures[f"validation_{select}"]
    stopping = machinery.spec.early_stopping
    better = figure > run.best_figure + (stopping.min_delta if stopping and run.best_epoch >= 0 else 0.0)
    tie = figure == run.best_figure and figures["validation_loss"] < run.history[run.best_epoch]["validation_loss"]
    if better or tie:
        run.best, run.best_epoch, run.best_figure = judged, run.epoch, figure
    run.epoch += 1
    run.step_in_epoch = 0
    run.loss_sum = torch.zeros_like(run.loss_sum)
    run.stopped_early = stopping is not None and run.epoch - 1 - run.best_epoch >= stopping.patience
    for hook in hooks:
        hook("epoch", run)
