"""Squared error and its relatives, for a number or the numbers of a forecast."""

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
        return {"loss": functional.mse_loss(network(*features).reshape(targets.shape), targets)}

    return Objective((Step(loss),), "number", soft=True)


@objectives.register("absolute-error")
def absolute_error() -> Objective:
    """Return the mean absolute error of the standardised target: the median is learnt, and outliers count less."""

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        return {"loss": functional.l1_loss(network(*features).reshape(targets.shape), targets)}

    return Objective((Step(loss),), "number", soft=True)


@objectives.register("huber")
def huber(*, delta: Annotated[float, Field(gt=0)] = 1.0) -> Objective:
    """Return the mean Huber loss: squared up to `delta` standard deviations of the target, linear beyond.

    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        return {"loss": functional.huber_loss(network(*features).reshape(targets.shape), targets, delta=delta)}

    return Objective((Step(loss),), "number", soft=True)
