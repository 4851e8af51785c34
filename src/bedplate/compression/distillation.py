"""Distillation: a smaller network, the student, learns from what a larger one, the teacher, answers.

It is an objective, so that a student is trained by the same loop as any other network. The teacher sees what the
student sees, augmentation included; its weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.core.registry import Registry
from bedplate.objectives import Objective
from bedplate.objectives.registry import Losses, Step

Matching = Callable[[Tensor, Tensor], Tensor]
"""Takes the student's and the teacher's scores [rows, width] and returns a scalar."""

Share = Annotated[float, Field(ge=0, le=1)]

distillations: Registry[Callable[..., Objective]] = Registry("distillation")
"""Functions `f(teacher, objective, *, …) -> Objective`, by the name that a recipe gives."""


class Teachers(nn.Module):
    """Several teachers as one: the logarithm of their mean probabilities, or the mean of their values.

    Source: Hinton, Vinyals and Dean 2015, section 3 (an ensemble's geometric or arithmetic mean as the soft target).
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, *features: Tensor) -> Tensor:
        """Return scores [rows, width]."""
        scores = torch.stack([network(*features) for network in self.networks])
        if scores.shape[2] == 1:
            return scores.mean(0)
        return torch.log_softmax(scores, dim=-1).logsumexp(0)


@distillations.register("soft-target")
def soft_target(
    teacher: nn.Module,
    objective: Objective,
    *,
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0,
    weight: Share = 0.9,
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


@distillations.register("hard-target")
def hard_target(teacher: nn.Module, objective: Objective, *, weight: Share = 0.5) -> Objective:
    """Return weight · cross-entropy with the teacher's own answer + (1 - weight) · the objective's loss.

    Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention", equation 3. A
    number's answer is itself: there it is the squared difference.
    """

    def matching(student: Tensor, teachers: Tensor) -> Tensor:
        if student.shape[1] == 1:
            return functional.mse_loss(student, teachers)
        return functional.cross_entropy(student, teachers.argmax(1))

    return _mixed(teacher, objective, matching, weight)


@distillations.register("feature-transfer")
def feature_transfer(
    teacher: nn.Module,
    objective: Objective,
    *,
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0,
    weight: Share = 0.9,
    similarity: Annotated[float, Field(ge=0, le=1e5)] = 10.0,
    layer: str | None = None,
) -> Objective:
    """Return the soft-target loss + similarity · ‖G_T - G_S‖² / rows², with G the similarities of rows inside.

    G = Q·Qᵀ with each row divided by its length, where Q [rows, …] is what a layer gives. Rows that are alike to the
    teacher become alike to the student; no layer has to have the other's width. Tung and Mori 2019,
    "Similarity-Preserving Knowledge Distillation", equations 1 to 4.

    Args:
        teacher: takes the same features, and returns scores [rows, width].
        objective: with one step, of the labels themselves.
        temperature: of the soft targets.
        weight: share of the soft targets, 0 to 1.
        similarity: what the similarities count.
        layer: a module that both have; left out: each one's last convolution or dense layer before the output.

    Raises:
        InputError: one of them has no such layer.
    """
    soft = soft_target(teacher, objective, temperature=temperature, weight=weight)
    (step,) = soft.steps
    given: dict[int, Tensor] = {}
    taught = inner_layer(teacher, layer)
    taught.register_forward_hook(lambda *call: given.__setitem__(0, call[2]))
    seen: list[nn.Module] = []

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        if seen != [network]:
            inner_layer(network, layer).register_forward_hook(lambda *call: given.__setitem__(1, call[2]))
            seen[:] = [network]
        found = step.loss(network, features, targets)["loss"]
        gap = functional.mse_loss(similarities(given[1]), similarities(given[0]).detach())
        return {"loss": found + similarity * gap}

    return Objective((Step(loss, step.parameters),), soft.kind, soft.soft)


def similarities(inside: Tensor) -> Tensor:
    """Return G [rows, rows] of what a layer gives [rows, …]: products of rows, each row divided by its length."""
    flat = inside.flatten(1).float()
    return functional.normalize(flat @ flat.T, dim=1)


def inner_layer(network: nn.Module, name: str | None) -> nn.Module:
    """Return the layer called `name`, or the last convolution or dense layer that isn't as wide as the output.

    Raises:
        InputError: there is none.
    """
    if name is not None:
        try:
            return network.get_submodule(name)
        except AttributeError as error:
            raise InputError("no such layer", where="compression.distillation.layer", received=name) from error
    kinds = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    inside = [one for one in kinds[:-1] if len(one.weight) != len(kinds[-1].weight)]
    if not inside:
        raise InputError(
            "a network of one layer has nothing inside to transfer", where="compression.distillation",
            hint="use soft-target",
        )  # fmt: skip
    return inside[-1]


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
        if student.ndim == 3:  # a tag a word: words are what is matched
            student, teachers = student[targets >= 0], teachers[targets >= 0]
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
