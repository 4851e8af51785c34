"""Optimisers beside torch's, and beside those that a recipe names, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from tests.reference.parity import close
from torch import nn

from bedplate.reference import SGD, Adam, Momentum, Optimizer
from bedplate.training.optimizers import optimizers

Twin = Callable[[], Optimizer]
Torch = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

PAIRS: dict[str, tuple[Twin, Torch]] = {
    "SGD": (lambda: SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (lambda: Momentum(0.05, 0.8), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8)),
    "Nesterov": (
        lambda: Momentum(0.05, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "Adam": (lambda: Adam(0.01, 0.8, 0.95, 1e-6), lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6)),
    # With the defaults of both sides: they are the same choices.
    "the recipe's sgd": (SGD, optimizers.get("sgd")),
    "the recipe's momentum": (Momentum, optimizers.get("momentum")),
    "the recipe's sgd with nesterov": (
        lambda: Momentum(0.1, 0.9, nesterov=True),
        lambda p: optimizers.get("sgd")(p, momentum=0.9, nesterov=True),
    ),
    "the recipe's adam": (Adam, optimizers.get("adam")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_thirty_steps_are_the_same(name: str) -> None:
    """On L = Σ a·(θ − c)⁴ over two arrays, the gradients changing with every step."""
    make, make_torch = PAIRS[name]
    rng = np.random.default_rng(5)
    ours = {"weight": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    wanted = {key: rng.normal(size=value.shape) for key, value in ours.items()}
    theirs = {key: nn.Parameter(torch.tensor(value)) for key, value in ours.items()}
    held = dict(ours)
    start = {key: value.copy() for key, value in ours.items()}
    optimizer, other = make(), make_torch(list(theirs.values()))
    for step in range(30):
        scale = 0.02 * (1 + step % 3)
        optimizer.step(ours, {key: 4 * scale * (value - wanted[key]) ** 3 for key, value in ours.items()})
        other.zero_grad()
        loss = sum((scale * (value - torch.tensor(wanted[key])) ** 4).sum() for key, value in theirs.items())
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        other.step()
        for key, value in ours.items():
            close(value, theirs[key])
    for key, value in ours.items():
        assert value is held[key], "parameters are moved in place"
        assert np.abs(value - start[key]).max() > 0.01
