"""The perceptron criterion: the margin by which the best wrong class beats the right one.

loss = mean(max(0, max_{j≠y} s_j − s_y)). Its gradient moves only the rows that are answered wrongly, by the perceptron
rule. Source: Rosenblatt 1958; multi-class form Crammer and Singer 2003.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bedplate.objectives.registry import Losses, Objective, Step, objectives


@objectives.register("perceptron")
def perceptron() -> Objective:
    """Return the mean perceptron criterion."""

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        scores = network(*features)
        right = scores.gather(1, targets[:, None])[:, 0]
        wrong = scores.scatter(1, targets[:, None], float("-inf")).amax(dim=1)
        return {"loss": torch.relu(wrong - right).mean()}

    return Objective((Step(loss),), "classes")
