"""Averaged weights: the exponential moving average, and what an optimiser with two sets of weights needs.

Validation, the best epoch and the end of training use the averaged weights; the steps use the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

RECALIBRATION_BATCHES = 32


@runtime_checkable
class TwoSided(Protocol):
    """An optimiser that trains one set of weights and judges another."""

    def train(self) -> None:
        """Put the training weights into the parameters."""

    def eval(self) -> None:
        """Put the weights to be judged into the parameters."""


class MovingAverage:
    """The exponential moving average of a module's parameters and floating-point buffers (Polyak and Juditsky 1992).

    average ← d · average + (1 − d) · weights, with d = min(decay, (1 + step) / (10 + step)), so that the first steps
    are forgotten soon.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps (1 is the first)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        weights: list[Tensor] = []
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.state[name])
                weights.append(tensor)
            else:
                self.state[name].copy_(tensor)  # a count, such as batch normalisation's
        torch._foreach_lerp_(averages, weights, 1 - decay)


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return the batch normalisations that keep running statistics."""
    kept = nn.modules.batchnorm._BatchNorm
    return [module for module in network.modules() if isinstance(module, kept) and module.track_running_stats]


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterator[Sequence[Tensor]]) -> None:
    """Set the running statistics of batch normalisation to the mean over `batches`, for the weights as they are."""
    norms = batch_norms(network)
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    was_training = network.training
    network.train()
    for features in batches:
        network(*features)
    network.train(was_training)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


@contextlib.contextmanager
def judged_weights(
    network: nn.Module,
    average: MovingAverage | None,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: Iterator[Sequence[Tensor]],
) -> Iterator[None]:
    """Put the weights that are validated and kept into the network, and the training ones back afterwards.

    Args:
        network: changed in place.
        average: its moving average, if there is one.
        optimizers: those with two sets of weights have `train()` and `eval()` (schedule-free ones).
        batches: features of training batches, asked for only where batch normalisation must be calibrated again: its
            running statistics belong to the training weights (Defazio et al. 2024 warn of it).
    """
    two_sided = [optimizer for optimizer in optimizers if isinstance(optimizer, TwoSided)]
    if average is None and not two_sided:
        yield
        return
    before = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for optimizer in two_sided:
        optimizer.eval()
    if average is not None:
        network.load_state_dict(average.state)
    elif batch_norms(network):
        recalibrate(network, batches)
    try:
        yield
    finally:
        for optimizer in two_sided:
            optimizer.train()
        network.load_state_dict(before)
