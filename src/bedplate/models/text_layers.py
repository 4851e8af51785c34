"""Layers that models of texts share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PAD = 0
AWAY = -1e4
"""Added to a score so that it counts for nothing, within the range of float16."""


def known(tokens: Tensor) -> Tensor:
    """Return 1 where a token stands and 0 where the row is filled up, float [rows, length]."""
    return (tokens != PAD).to(torch.float32)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Map [rows, length, width] to the largest of each row's own positions [rows, width]; 0 for a row without any."""
    some = mask.amax(dim=1, keepdim=True)
    return (values + (1.0 - mask)[:, :, None] * AWAY).amax(dim=1) * some


class AttentionPool(nn.Module):
    """A mean over a row's own positions, weighted by what each says of itself; 0 for a row without any.

    Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5 to 7.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.view, self.weight = nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Map [rows, length, width] and a mask [rows, length] to [rows, width]."""
        scores = self.weight(torch.tanh(self.view(values)))[:, :, 0] + (1.0 - mask) * AWAY
        shares = torch.softmax(scores, dim=1) * mask
        return (values * shares[:, :, None]).sum(dim=1)


class MaskedMean(nn.Module):
    """The mean over a row's own positions; 0 for a row without any."""

    def __init__(self, width: int = 0) -> None:
        super().__init__()

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Map [rows, length, width] and a mask [rows, length] to [rows, width]."""
        return (values * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)


class Embedding(nn.Embedding):
    """A vector a token; padding has none, and training now and then hides a token, so that "unknown" is learnt."""

    def __init__(self, vocabulary: int, width: int, *, hidden: float = 0.0) -> None:
        super().__init__(vocabulary, width, padding_idx=PAD)
        self.hidden = hidden
        with torch.no_grad():
            self.weight.normal_(std=0.1)
            self.weight[PAD] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [rows, length] to [rows, length, width]."""
        if self.training and self.hidden:
            away = (torch.rand(tokens.shape, device=tokens.device) < self.hidden) & (tokens != PAD)
            tokens = torch.where(away, torch.ones_like(tokens), tokens)
        return super().forward(tokens)
