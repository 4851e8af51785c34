"""A bag of words and of pairs of words: the mean of their vectors, and a linear layer."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import Embedding, MaskedMean, known

_MOST = 2**24 - 1
"""Numbers stay below it: OpenVINO computes the remainder of whole numbers in float32, which is exact up to here."""


class Bag(nn.Module):
    """tokens → mean of vectors of tokens and pairs → dropout → linear.

    Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification", section 2 (fastText), with pairs hashed into
    buckets as there (section 2.2).
    """

    def __init__(self, inputs: TextInput, width: int, *, size: int, pairs: int, dropout: float) -> None:
        super().__init__()
        self.tokens = Embedding(inputs.vocabulary, size)
        self.pairs = nn.Embedding(pairs, size) if pairs else None
        # What the first token of a pair is multiplied by, odd, so that pairs spread over the buckets.
        self.step = max(1, ((_MOST - inputs.vocabulary) // inputs.vocabulary - 1) // 2 * 2 + 1)
        if self.pairs is not None:
            nn.init.normal_(self.pairs.weight, std=0.1)
        self.mean = MaskedMean()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(size * (2 if pairs else 1), width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, width]."""
        mask = known(tokens)
        parts = [self.mean(self.tokens(tokens), mask)]
        if self.pairs is not None:
            first, second = tokens[:, :-1].to(torch.int64), tokens[:, 1:].to(torch.int64)
            bucket = (first * self.step + second) % self.pairs.num_embeddings
            parts.append(self.mean(self.pairs(bucket), mask[:, :-1] * mask[:, 1:]))
        out: Tensor = self.head(self.dropout(torch.cat(parts, dim=1)))
        return out


@models.register("bag")
def bag(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=1, le=4096)] = 64,
    pairs: Annotated[int, Field(ge=0, le=10_000_000)] = 50_000,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
) -> nn.Module:
    """Return a bag of words and pairs.

    Args:
        inputs: texts.
        outputs: classes or a number.
        size: numbers a vector.
        pairs: buckets of neighbouring tokens; 0: single tokens alone.
        dropout: share of the mean's numbers dropped in training, 0 to 1.
    """
    only(inputs, TextInput, "bag")
    assert isinstance(inputs, TextInput)
    return Bag(inputs, outputs.width, size=size, pairs=pairs, dropout=dropout)
