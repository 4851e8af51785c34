"""Squared error and its robust relatives, for a number."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives.registry import Losses, Objective, Step, objectives


@objectives.register("squared-error")
def squared_error() -> Objective:
    """Return the mean squared error of the standardised target."""

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        return {"loss": functional.mse_loss(network(*features)[:, 0], targets)}

    return Objective((Step(loss),), "number", soft=True)


@objectives.register("huber")
def huber(*, delta: Annotated[float, Field(gt=0)] = 1.0) -> Objective:
    """Return the mean Huber loss: squared up to `delta` standard deviations of the target, linear beyond.

    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        return {"loss": functional.huber_loss(network(*features)[:, 0], targets, delta=delta)}

    return Objective((Step(loss),), "number", soft=True)
