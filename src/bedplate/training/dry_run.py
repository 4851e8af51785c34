"""Training steps on a copy that is thrown away: what the profiler and the range test step on."""

from __future__ import annotations

import copy

import torch

from bedplate.models import Network
from bedplate.objectives import Objective
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.training.execution import rows_a_step
from bedplate.training.loop import TrainingData, machinery_for
from bedplate.training.parameter_groups import hold_frozen_norms
from bedplate.training.run import Run
from bedplate.training.updates import Machinery, make_optimizers, steps_per_epoch


def dry_run(
    network: Network, objective: Objective, data: TrainingData, spec: TrainingSpec, *, seed: int
) -> tuple[Machinery, Run]:
    """Return what takes training steps on a copy of `network`, at the optimiser's own learning rate.

    Args:
        network: left as it is.
        objective: what is minimised.
        data: training rows.
        spec: the recipe's `training`, settled: nothing in it is `auto`.
        seed: the recipe's seed; the batches are those of a real run.
    """
    network = copy.deepcopy(network)
    steady = spec.model_copy(update={"schedule": Part(name="constant")})
    machinery = machinery_for(network, objective, data, steady, seed)
    steps = steps_per_epoch(len(data), rows_a_step(spec))
    zero = torch.zeros((), dtype=torch.float64, device=spec.device)
    run = Run(network, make_optimizers(network, objective, spec), {}, steps, max(spec.epochs, 1), loss_sum=zero)
    network.train()
    hold_frozen_norms(network)
    return machinery, run


def take_step(machinery: Machinery, run: Run) -> None:
    """Take one step; after an epoch's last batch the next epoch begins."""
    machinery.step(run)
    if run.step_in_epoch >= run.steps_per_epoch:
        run.epoch, run.step_in_epoch = run.epoch + 1, 0
