"""The recurrent encoder and decoder with attention: a text is read both ways, and its answer written token by token."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from bedplate.models.dropout import Dropout
from bedplate.models.encoder_decoder import EncoderDecoder, pairs
from bedplate.models.recurrent import backwards, both_ways
from bedplate.models.registry import Inputs, Outputs, models
from bedplate.models.text_layers import AWAY

Read = tuple[Tensor, Tensor]
"""What was read [rows, length, hidden], and what is added to the scores of each [rows, 1, length]."""


class RecurrentSeq2Seq(EncoderDecoder):
    """GRUs both ways → one state a token read → GRUs that write, each of whose states looks at all that was read.

    Cho et al. 2014 (the encoder, the decoder and its first state), Luong et al. 2015 (attention of the form "general",
    equations 5, 6 and 8). A state looks after it was computed, not before, so a whole answer is learnt at once.
    """

    def __init__(self, vocabulary: int, separator: int, *, size: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(vocabulary, size, separator)
        self.layers, self.hidden = layers, hidden
        between = dropout if layers > 1 else 0.0
        self.ways = nn.ModuleList(nn.GRU(size, hidden, layers, batch_first=True, dropout=between) for _ in range(2))
        self.joined = nn.Linear(2 * hidden, hidden)
        self.begun = nn.Linear(2 * hidden, layers * hidden)
        # One layer each: what goes on needs every layer's state behind every token, not the top one's alone.
        self.writers = nn.ModuleList(nn.GRU(hidden if k else size, hidden, batch_first=True) for k in range(layers))
        self.asked = nn.Linear(hidden, hidden, bias=False)
        self.mixed = nn.Linear(2 * hidden, size)
        self.dropout = Dropout(dropout)
        self.past = {"source": (-1,), "memory": (-1, hidden), "states": (-1, layers * hidden)}

    def encode(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Return both ways' states side by side [rows, length, 2 · hidden]."""
        turned = backwards(source)
        forth, back = self._embedded(tokens), self._embedded(tokens.gather(1, turned))
        return both_ways(self.ways, forth, back, turned)

    def decode(self, tokens: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Return what each token's state and what it looks at say together [rows, new, size]."""
        top, _ = self._write(tokens, self._first(memory, source))
        return self._looked(top, (self.joined(memory), (1.0 - source)[:, None] * AWAY))

    def step(self, tokens: Tensor, length: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Go on behind a past: see `registry.Stepwise`. A text and its separator are read at once.

        What is written is moved to the front before the recurrent layers, and back behind them: they begin with their
        first step, whatever was read before it.
        """
        own = length.to(torch.int64)[:, None]
        read, written = self.parts(tokens, own)
        source = read.to(torch.float32)
        memory = self.encode(tokens, source)
        begin = (read.sum(1, keepdim=True) - 1).clamp(min=0)
        new = torch.arange(tokens.shape[1], device=tokens.device)[None]
        was_read, was_joined, was = past
        states = torch.cat([self._first(memory, source)[:, None], was], dim=1)  # own = 0: the first state of all
        states = states.gather(1, own[:, :, None].expand(-1, -1, states.shape[2]))[:, 0]
        top, every = self._write(tokens.gather(1, (begin + new).clamp(max=tokens.shape[1] - 1)), states)
        back = (new - begin).clamp(min=0)[:, :, None]
        top, every = (one.gather(1, back.expand(-1, -1, one.shape[2])) for one in (top, every))
        joined = self.joined(memory)
        seen = [(was_joined, (1.0 - was_read)[:, None] * AWAY), (joined, (1.0 - source)[:, None] * AWAY)]
        scores = self.scores(self._looked(top, *seen)) * written.to(torch.float32)[:, :, None]
        return scores, [source, joined, every]

    def _embedded(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.tokens(tokens) * math.sqrt(self.tokens.embedding_dim))
        return out

    def _first(self, memory: Tensor, source: Tensor) -> Tensor:
        """Return the states before the first token [rows, layers · hidden]: of each way's last state."""
        last = (source.sum(1).to(torch.int64) - 1).clamp(min=0)[:, None, None]
        forth = memory[:, :, : self.hidden].gather(1, last.expand(-1, -1, self.hidden))[:, 0]
        return torch.tanh(self.begun(torch.cat([forth, memory[:, 0, self.hidden :]], dim=1)))

    def _write(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the top layer's state behind every token [rows, new, hidden], and all layers' side by side."""
        x, found = self._embedded(tokens), []
        for k, first in enumerate(states.chunk(self.layers, dim=1)):
            x, _ = self.writers[k](self.dropout(x) if k else x, first[None].contiguous())
            found.append(x)
        return x, torch.cat(found, dim=2)

    def _looked(self, states: Tensor, *seen: Read) -> Tensor:
        """Map states [rows, new, hidden] by what they look at, whose parts are scored side by side, copying none."""
        asked = self.asked(states)
        shares = torch.softmax(torch.cat([asked @ one.transpose(1, 2) + away for one, away in seen], dim=2), dim=2)
        parts, begin = [], 0
        for one, _ in seen:
            parts.append(shares[..., begin : begin + one.shape[1]] @ one)
            begin += one.shape[1]
        out: Tensor = self.dropout(torch.tanh(self.mixed(torch.cat([sum(parts[1:], parts[0]), states], dim=2))))
        return out


@models.register("seq2seq-gru")
def seq2seq_gru(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=1, le=8192)] = 256,
    hidden: Annotated[int, Field(ge=1, le=8192)] = 256,
    layers: Annotated[int, Field(ge=1, le=8)] = 1,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
) -> nn.Module:
    """Return a recurrent network with attention that reads a text both ways and writes its answer.

    Args:
        inputs: texts with their answers.
        outputs: the next token at every token.
        size: numbers a token's vector.
        hidden: units of each layer that reads (each way) and writes.
        layers: one above the other, of those that read and of those that write.
        dropout: share of numbers dropped in training, 0 to 1.

    Raises:
        InputError: rows are no pairs of texts.
    """
    _, separator = pairs(inputs, "seq2seq-gru")
    return RecurrentSeq2Seq(outputs.width, separator, size=size, hidden=hidden, layers=layers, dropout=dropout)
