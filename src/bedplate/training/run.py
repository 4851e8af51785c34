"""The state of a training run: visible data that can be saved at any step and taken up again bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bedplate.core.errors import RunError
from bedplate.core.seeds import derive
from bedplate.models import Network
from bedplate.training.averaging import MovingAverage
from bedplate.training.checkpoint import load_checkpoint, save_checkpoint

Event = Literal["step", "epoch"]
Hook = Callable[[Event, "Run"], None]
"""Called after every step and every epoch with the run's state; it must not change the run, but
for `compression.sparsity`, whose business that is."""


@dataclass
class Run:
    """Everything that a continued training needs.

    `epoch` and `step_in_epoch` say where in the (seeded) order of rows the sampler stands; `identity` names the recipe,
    data, library, and thread count for which bit-equality is promised.
    """

    network: Network
    optimizers: Sequence[torch.optim.Optimizer]
    identity: dict[str, Any]
    steps_per_epoch: int
    epochs: int
    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    best_figure: float = float("-inf")
    stopped_early: bool = False
    seconds: float = 0.0
    """Spent in training steps; validation is not counted."""
    average: MovingAverage | None = None
    first_step_at: float | None = None
    """The clock (`time.monotonic`) when this process's first step was done."""

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.stopped_early or self.epoch >= self.epochs

    def save(self, path: Path, loss_sums: Tensor | None = None) -> None:
        """Write the checkpoint, atomically; `loss_sums` [workers] where there are several."""
        save_checkpoint(
            path,
            {
                "identity": self.identity,
                "network": dict(self.network.state_dict()),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "rng": torch.get_rng_state(),
                "position": [self.epoch, self.step_in_epoch],
                "loss_sum": self.loss_sum if loss_sums is None else loss_sums,
                "history": self.history,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "best_figure": self.best_figure if self.best_epoch >= 0 else None,
                "stopped_early": self.stopped_early,
                "seconds": self.seconds,
                "average": self.average.state if self.average else None,
            },
        )

    def resume(self, path: Path, rank: int = 0) -> None:
        """Take up the state that `save` wrote, as the worker of this rank.

        Raises:
            RunError: the checkpoint is damaged, or belongs to other data, recipe, library or thread count, so that the
                result could not be bit-equal.
        """
        state = load_checkpoint(path)
        for key, expected in self.identity.items():
            if state["identity"].get(key) != expected:
                raise RunError(
                    f"this run was started with another {key}",
                    where=str(path),
                    expected=str(state["identity"].get(key)),
                    received=str(expected),
                    hint="resume under the same conditions, or start again with --fresh",
                )
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            _follow_layout(optimizer)
        if self.average is not None:
            for name, tensor in state["average"].items():
                self.average.state[name].copy_(tensor)
        torch.set_rng_state(state["rng"])
        self.epoch, self.step_in_epoch = state["position"]
        sums = state["loss_sum"].reshape(-1)  # one entry a worker, or at the end of an epoch none that counts
        self.loss_sum = sums[rank if len(sums) > 1 else 0].to(self.loss_sum.device)
        self.history = state["history"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_figure = state["best_figure"] if self.best_epoch >= 0 else float("-inf")
        self.stopped_early, self.seconds = state["stopped_early"], state["seconds"]

    def load_best(self) -> None:
        """Put the best epoch's weights into the network."""
        self.network.load_state_dict(self.best)


def _follow_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay loaded optimiser state out in memory like its parameter: fused updates walk through both side by side."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed every global generator for one step, so that its randomness depends on its position alone.

    This is what makes a continued run bit-equal even where a plug-in draws from NumPy's or Python's generator. Workers
    other than the first draw differently, so that dropout isn't alike in all parts of a batch.
    """
    number = derive(seed, "step", step, rank) if rank else derive(seed, "step", step)
    torch.default_generator.manual_seed(number)  # `torch.manual_seed` asks every backend in turn, ten times as long
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)
    np.random.seed(number % 2**32)
    random.seed(number)
