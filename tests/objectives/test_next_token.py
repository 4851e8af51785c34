from __future__ import annotations

import math

import pytest
import torch

from bedplate.objectives import objectives


class Fixed(torch.nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))


def test_the_loss_is_the_mean_surprise_of_every_token() -> None:
    made = objectives.get("next-token")()
    loss = made.steps[0].loss(Fixed(), [torch.zeros(1, 2, dtype=torch.int32)], torch.tensor([[0, 2]]))["loss"]
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert made.kind == "tokens"
