"""The pinball loss: several quantiles of what may come, learnt together."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.objectives.registry import Losses, Objective, Step, objectives

Level = Annotated[float, Field(gt=0, lt=1)]


def pinball(quantiles: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Return mean(max(τ e, (τ − 1) e)) with e = target − quantile, over everything.

    Source: Koenker and Bassett 1978, "Regression Quantiles".

    Args:
        quantiles: [..., levels].
        targets: [...].
        levels: τ, each between 0 and 1.
    """
    errors = targets.unsqueeze(-1) - quantiles
    return torch.maximum(levels * errors, (levels - 1) * errors).mean()


@objectives.register("quantile")
def quantile(*, levels: list[Level] = [0.1, 0.5, 0.9]) -> Objective:  # noqa: B006 - read only
    """Return the mean pinball loss of a forecast's quantiles.

    Args:
        levels: which quantiles, rising; 0.5, the median, must be among them.
    """
    if sorted(set(levels)) != levels or 0.5 not in levels:
        raise InputError(
            "the levels must rise, and 0.5 be among them", where="objective.levels", expected="such as [0.1, 0.5, 0.9]",
            received=str(levels),
        )  # fmt: skip
    kept: dict[torch.device, Tensor] = {}

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        if targets.device not in kept:
            kept[targets.device] = torch.tensor(levels, dtype=torch.float32, device=targets.device)
        scores = network(*features).reshape(*targets.shape, len(levels))
        return {"loss": pinball(scores, targets, kept[targets.device])}

    return Objective((Step(loss),), "forecast", soft=True, levels=tuple(levels))
