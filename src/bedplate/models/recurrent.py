"""Recurrent networks over a text's tokens: plain, LSTM and GRU, one or both ways, pooled by attention."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import AttentionPool, Embedding, MaskedMean, known, masked_max

Pooling = Literal["attention", "mean", "max"]
_CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def backwards(mask: Tensor) -> Tensor:
    """Return where each position of a row stands when the row's own tokens are turned round, int64 [rows, length].

    Padding stays where it is, so that a network that reads the turned row meets the tokens first.
    """
    lengths = mask.sum(dim=1, keepdim=True).to(torch.int64)
    places = torch.arange(mask.shape[1], device=mask.device)[None, :]
    return torch.where(places < lengths, lengths - 1 - places, places)


def both_ways(ways: nn.ModuleList, forth: Tensor, back: Tensor | None, turned: Tensor | None) -> Tensor:
    """Return the states of one or two recurrent layers, side by side [rows, length, ways · hidden].

    Args:
        ways: the layer that reads from the beginning and, with `back`, the one that reads from the end.
        forth: what the first one reads [rows, length, size].
        back: what the other one reads: the rows turned round.
        turned: where each position stands then, as `backwards` says.
    """
    found = [ways[0](forth)[0]]
    if back is not None and turned is not None:
        states = ways[1](back)[0]
        found.append(states.gather(1, turned[:, :, None].expand(-1, -1, states.shape[2])))
    return torch.cat(found, dim=2)


class Recurrent(nn.Module):
    """tokens → vectors → recurrent layers, each way by itself → pooled over the text's own tokens → linear.

    Each way is a network of its own that reads from its own first token: a bidirectional layer of the library would
    begin its way back in the padding, whose length depends on the batch.
    """

    def __init__(
        self, inputs: TextInput, width: int, *, cell: str, size: int, hidden: int, layers: int, both: bool,
        pooling: Pooling, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens = Embedding(inputs.vocabulary, size, hidden=0.01)
        made = [
            _CELLS[cell](size, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
            for _ in range(2 if both else 1)
        ]
        self.ways = nn.ModuleList(made)
        self.hidden = hidden
        self.pool = {"attention": AttentionPool, "mean": MaskedMean, "max": _Max}[pooling](hidden * len(made))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * len(made), width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, width]."""
        mask = known(tokens)
        forth, turned, back = self.dropout(self.tokens(tokens)), None, None
        if len(self.ways) > 1:
            turned = backwards(mask)
            back = self.dropout(self.tokens(tokens.gather(1, turned)))
        states = both_ways(self.ways, forth, back, turned)
        out: Tensor = self.head(self.dropout(self.pool(states, mask)))
        return out


class _Max(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return masked_max(values, mask)


def _recurrent(cell: str) -> None:
    def model(
        inputs: Inputs,
        outputs: Outputs,
        *,
        size: Annotated[int, Field(ge=1, le=4096)] = 100,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 128,
        layers: Annotated[int, Field(ge=1, le=8)] = 1,
        both: bool = True,
        pooling: Pooling = "attention",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    ) -> nn.Module:
        """Return a recurrent network for texts.

        Args:
            inputs: texts.
            outputs: classes or a number.
            size: numbers a token's vector.
            hidden: units of each layer, each way.
            layers: one above the other.
            both: also read the text from its end.
            pooling: how the states become one vector: attention (Yang et al. 2016, equations 5 to 7), mean or max.
            dropout: share of vectors' numbers, and of what was pooled, dropped in training, 0 to 1.
        """
        only(inputs, TextInput, cell)
        assert isinstance(inputs, TextInput)
        return Recurrent(
            inputs, outputs.width, cell=cell, size=size, hidden=hidden, layers=layers, both=both, pooling=pooling,
            dropout=dropout,
        )  # fmt: skip

    model.__name__ = cell
    models.register(cell)(model)


for _name in _CELLS:
    _recurrent(_name)
