"""The training loop, in full: shuffle, and for each batch forward, loss, backward, step."""

from __future__ import annotations

import numpy as np

from bedplate.core.errors import InputError
from bedplate.core.seeds import generator
from bedplate.reference.layer import Array
from bedplate.reference.losses import Loss
from bedplate.reference.network import Sequential
from bedplate.reference.optimizers import Optimizer


def train_step(network: Sequential, loss: Loss, optimizer: Optimizer, inputs: Array, targets: np.ndarray) -> float:
    """Move the network's parameters once, by one batch; return the batch's loss before the move."""
    value = loss.forward(network.forward(inputs), targets)
    network.backward(loss.backward())
    optimizer.step(network.parameters, network.gradients)
    return value


def fit(
    network: Sequential,
    loss: Loss,
    optimizer: Optimizer,
    inputs: Array,
    targets: np.ndarray,
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
) -> list[float]:
    """Train, and return each epoch's mean loss over its rows, as they were met.

    Args:
        network: changed in place.
        loss: what is made small.
        optimizer: keeps its state, so that `fit` can be called again to go on.
        inputs: [rows, …].
        targets: classes [rows], or numbers of the answer's shape.
        epochs: passes over the rows.
        batch_size: rows a step; the last batch of an epoch has what is left.
        seed: decides the order of the rows in each epoch.

    Raises:
        InputError: no rows, or not as many targets as rows; or the loss is no finite number any more.
    """
    if not len(inputs) or len(inputs) != len(targets) or batch_size < 1:
        raise InputError(
            "nothing to train on",
            where="fit",
            expected="as many targets as rows, at least one of each, and batch_size from 1",
            received=f"{len(inputs)} rows, {len(targets)} targets, batch_size {batch_size}",
        )
    history = []
    network.train(True)
    try:
        for epoch in range(epochs):
            order = generator(seed, "reference", "order", epoch).permutation(len(inputs))
            total = 0.0
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                total += train_step(network, loss, optimizer, inputs[rows], targets[rows]) * len(rows)
            history.append(total / len(inputs))
            _check(history[-1], epoch)
    finally:
        network.train(False)
    return history


def _check(loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise InputError(
            "the loss is no finite number any more",
            where=f"fit, epoch {epoch + 1}",
            received=str(loss),
            hint="lower the learning rate",
        )


def accuracy(network: Sequential, inputs: Array, targets: np.ndarray) -> float:
    """Return the share of rows whose highest score is at the right class."""
    return float((network.forward(inputs).argmax(axis=1) == targets).mean())
