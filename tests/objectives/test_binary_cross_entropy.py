"""The loss of every label by itself, against its plain form; weights and smoothing do what they say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bedplate.objectives.binary_cross_entropy import binary_cross_entropy


class Given(nn.Module):
    """Answers what it was made with."""

    def __init__(self, scores: Tensor, counts: tuple[int, ...]) -> None:
        super().__init__()
        self.scores, self.outputs = scores, SimpleNamespace(counts=counts)

    def forward(self, *_: Tensor) -> Tensor:
        return self.scores


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_it_is_its_plain_form(smoothing: float, weights: str | None) -> None:
    draw = np.random.default_rng(0)
    scores, targets = draw.normal(size=(7, 3)), (draw.random((7, 3)) < 0.5).astype(float)
    network = Given(torch.tensor(scores, dtype=torch.float64), (2, 8, 5, 10))
    objective = binary_cross_entropy(label_smoothing=smoothing, positive_weights=weights)
    found = objective.steps[0].loss(network, [], torch.tensor(targets))["loss"].item()
    factors = np.array([4.0, 1.0, 1.0]) if weights else np.ones(3)  # (10 - 2) / 2; never below 1
    wanted = targets * (1 - smoothing) + smoothing / 2
    sure = 1 / (1 + np.exp(-scores))
    plain = -(factors * wanted * np.log(sure) + (1 - wanted) * np.log(1 - sure)).mean()
    assert found == pytest.approx(plain)
