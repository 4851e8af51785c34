"""Distillation: a smaller network, the student, learns from what a larger one, the teacher, answers.

It is an objective, so that a student is trained by the same loop as any other network. The teacher sees what the
student sees, augmentation included; its weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives import Objective
from bedplate.objectives.registry import Losses, Step

Matching = Callable[[Tensor, Tensor], Tensor]
"""Takes the student's and the teacher's scores [rows, width] and returns a scalar."""


def soft_target(
    teacher: nn.Module, objective: Objective, *, temperature: float = 4.0, weight: float = 0.9
) -> Objective:
    """Return weight · T² · KL(softmax(teacher / T) ‖ softmax(student / T)) + (1 - weight) · the objective's loss.

    The factor T² keeps the gradient of the first part as large as that of the second, whatever T is. A number's one
    score has no softmax: there it is weight · (student - teacher)², without T. Hinton, Vinyals and Dean 2015,
    "Distilling the Knowledge in a Neural Network", section 2.

    Args:
        teacher: takes the same features, and returns scores [rows, width].
        objective: with one step, of the labels themselves.
        temperature: T, above 0.
        weight: share of the teacher's part, 0 to 1.
    """

    def matching(student: Tensor, teachers: Tensor) -> Tensor:
        if student.shape[1] == 1:
            return functional.mse_loss(student, teachers)
        wanted = functional.log_softmax(teachers / temperature, dim=1)
        found = functional.log_softmax(student / temperature, dim=1)
        return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)

    return _mixed(teacher, objective, matching, weight)


def _mixed(teacher: nn.Module, objective: Objective, matching: Matching, weight: float) -> Objective:
    if not 0 <= weight <= 1:
        raise ValueError(f"the teacher's weight is a share from 0 to 1, received {weight}")
    if len(objective.steps) != 1:
        raise ValueError("distillation adds to an objective of one step")
    teacher.eval()
    (step,) = objective.steps

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        with torch.no_grad():
            teachers = teacher(*features)
        scores: list[Tensor] = []

        def once(*given: Tensor) -> Tensor:
            """Keep the student's scores, so that its forward pass serves both parts."""
            scores.append(network(*given))
            return scores[-1]

        own = step.loss(cast(nn.Module, _Seen(network, once)), features, targets)["loss"] if weight < 1 else None
        student = scores[-1] if scores else network(*features)
        found = weight * matching(student, teachers)
        return {"loss": found if own is None else found + (1 - weight) * own}

    return Objective((Step(loss, step.parameters),), objective.kind, objective.soft)


class _Seen:
    """A network whose calls are seen; what else an objective asks of it (its outputs) is the network's own."""

    def __init__(self, network: nn.Module, call: Callable[..., Tensor]) -> None:
        self._network, self._call = network, call

    def __call__(self, *features: Tensor) -> Tensor:
        return self._call(*features)

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)
