"""Cross-entropy between the softmax of the scores and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.objectives.registry import Losses, Objective, Step, objectives

Weight = Annotated[float, Field(ge=0)]


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Return rows / (classes · rows of the class) for each class: their mean over the training rows is 1.

    Raises:
        InputError: a class has no training rows.
    """
    if not counts or not all(counts):
        raise InputError("class weights need rows of every class", where="objective.class_weights")
    return [sum(counts) / (len(counts) * count) for count in counts]


@objectives.register("cross-entropy")
def cross_entropy(
    *,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    class_weights: Literal["balanced"] | list[Weight] | None = None,
) -> Objective:
    """Return mean cross-entropy, of rows or, where words are tagged, of words.

    Args:
        label_smoothing: share of each label spread over all classes (Szegedy et al. 2016, section 7).
        class_weights: a factor for each class in the order of its label, or "balanced": inversely proportional to its
            training rows.
    """
    weights: dict[torch.device, Tensor] = {}

    def weight(network: nn.Module, device: torch.device) -> Tensor | None:
        if class_weights is None:
            return None
        if device not in weights:
            outputs: Any = network.outputs  # `models.Outputs`
            values = balanced_weights(outputs.counts) if class_weights == "balanced" else class_weights
            if len(values) != outputs.width:
                raise InputError(
                    "not one weight a class",
                    where="objective.class_weights",
                    expected=str(outputs.width),
                    received=str(len(values)),
                )
            weights[device] = torch.tensor(values, dtype=torch.float32, device=device)
        return weights[device]

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        scores = network(*features)
        if scores.ndim == 3:  # a tag a word
            there = targets >= 0
            scores, targets = scores[there], targets[there].to(torch.int64)
        factors = weight(network, targets.device)
        found = functional.cross_entropy(scores, targets, weight=factors, label_smoothing=label_smoothing)
        return {"loss": found}

    return Objective((Step(loss),), "classes", soft=True, words=True)
