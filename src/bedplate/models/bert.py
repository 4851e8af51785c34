"""BERT's encoder, for weights that were trained elsewhere as well as for fresh ones.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; without types of
tokens it is DistilBERT (Sanh et al. 2019). One vector a text is pooled as Reimers and Gurevych 2019 do,
"Sentence-BERT", section 3. `bedplate.models.checkpoints` maps published weights to it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.models.dropout import Dropout
from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import AWAY, MaskedMean, known, masked_max
from bedplate.models.transformer_encoder import Block, check_heads

Pooling = Literal["mean", "cls", "max"]


class Bert(nn.Module):
    """tokens, places and types → normalisation → blocks → pooling → linear (none for a vector of the model's size)."""

    def __init__(
        self, inputs: TextInput, outputs: Outputs, *, size: int, heads: int, layers: int, hidden: int, positions: int,
        types: int, epsilon: float, pooling: Pooling, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pooling = pooling
        self.tokens = nn.Embedding(inputs.vocabulary, size, padding_idx=0)
        self.places = nn.Embedding(positions, size)
        self.types = nn.Embedding(types, size) if types else None
        self.start = nn.LayerNorm(size, eps=epsilon)
        self.blocks = nn.ModuleList(
            Block(size, heads, dropout, hidden=hidden, epsilon=epsilon, after=True) for _ in range(layers)
        )
        self.mean = MaskedMean()
        self.dropout = Dropout(dropout)
        self.head = nn.Identity() if outputs.vector == size else nn.Linear(size, outputs.width)
        for module in self.modules():  # section A.2's initial weights
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @property
    def vectors(self) -> Tensor:
        """The tokens' own vectors [vocabulary, size]."""
        return self.tokens.weight

    def states(self, tokens: Tensor) -> Tensor:
        """Return what the last block says of each token, [rows, length, size]."""
        # What stands beyond the longest row is padding: it gets the last place, and nobody looks at it.
        places = torch.arange(tokens.shape[1], device=tokens.device).clamp(max=self.places.num_embeddings - 1)
        beside = self.places(places)
        if self.types is not None:  # one text is all of the first type
            beside = beside + self.types.weight[0]
        x: Tensor = self.dropout(self.start(self.tokens(tokens) + beside[None]))
        away = (1.0 - known(tokens))[:, None, None, :] * AWAY
        for block in self.blocks:
            x = block(x, away)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores, or vectors before they are normalised, [rows, width]."""
        pooled = self._pooled(self.states(tokens), known(tokens))
        if isinstance(self.head, nn.Linear):  # numbers dropped from a vector itself would be noise in what is compared
            pooled = self.dropout(pooled)
        out: Tensor = self.head(pooled)
        return out

    def _pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling == "max":
            return masked_max(x, mask)
        pooled: Tensor = self.mean(x, mask)
        return pooled


@models.register("bert")
def bert(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=2, le=8192)] = 128,
    heads: Annotated[int, Field(ge=1, le=128)] = 4,
    layers: Annotated[int, Field(ge=1, le=96)] = 2,
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 512,
    positions: Annotated[int, Field(ge=1, le=100_000)] = 512,
    types: Annotated[int, Field(ge=0, le=16)] = 2,
    epsilon: Annotated[float, Field(gt=0, lt=0.1)] = 1e-12,
    pooling: Pooling = "mean",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Return BERT's or DistilBERT's encoder; the sizes are the checkpoint's where training starts from one.

    Args:
        inputs: texts.
        outputs: classes, a number or a vector.
        size: numbers a token's vector; a multiple of `heads`.
        heads: of attention, in each block.
        layers: blocks, one above the other.
        hidden: numbers in a block's dense layer.
        positions: the most tokens of a text, each place with a vector of its own.
        types: of tokens; texts are all of the first. 0 for DistilBERT.
        epsilon: added to variances where vectors are normalised.
        pooling: what stands for a text: the mean or the maximum of its tokens' vectors, or the first one's (cls).
        dropout: share of numbers dropped in training, 0 to 1.

    Raises:
        InputError: the size is no multiple of the heads, or texts are longer than there are places.
    """
    only(inputs, TextInput, "bert")
    assert isinstance(inputs, TextInput)
    check_heads(size, heads)
    if inputs.length > positions:
        raise InputError(
            "texts are read further than the model has places for", where="data.text.length",
            expected=f"at most {positions}, the model's positions", received=str(inputs.length),
        )  # fmt: skip
    return Bert(
        inputs, outputs, size=size, heads=heads, layers=layers, hidden=hidden, positions=positions, types=types,
        epsilon=epsilon, pooling=pooling, dropout=dropout,
    )  # fmt: skip
