"""Objectives: each equals its equation, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bedplate.objectives import objectives


class Fixed(nn.Module):
    """Return given scores."""

    def __init__(self, scores: list[list[float]]) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(scores))

    def forward(self) -> torch.Tensor:
        return self.scores


def loss(name: str, scores: list[list[float]], targets: list[float], **arguments: float) -> tuple[float, torch.Tensor]:
    network = Fixed(scores)
    kind = torch.int64 if objectives.get(name)().kind == "classes" else torch.float32
    value = objectives.get(name)(**arguments).steps[0].loss(network, [], torch.tensor(targets, dtype=kind))["loss"]
    value.backward()
    assert network.scores.grad is not None
    return value.item(), network.scores.grad


def test_cross_entropy() -> None:
    value, gradient = loss("cross-entropy", [[0.0, math.log(3)]], [1])
    assert value == pytest.approx(-math.log(3 / 4))
    assert gradient.tolist() == [pytest.approx([0.25, -0.25])]


def test_label_smoothing_spreads_the_label() -> None:
    value, _ = loss("cross-entropy", [[0.0, math.log(3)]], [1], label_smoothing=0.2)
    assert value == pytest.approx(-0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4))


def test_squared_error() -> None:
    value, gradient = loss("squared-error", [[3.0], [1.0]], [1.0, 1.0])
    assert value == pytest.approx(2.0)
    assert gradient.flatten().tolist() == [2.0, 0.0]


def test_huber_is_squared_then_linear() -> None:
    assert loss("huber", [[0.5]], [0.0])[0] == pytest.approx(0.125)
    assert loss("huber", [[3.0]], [0.0])[0] == pytest.approx(2.5)


def test_the_perceptron_rule_moves_only_wrong_rows() -> None:
    value, gradient = loss("perceptron", [[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]], [0, 1])
    assert value == pytest.approx((0 + 2) / 2)
    assert gradient.tolist() == [[0.0, 0.0, 0.0], [0.0, -0.5, 0.5]]
