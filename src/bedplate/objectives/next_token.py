"""The cross-entropy of the next token, at every token of every row that has one to learn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives.registry import Losses, Objective, Step, objectives


@objectives.register("next-token")
def next_token(*, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Objective:
    """Return the mean cross-entropy of the next token, in nats, where the target isn't -1.

    Source: Bengio et al. 2003, "A Neural Probabilistic Language Model", section 2.

    Args:
        label_smoothing: share of each token spread over the vocabulary (Szegedy et al. 2016, section 7).
    """

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        scores = network(*features).flatten(0, 1)
        wanted = targets.flatten()
        judged = wanted >= 0
        if not judged.all():  # a vocabulary of scores each: what isn't learnt needn't be normalised
            scores, wanted = scores[judged], wanted[judged]
        return {"loss": functional.cross_entropy(scores, wanted, label_smoothing=label_smoothing)}

    return Objective((Step(loss),), "tokens")
