"""One step: the batch, its augmentation, the losses in the chosen precision, the gradient, the optimiser.

Nothing in a step waits for the device: losses are summed as tensors and read once an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bedplate.core.seeds import derive
from bedplate.models import Network
from bedplate.objectives import Objective
from bedplate.objectives.registry import Loss
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.augment import AppliedAugment
from bedplate.training.batches import Batches
from bedplate.training.distributed import Workers, unsynchronised
from bedplate.training.execution import Execution, rows_a_step
from bedplate.training.optimizers import optimizers
from bedplate.training.parameter_groups import parameter_groups
from bedplate.training.run import Run, seed_step
from bedplate.training.schedules import Schedule


def make_optimizers(network: Network, objective: Objective, spec: TrainingSpec) -> list[torch.optim.Optimizer]:
    """Return one optimiser for each of the objective's steps, over the weights that are not frozen."""
    made = []
    for step in objective.steps:
        wanted = step.parameters(network) if step.parameters else network.parameters()
        groups = parameter_groups(network, wanted, spec.rates, by_kind=spec.optimizer.name == "muon")
        optimizer = optimizers.get(spec.optimizer.name)(groups, **spec.optimizer.arguments)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"] * group.get("rate", 1.0)
        made.append(optimizer)
    return made


def steps_per_epoch(rows: int, rows_a_step: int, workers: int = 1) -> int:
    """Return the steps of an epoch.

    A last batch that has less than two rows for each worker, which batch normalisation couldn't take, is left out.
    """
    return rows // rows_a_step + (1 if rows % rows_a_step >= 2 * workers else 0)


def epoch_rows(rows: int, rows_a_step: int, workers: int = 1) -> int:
    """Return the rows that an epoch trains on."""
    return min(rows, steps_per_epoch(rows, rows_a_step, workers) * rows_a_step)


@dataclass
class Machinery:
    """What does not change during a run."""

    objective: Objective
    spec: TrainingSpec
    execution: Execution
    seed: int
    schedule: Schedule
    augments: Sequence[AppliedAugment]
    batches: Batches
    network: nn.Module
    """What the objective calls: the run's network, or its compiled or distributed form."""
    penalised: Sequence[nn.Parameter] = ()
    workers: Workers = field(default_factory=Workers)

    def batch(self, epoch: int, step_in_epoch: int, step: int) -> tuple[list[Tensor], Tensor]:
        """Return the features and targets of one step, augmented."""
        rows = rows_a_step(self.spec)
        start = step_in_epoch * rows
        features, targets = self.batches.batch(epoch, start, min(start + rows, self.batches.rows))
        for k, augment in enumerate(self.augments):
            source = torch.Generator(targets.device).manual_seed(derive(self.seed, "augment", k, step))
            features, targets = augment(features, targets, source)
        return features, targets

    def step(self, run: Run) -> None:
        """Take one step of the objective on the run's next batch."""
        features, targets = self.batch(run.epoch, run.step_in_epoch, run.step)
        whole = len(targets)
        if self.workers.size > 1:
            own = self.workers.share(whole)
            features, targets = [tensor[own] for tensor in features], targets[own]
        seed_step(self.seed, run.step, self.workers.rank)
        factor = self.schedule(run.step / (run.epochs * run.steps_per_epoch), run.epoch, run.history)
        for part, optimizer in zip(self.objective.steps, run.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.zero_grad(set_to_none=True)
            run.loss_sum += self.gradient(part.loss, features, targets, whole)
            self._penalise()
            if self.spec.gradient_clip:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                torch.nn.utils.clip_grad_norm_(parameters, self.spec.gradient_clip)
            optimizer.step()
        run.step_in_epoch += 1
        if run.average is not None:
            run.average.update(run.network, run.step)

    def gradient(self, loss: Loss, features: list[Tensor], targets: Tensor, whole: int) -> Tensor:
        """Add up the gradient of the mean loss over the step's batches.

        Args:
            loss: of the objective's step.
            features: of this worker's rows.
            targets: likewise.
            whole: the rows of all workers.

        Returns:
            The sum of this worker's rows' losses, a float64 scalar on the device.
        """
        assert self.spec.batch_size != "auto"
        total = torch.zeros((), dtype=torch.float64, device=targets.device)
        size = -(-self.spec.batch_size // self.workers.size)
        parts = -(-len(targets) // size)
        for k in range(parts):  # of equal length, so that no part of a last batch is a single row
            start, stop = len(targets) * k // parts, len(targets) * (k + 1) // parts
            share = (stop - start) * self.workers.size / whole  # averaged over the workers, the shares add up to 1
            with unsynchronised(self.network, stop < len(targets)):
                with self.execution.autocast():
                    value = loss(self.network, [f[start:stop] for f in features], targets[start:stop])["loss"]
                (value if share == 1 else value * share).backward()  # type: ignore[no-untyped-call]
            total += value.detach().double() * (stop - start)
        return total

    @torch.no_grad()
    def _penalise(self) -> None:
        """Add the gradient of l1 · Σ|w| + l2 / 2 · Σw²."""
        for weight in self.penalised:
            if weight.grad is not None:
                if self.spec.l1:
                    weight.grad.add_(weight.sign(), alpha=self.spec.l1)
                if self.spec.l2:
                    weight.grad.add_(weight, alpha=self.spec.l2)
