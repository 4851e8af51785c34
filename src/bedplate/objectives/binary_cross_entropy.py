"""Binary cross-entropy of every label by itself, where a row may have several."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives.registry import Losses, Objective, Step, objectives

MOST_WEIGHT = 100.0
"""A label that hardly any row has would weigh all others down."""


@objectives.register("binary-cross-entropy")
def binary_cross_entropy(
    *,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    positive_weights: Literal["balanced"] | None = None,
) -> Objective:
    """Return the mean binary cross-entropy between the logistic function of each score and whether the label is there.

    Args:
        label_smoothing: each target is moved so far towards one half.
        positive_weights: "balanced" counts a label that is there as often as there are rows without it for each with
            it (100 times at most), so that rare labels are answered sooner; recall rises and precision falls.
    """
    weights: dict[torch.device, Tensor] = {}

    def weight(network: nn.Module, device: torch.device) -> Tensor | None:
        if positive_weights is None:
            return None
        if device not in weights:
            outputs: Any = network.outputs  # `models.Outputs`; the last count is that of all rows
            *with_it, rows = outputs.counts
            found = [min(MOST_WEIGHT, (rows - count) / count) if count else 1.0 for count in with_it]
            weights[device] = torch.tensor(found, dtype=torch.float32, device=device).clamp(min=1.0)
        return weights[device]

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        scores = network(*features)
        targets = targets.to(scores.dtype) * (1 - label_smoothing) + label_smoothing / 2
        found = functional.binary_cross_entropy_with_logits(scores, targets, pos_weight=weight(network, targets.device))
        return {"loss": found}

    return Objective((Step(loss),), "labels")
