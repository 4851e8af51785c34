"""What networks that answer a text with a text share: how a row falls into what is read and what is written."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.codecs.codec import PAD
from bedplate.core.errors import InputError
from bedplate.models.registry import Inputs, TextInput, only


def pairs(inputs: Inputs, model: str) -> tuple[TextInput, int]:
    """Return the texts with their separator; refuse rows that are no pairs of texts."""
    only(inputs, TextInput, model)
    assert isinstance(inputs, TextInput)
    if inputs.separator is None:
        raise InputError(
            f"model '{model}' answers a text with a text", where="model.name",
            hint="set task: text-to-text, or choose `transformer-decoder`",
        )  # fmt: skip
    return inputs, inputs.separator


class EncoderDecoder(nn.Module):
    """Rows of a text, a separator and its answer → scores of what follows, from the separator on; 0 before it.

    Subclasses read (`encode`) and write (`decode`), each on tensors that hold nothing else, so that neither pays for
    the other. One matrix holds the tokens' vectors and their weights in the scores (Press & Wolf 2017).
    """

    def __init__(self, vocabulary: int, size: int, separator: int) -> None:
        super().__init__()
        self.separator = separator
        self.tokens = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.tokens.weight, std=size**-0.5)

    def encode(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Return the memory [rows, length, …] of what was read; `source` [rows, length] is 1 where it stands."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Return a state [rows, new, …] behind every token that is written, the separator first."""
        raise NotImplementedError

    def scores(self, states: Tensor) -> Tensor:
        """Map states […, size] to a score for every token that may follow."""
        return functional.linear(states, self.tokens.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, length, vocabulary]."""
        read, written = self.parts(tokens, torch.zeros_like(tokens[:, :1]))
        counts = read.sum(1, keepdim=True)
        source = read[:, : max(1, int(counts.max()))].to(torch.float32)
        own = written.sum(1, keepdim=True)
        new = torch.arange(max(1, int(own.max())), device=tokens.device)[None]
        at = ((counts - 1).clamp(min=0) + new).clamp(max=tokens.shape[1] - 1)
        memory = self.encode(tokens[:, : source.shape[1]], source)
        states = self.decode(tokens.gather(1, at), memory, source)
        rows, places = torch.nonzero(new < own, as_tuple=True)
        found = self.scores(states[rows, places])
        out = found.new_zeros(*tokens.shape, found.shape[1])
        out[rows, at[rows, places]] = found
        return out

    def parts(self, tokens: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is read, and what is written [rows, new]; the separator is both. `own` [rows, 1] were before."""
        marks = (tokens == self.separator).to(torch.int64)
        behind = torch.cumsum(marks, dim=1)
        there, first = tokens != PAD, own == 0
        return there & first & (behind <= marks), there & (~first | (behind > 0))
