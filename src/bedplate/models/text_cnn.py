"""Convolutions over a text's tokens, and the largest answer of each filter."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import Embedding


class TextCNN(nn.Module):
    """tokens → vectors → filters of several lengths → their maxima → dropout → linear.

    Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2. A text is followed by as much
    padding as the longest filter reaches, so that what a batch is filled up with changes nothing.
    """

    def __init__(
        self, inputs: TextInput, width: int, *, size: int, filters: int, lengths: list[int], dropout: float
    ) -> None:
        super().__init__()
        self.tokens = Embedding(inputs.vocabulary, size, hidden=0.01)
        self.reach = max(lengths)
        self.filters = nn.ModuleList(nn.Conv1d(size, filters, length) for length in lengths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(lengths), width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, width]."""
        vectors = self.dropout(functional.pad(self.tokens(tokens).transpose(1, 2), (0, self.reach)))
        found = [torch.relu(layer(vectors)).amax(dim=2) for layer in self.filters]
        out: Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return out


@models.register("text-cnn")
def text_cnn(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=1, le=4096)] = 100,
    filters: Annotated[int, Field(ge=1, le=4096)] = 100,
    lengths: list[Annotated[int, Field(ge=1, le=64)]] = [3, 4, 5],  # noqa: B006 - read only
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
) -> nn.Module:
    """Return a convolutional network for texts.

    Args:
        inputs: texts.
        outputs: classes or a number.
        size: numbers a token's vector.
        filters: of each length.
        lengths: how many neighbouring tokens a filter sees.
        dropout: share of vectors' numbers, and of the filters' answers, dropped in training, 0 to 1.
    """
    only(inputs, TextInput, "text-cnn")
    assert isinstance(inputs, TextInput)
    return TextCNN(inputs, outputs.width, size=size, filters=filters, lengths=lengths, dropout=dropout)
