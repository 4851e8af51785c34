"""The supervised contrastive loss: vectors of rows with one label come together, others are pushed apart.

Khosla et al. 2020, "Supervised Contrastive Learning", equation 2.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.objectives.registry import Losses, Objective, Step, objectives

TEMPERATURE = 0.1


def supervised_contrastive(vectors: Tensor, targets: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the mean over rows i of −1/|P(i)| Σ_{p ∈ P(i)} log(exp(zᵢ·z_p/τ) / Σ_{a ≠ i} exp(zᵢ·z_a/τ)).

    P(i) are the other rows with i's label; a row without any is left out, and without such rows the loss is 0.

    Args:
        vectors: z [rows, width], each of length 1.
        targets: labels [rows].
        temperature: τ, above 0.
    """
    others = 1.0 - torch.eye(len(vectors), device=vectors.device)
    positive = (targets[:, None] == targets[None, :]).to(vectors.dtype) * others
    scores = vectors @ vectors.T / temperature
    shares = scores - torch.logsumexp(scores + (1.0 - others) * -1e4, dim=1, keepdim=True)
    counts = positive.sum(1)
    each = -(shares * positive).sum(1) / counts.clamp(min=1)
    return each.sum() / (counts > 0).sum().clamp(min=1)


@objectives.register("supervised-contrastive")
def contrastive(*, temperature: Annotated[float, Field(gt=0, le=10)] = TEMPERATURE) -> Objective:
    """Return the supervised contrastive loss of a batch's vectors, which are divided by their lengths.

    Args:
        temperature: how sharply near vectors are told from far ones; small is sharp.
    """

    def loss(network: nn.Module, features: list[Tensor], targets: Tensor) -> Losses:
        vectors = functional.normalize(network(*features), dim=1)
        return {"loss": supervised_contrastive(vectors, targets, temperature)}

    return Objective((Step(loss),), "vector")
