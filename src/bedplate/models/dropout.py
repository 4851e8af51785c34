"""Dropout whose draws are bytes, and attention that drops by it.

PyTorch draws a number for every element, and on processors that aren't Intel's one after the other: on an AMD EPYC that
took a third of a transformer's step. A draw of 64 bits holds eight elements' chances, so rates are multiples of 1/256.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANCES = 256
"""Values that an element's draw can have."""


def keep_mask(shape: Sequence[int], rate: float) -> tuple[Tensor, float]:
    """Return which elements are kept, bool of the shape, and the share of them that is expected.

    They are drawn from torch's generator for the processor, eight at a time.

    Args:
        shape: of the mask.
        rate: how many are dropped, above 0 to 1; the nearest multiple of 1/256 counts, but neither none nor
            all where it lies between.
    """
    dropped = CHANCES if rate >= 1 else min(CHANCES - 1, max(1, round(rate * CHANCES)))
    count = math.prod(shape)
    draws = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    if dropped == CHANCES:
        return torch.zeros(*shape, dtype=torch.bool), 0.0
    return (draws.view(torch.uint8)[:count] >= dropped).view(*shape), 1 - dropped / CHANCES


def dropped(x: Tensor, rate: float) -> Tensor:
    """Set elements to 0 at random and enlarge the others, so that their expectation stays (Srivastava et al. 2014).

    `torch.nn.functional.dropout` is the plain twin, and what a GPU uses.
    """
    if not rate:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, rate)
    kept, share = keep_mask(x.shape, rate)
    return x * kept.to(x.dtype).mul_(1 / share if share else 0.0)


class Dropout(nn.Dropout):
    """`dropped` in training, the identity else."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same."""
        return dropped(x, self.p) if self.training else x


def attention(query: Tensor, key: Tensor, value: Tensor, away: Tensor, rate: float) -> Tensor:
    """Return what each query sees of the values, its shares of them dropped at a rate.

    Args:
        query: [rows, heads, length, size].
        key: [rows, heads, other, size].
        value: likewise.
        away: added to the scores, [rows, 1 or heads, 1 or length, other].
        rate: 0 outside of training.
    """
    if not rate or query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=away, dropout_p=rate)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + away
    shares = torch.softmax(scores, dim=-1)
    kept, share = keep_mask(shares.shape, rate)
    return (shares * kept) @ (value * (1 / share if share else 0.0))
