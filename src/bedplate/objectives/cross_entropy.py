"""Cross-entropy between the softmax of the scores and the labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives.registry import Losses, Objective, Step, objectives


@objectives.register("cross-entropy")
def cross_entropy(*, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Objective:
    """Return mean cross-entropy.

    Args:
        label_smoothing: share of each label spread over all classes (Szegedy et al. 2016, section 7).
    """

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        return {"loss": functional.cross_entropy(network(*features), targets, label_smoothing=label_smoothing)}

    return Objective((Step(loss),), "classes")
