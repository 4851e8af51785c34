"""The transformer of an encoder and a decoder: a text is read both ways, and its answer written token by token."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.models.dropout import Dropout
from bedplate.models.encoder_decoder import EncoderDecoder, pairs
from bedplate.models.registry import Inputs, Outputs, TextInput, models
from bedplate.models.text_layers import AWAY
from bedplate.models.transformer_encoder import Block as EncoderBlock
from bedplate.models.transformer_encoder import check_heads

Seen = tuple[Tensor, Tensor, Tensor]
"""Keys and values [rows, heads, length, size], and what is added to the scores of each, very negative where nothing
may be seen."""


def waves(length: int, size: int) -> Tensor:
    """Return a vector a place [length, size]: sines and cosines (Vaswani et al. 2017, section 3.5)."""
    angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :size]


class Attention(nn.Module):
    """Scaled dot-product attention of several heads (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.asked, self.known, self.mixed = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [rows, length, width] to keys and values [rows, heads, length, size]."""
        rows, length, width = x.shape
        key, value = self.known(x).reshape(rows, length, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return key, value

    def forward(self, x: Tensor, *seen: Seen) -> Tensor:
        """Map [rows, length, width] by what it sees, whose parts are scored side by side, so that none is copied."""
        rows, length, width = x.shape
        query = self.asked(x).reshape(rows, length, self.heads, width // self.heads).transpose(1, 2)
        query = query / math.sqrt(query.shape[-1])
        scores = [query @ keys.transpose(2, 3) + away for keys, _, away in seen]
        shares = torch.softmax(torch.cat(scores, dim=-1), dim=-1)
        parts, begin = [], 0
        for _, values, _ in seen:
            parts.append(shares[..., begin : begin + values.shape[2]] @ values)
            begin += values.shape[2]
        out: Tensor = self.mixed(sum(parts[1:], parts[0]).transpose(1, 2).reshape(rows, length, width))
        return out


class DecoderBlock(nn.Module):
    """Attention to what is written, attention to what was read, and a wider dense layer.

    Each is normalised before, beside a shortcut. Vaswani et al. 2017, section 3.1; normalised as Xiong et al. 2020.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between, self.behind = (nn.LayerNorm(width) for _ in range(3))
        self.own, self.read = Attention(width, heads), Attention(width, heads)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, own: list[Seen], away: Tensor, memory: list[Seen]) -> tuple[Tensor, Tensor, Tensor]:
        """Map [rows, new, width] behind `own`, with `away` among what is new; also return the new keys and values."""
        normal = self.before(x)
        keys, values = self.own.keys_values(normal)
        x = x + self.dropout(self.own(normal, *own, (keys, values, away)))
        x = x + self.dropout(self.read(self.between(x), *memory))
        x = x + self.dropout(self.narrow(functional.gelu(self.wide(self.behind(x)))))
        return x, keys, values


class Seq2Seq(EncoderDecoder):
    """Transformer blocks that read both ways, and blocks that write and look at what was read."""

    places: Tensor

    def __init__(
        self, inputs: TextInput, width: int, separator: int, *, size: int, heads: int, encoder: int, decoder: int,
        hidden: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__(width, size, separator)
        self.length, self.layers = inputs.length, decoder
        self.register_buffer("places", waves(inputs.length, size), persistent=False)
        self.dropout = Dropout(dropout)
        self.encoder = nn.ModuleList(EncoderBlock(size, heads, dropout, hidden=hidden) for _ in range(encoder))
        self.decoder = nn.ModuleList(DecoderBlock(size, heads, hidden, dropout) for _ in range(decoder))
        self.read, self.after = nn.LayerNorm(size), nn.LayerNorm(size)
        for name, weight in [*self.encoder.named_parameters(), *self.decoder.named_parameters()]:
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        shape = (heads, -1, size // heads)
        names = ("memory_keys", "memory_values", "keys", "values")
        self.past = {"source": (-1,)} | {f"{name}_{layer}": shape for layer in range(decoder) for name in names}

    def encode(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Map tokens to [rows, length, size]."""
        x = self._embedded(tokens, torch.arange(tokens.shape[1], device=tokens.device)[None])
        away = (1.0 - source)[:, None, None] * AWAY
        for block in self.encoder:
            x = block(x, away)
        out: Tensor = self.read(x)
        return out

    def decode(self, tokens: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Map tokens to [rows, new, size], none of which sees what comes later."""
        new = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x = self._embedded(tokens, new)
        later = (new.transpose(0, 1) < new).to(torch.float32)[None, None] * AWAY
        hidden = (1.0 - source)[:, None, None] * AWAY
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            x, _, _ = block(x, [], later, [(*block.read.keys_values(memory), hidden)])
        return x

    def scores(self, states: Tensor) -> Tensor:
        """Map states [..., size] to a score for every token that may follow."""
        return super().scores(self.after(states))

    def step(self, tokens: Tensor, length: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Go on behind a past: see `registry.Stepwise`. A text and its separator are read at once."""
        own = length.to(torch.int64)[:, None]
        read, written = self.parts(tokens, own)
        source = read.to(torch.float32)
        begin = (past[0].sum(1, keepdim=True) + source.sum(1, keepdim=True)).to(torch.int64) - 1
        new = torch.arange(tokens.shape[1], device=tokens.device)[None]
        before = torch.arange(past[0].shape[1], device=tokens.device)[None]
        memory = self.encode(tokens, source)
        x = self._embedded(tokens, own + new - begin)
        mine = ((before < own) & (before >= begin)).to(torch.float32)
        later = (new.transpose(0, 1) < new).to(torch.float32)
        away = torch.maximum(later[None], (1.0 - written.to(torch.float32))[:, None])[:, None] * AWAY
        unread = [(1.0 - part)[:, None, None] * AWAY for part in (past[0], source)]
        present = [source]
        for layer, block in enumerate(self.decoder):
            assert isinstance(block, DecoderBlock)
            keys, values, own_keys, own_values = past[1 + 4 * layer : 5 + 4 * layer]
            fresh = block.read.keys_values(memory)
            seen = [(keys, values, unread[0]), (*fresh, unread[1])]
            x, new_keys, new_values = block(x, [(own_keys, own_values, (1.0 - mine)[:, None, None] * AWAY)], away, seen)
            present += [*fresh, new_keys, new_values]
        return self.scores(x) * written.to(torch.float32)[:, :, None], present

    def _embedded(self, tokens: Tensor, places: Tensor) -> Tensor:
        scaled = self.tokens(tokens) * math.sqrt(self.tokens.embedding_dim)
        out: Tensor = self.dropout(scaled + self.places[places.clamp(min=0, max=self.length - 1)])
        return out


@models.register("seq2seq")
def seq2seq(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=2, le=8192)] = 256,
    heads: Annotated[int, Field(ge=1, le=128)] = 8,
    encoder: Annotated[int, Field(ge=1, le=96)] = 3,
    decoder: Annotated[int, Field(ge=1, le=96)] = 3,
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 512,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Return a transformer that reads a text with an encoder and writes its answer with a decoder.

    Args:
        inputs: texts with their answers.
        outputs: the next token at every token.
        size: numbers a token's vector; a multiple of `heads`.
        heads: of attention, in each block.
        encoder: blocks that read.
        decoder: blocks that write.
        hidden: of each block's dense layer.
        dropout: share of numbers dropped in training, 0 to 1.

    Raises:
        InputError: the size is no multiple of the heads, or rows are no pairs of texts.
    """
    texts, separator = pairs(inputs, "seq2seq")
    check_heads(size, heads)
    return Seq2Seq(
        texts, outputs.width, separator, size=size, heads=heads, encoder=encoder, decoder=decoder,
        hidden=hidden, dropout=dropout,
    )  # fmt: skip
