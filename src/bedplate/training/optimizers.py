"""Optimisers by name. L2 regularisation is `weight_decay` of sgd and adam; adamw's is decoupled.

A registered function takes parameters, or parameter groups as `training.parameter_groups` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from bedplate.core.registry import Registry
from bedplate.training.muon import Muon
from bedplate.training.schedule_free import ScheduleFreeAdamW

optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")

Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


@optimizers.register("sgd")
def sgd(
    parameters: Parameters,
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
    parameters: Parameters, *, lr: Rate = 0.05, momentum: Share = 0.9, weight_decay: Decay = 0.0
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent with momentum 0.9."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


@optimizers.register("adam")
def adam(
    parameters: Parameters,
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
    parameters: Parameters,
    *,
    lr: Rate = 1e-3,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    weight_decay: Decay = 0.01,
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019): weight decay decoupled from the gradient."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


@optimizers.register("rmsprop")
def rmsprop(
    parameters: Parameters,
    *,
    lr: Rate = 1e-3,
    alpha: Share = 0.99,
    momentum: Share = 0.0,
    centered: bool = False,
    weight_decay: Decay = 0.0,
) -> torch.optim.Optimizer:
    """Return RMSprop (Tieleman and Hinton 2012): the gradient over the root of its mean square; L2 `weight_decay`."""
    return torch.optim.RMSprop(
        parameters,
        lr=lr,
        alpha=alpha,
        momentum=momentum,
        centered=centered,
        weight_decay=weight_decay,
        foreach=True,
    )


@optimizers.register("adagrad")
def adagrad(
    parameters: Parameters, *, lr: Rate = 1e-2, lr_decay: Decay = 0.0, weight_decay: Decay = 0.0
) -> torch.optim.Optimizer:
    """Return Adagrad (Duchi et al. 2011): the gradient over the root of the sum of its squares; L2 `weight_decay`."""
    return torch.optim.Adagrad(parameters, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, foreach=True)


@optimizers.register("muon")
def muon(
    parameters: Parameters,
    *,
    lr: Rate = 2e-3,
    momentum: Share = 0.95,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    weight_decay: Decay = 0.01,
) -> torch.optim.Optimizer:
    """Return Muon for hidden matrices and kernels, with AdamW for all else at the same rate (Jordan et al. 2024)."""
    return Muon(parameters, lr=lr, momentum=momentum, betas=(beta1, beta2), weight_decay=weight_decay)


@optimizers.register("schedule-free-adamw")
def schedule_free_adamw(
    parameters: Parameters, *, lr: Rate = 2.5e-3, beta1: Share = 0.9, beta2: Share = 0.999, weight_decay: Decay = 0.01
) -> torch.optim.Optimizer:
    """Return AdamW that averages its iterates in place of a falling rate (Defazio et al. 2024).

    Use it with `schedule: {name: constant, warmup: 0.05}`, which is its default.
    """
    return ScheduleFreeAdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
