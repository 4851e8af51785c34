"""Optimisers by name. L2 regularisation is `weight_decay` of sgd and adam; adamw's is decoupled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from bedplate.core.registry import Registry

optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")

Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


@optimizers.register("sgd")
def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    lr: Rate = 0.1,
    momentum: Share = 0.0,
    nesterov: bool = False,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent, with (Nesterov) momentum if asked."""
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=weight_decay, fused=True
    )


@optimizers.register("momentum")
def momentum(
    parameters: Iterable[nn.Parameter], *, lr: Rate = 0.05, momentum: Share = 0.9, weight_decay: Decay = 0.0
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent with momentum 0.9."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


@optimizers.register("adam")
def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: Rate = 1e-3,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Return Adam (Kingma and Ba 2015); weight_decay is added to the gradient (L2)."""
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


@optimizers.register("adamw")
def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: Rate = 1e-3,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    weight_decay: Decay = 0.01,
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019): weight decay decoupled from the gradient."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)
