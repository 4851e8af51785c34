"""The loop: move the weights, epoch by epoch, from data that is resident in memory."""

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

from bedplate.core.arrays import Arrays
from bedplate.core.errors import GateError, InputError, Interrupted
from bedplate.core.seeds import derive, generator
from bedplate.models import Network, to_tensors
from bedplate.objectives import Objective
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.augment import Augment, augments
from bedplate.training.optimizers import optimizers
from bedplate.training.run import Hook, Run, seed_step
from bedplate.training.schedules import Schedule, schedules


@dataclass(frozen=True)
class TrainingData:
    """Features and targets of the training and validation rows (int64 classes, or float64 values)."""

    features: Arrays
    targets: np.ndarray
    validation_features: Arrays
    validation_targets: np.ndarray


@contextlib.contextmanager
def _catch_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that training stops between two steps."""
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return
    before = {number: signal.signal(number, lambda *_: wanted.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def standardised(targets: np.ndarray, network: Network) -> Tensor:
    """Return class indices, or the value standardised as the network answers it."""
    if network.outputs.classes:
        return torch.from_numpy(np.asarray(targets, np.int64))
    return torch.from_numpy(((targets - network.outputs.mean) / network.outputs.std).astype(np.float32))


@torch.inference_mode()
def validate(network: Network, features: list[Tensor], targets: Tensor, batch_size: int = 1024) -> dict[str, float]:
    """Return validation loss (log loss, or squared error of the standardised target) and accuracy or RMSE."""
    network.eval()
    raw = torch.cat([network(*[f[i : i + batch_size] for f in features]) for i in range(0, len(targets), batch_size)])
    network.train()
    if network.outputs.classes:
        loss = functional.cross_entropy(raw, targets).item()
        return {"validation_loss": loss, "validation_accuracy": (raw.argmax(1) == targets).double().mean().item()}
    loss = functional.mse_loss(raw[:, 0], targets).item()
    return {"validation_loss": loss, "validation_rmse": math.sqrt(loss) * network.outputs.std}


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the steps of an epoch. A last batch of one row, which batch normalisation can't take, is left out."""
    return rows // batch_size + (1 if rows % batch_size > 1 else 0)


@dataclass
class _Machinery:
    """What does not change during a run."""

    objective: Objective
    spec: TrainingSpec
    seed: int
    schedule: Schedule
    augment: Augment | None
    features: list[Tensor]
    targets: Tensor

    def batch(self, order: Tensor, run: Run) -> tuple[list[Tensor], Tensor]:
        """Return the run's next batch."""
        start = run.step_in_epoch * self.spec.batch_size
        rows = order[start : start + self.spec.batch_size]
        features = [tensor[rows] for tensor in self.features]
        if self.augment is not None:
            source = torch.Generator().manual_seed(derive(self.seed, "augment", run.step))
            features[0] = self.augment(features[0], source)
        return features, self.targets[rows]

    def step(self, run: Run, order: Tensor) -> None:
        """Take one step of the objective on the run's next batch."""
        features, targets = self.batch(order, run)
        seed_step(self.seed, run.step)
        factor = self.schedule(run.step / (run.epochs * run.steps_per_epoch), run.epoch)
        for part, optimizer in zip(self.objective.steps, run.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.zero_grad(set_to_none=True)
            losses = part.loss(run.network, features, targets)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            if self.spec.gradient_clip:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                torch.nn.utils.clip_grad_norm_(parameters, self.spec.gradient_clip)
            optimizer.step()
            run.loss_sum += losses["loss"].detach().double() * len(targets)
        run.step_in_epoch += 1


def _make_optimizers(network: Network, objective: Objective, spec: TrainingSpec) -> list[torch.optim.Optimizer]:
    made = []
    for step in objective.steps:
        parameters = list(step.parameters(network) if step.parameters else network.parameters())
        optimizer = optimizers.get(spec.optimizer.name)(parameters, **spec.optimizer.arguments)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        made.append(optimizer)
    return made


def train(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    *,
    seed: int,
    select: Literal["accuracy", "loss"],
    identity: dict[str, Any],
    checkpoint: Path | None = None,
    resume: bool = False,
    hooks: Sequence[Hook] = (),
) -> Run:
    """Train `network` and return the run with the best epoch's weights loaded.

    Args:
        network: freshly built; its weights are replaced when resuming.
        objective: what is minimised.
        data: training and validation rows.
        spec: the recipe's `training`.
        seed: the recipe's seed: order, augmentation and dropout derive from it and the position alone.
        select: the validation figure whose best epoch is kept; ties go to the lower loss.
        identity: what must be equal for a resumed run to be bit-equal (recipe, data, versions, threads).
        checkpoint: where checkpoints are written, each `checkpoint_seconds` and each epoch.
        resume: take up `checkpoint` if it is there.
        hooks: called after every step and epoch.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the checkpoint holds the last step.
        GateError: the loss is not finite.
        RunError: the checkpoint doesn't belong to this run.
    """
    features, targets = to_tensors(network, data.features), standardised(data.targets, network)
    validation = to_tensors(network, data.validation_features), standardised(data.validation_targets, network)
    if len(targets) < 2:
        raise InputError("too few training rows", expected="2 or more", received=str(len(targets)))
    steps = steps_per_epoch(len(targets), spec.batch_size)
    augment = augments.get(spec.augment.name)(**spec.augment.arguments) if spec.augment else None
    schedule = schedules.get(spec.schedule.name)(**spec.schedule.arguments)
    machinery = _Machinery(objective, spec, seed, schedule, augment, features, targets)
    run = Run(network, _make_optimizers(network, objective, spec), identity, steps, spec.epochs)
    if resume and checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    network.train()
    with _catch_interrupt() as wanted:
        while not run.finished:
            _epoch(run, machinery, checkpoint, wanted, hooks)
            _close_epoch(run, machinery, validation, select, hooks)
            if checkpoint is not None:
                run.save(checkpoint)
    run.load_best()
    network.eval()
    return run


def _epoch(
    run: Run, machinery: _Machinery, checkpoint: Path | None, wanted: threading.Event, hooks: Sequence[Hook]
) -> None:
    """Take the steps that are left of the run's epoch."""
    order = torch.from_numpy(generator(machinery.seed, "shuffle", run.epoch).permutation(len(machinery.targets)))
    saved = started = time.monotonic()
    before = run.seconds
    while run.step_in_epoch < run.steps_per_epoch:
        machinery.step(run, order)
        now = time.monotonic()
        run.seconds = before + now - started
        for hook in hooks:
            hook("step", run)
        if checkpoint is not None and (wanted.is_set() or now - saved >= machinery.spec.checkpoint_seconds):
            run.save(checkpoint)
            saved = now
        if wanted.is_set():
            raise Interrupted("stopped by the user", hint="continue with --resume" if checkpoint else None)


def _close_epoch(
    run: Run, machinery: _Machinery, validation: tuple[list[Tensor], Tensor], select: str, hooks: Sequence[Hook]
) -> None:
    """Judge the epoch, keep the best weights, decide on stopping, and move on to the next one."""
    trained = min(run.steps_per_epoch * machinery.spec.batch_size, len(machinery.targets))
    loss = run.loss_sum.item() / trained
    figures = validate(run.network, *validation)
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
    figure = figures["validation_accuracy"] if select == "accuracy" else -figures["validation_loss"]
    stopping = machinery.spec.early_stopping
    better = figure > run.best_figure + (stopping.min_delta if stopping and run.best_epoch >= 0 else 0.0)
    tie = figure == run.best_figure and figures["validation_loss"] < run.history[run.best_epoch]["validation_loss"]
    if better or tie:
        run.best = {name: tensor.detach().clone() for name, tensor in run.network.state_dict().items()}
        run.best_epoch, run.best_figure = run.epoch, figure
    run.epoch += 1
    run.step_in_epoch = 0
    run.loss_sum = torch.zeros((), dtype=torch.float64)
    run.stopped_early = stopping is not None and run.epoch - 1 - run.best_epoch >= stopping.patience
    for hook in hooks:
        hook("epoch", run)
