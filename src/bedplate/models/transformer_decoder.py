"""The transformer's decoder: at every token, scores of what comes next from those before it (GPT-like)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.models.dropout import Dropout
from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import AWAY

Positions = Literal["rotary", "learnt"]
Activation = Literal["gelu", "gelu-tanh"]


class Rotation(nn.Module):
    """Turn queries and keys by an angle that grows with their place, so that products tell how far apart they stand.

    Su et al. 2021, "RoFormer", section 3.2.2, with the two halves of a head as the pairs.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines of places [rows, length]: [rows, 1, length, size / 2] each."""
        return self.cos[places][:, None], self.sin[places][:, None]


def turned(x: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
    """Map [rows, heads, length, size], turned by `angles`; None leaves it as it is."""
    if angles is None:
        return x
    cos, sin = (part.to(x.dtype) for part in angles)
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


class Block(nn.Module):
    """Causal self-attention and a dense layer of four times the width, each after normalisation, beside a shortcut.

    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
    """

    def __init__(self, width: int, heads: int, dropout: float, activation: Activation = "gelu") -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.approximate = "tanh" if activation == "gelu-tanh" else "none"
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = Dropout(dropout)

    def parts(self, x: Tensor, angles: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each [rows, heads, length, width / heads]."""
        rows, length, width = x.shape
        asked = self.asked(self.before(x)).reshape(rows, length, 3, self.heads, width // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        return turned(query, angles), turned(key, angles), value

    def after(self, x: Tensor, seen: Tensor) -> Tensor:
        """Put what was seen [rows, heads, length, size] beside the shortcut, and the dense layer behind it."""
        x = x + self.dropout(self.mixed(seen.transpose(1, 2).reshape(x.shape)))
        dense = functional.gelu(self.wide(self.between(x)), approximate=self.approximate)
        out: Tensor = x + self.dropout(self.narrow(dense))
        return out

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
        """Map [rows, length, width]; nothing was before."""
        query, key, value = self.parts(x, angles)
        rate = self.rate if self.training else 0.0
        return self.after(x, functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=rate))

    def step(
        self, x: Tensor, angles: tuple[Tensor, Tensor] | None, past: tuple[Tensor, Tensor], away: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map [rows, new, width] behind a past of keys and values [rows, heads, past, size].

        The past and what is new are scored side by side, so that neither is copied. `away` is added to the scores of
        each, very negative where nothing may be seen. Also returns the new keys and values.
        """
        query, key, value = self.parts(x, angles)
        query = query / math.sqrt(query.shape[-1])
        scores = [query @ keys.transpose(2, 3) + bias for keys, bias in zip((past[0], key), away, strict=True)]
        shares = torch.softmax(torch.cat(scores, dim=-1), dim=-1)
        before = past[0].shape[2]
        seen = shares[..., :before] @ past[1] + shares[..., before:] @ value
        return self.after(x, seen), key, value


class TransformerDecoder(nn.Module):
    """tokens (and places) → blocks → normalisation → products with the tokens' own vectors."""

    def __init__(
        self,
        inputs: TextInput,
        width: int,
        *,
        size: int,
        heads: int,
        layers: int,
        dropout: float,
        positions: Positions,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.length, self.layers, self.shift = inputs.length, layers, inputs.shift
        self.tokens = nn.Embedding(width, size)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.places: nn.Embedding | None = None
        self.rotation: Rotation | None = None
        if positions == "learnt":
            self.places = nn.Embedding(inputs.length, size)
            nn.init.normal_(self.places.weight, std=0.02)
        else:
            self.rotation = Rotation(inputs.length, size // heads)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(size, heads, dropout, activation) for _ in range(layers))
        self.after = nn.LayerNorm(size)
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:
                # Radford et al. 2019, section 2.3: shortcuts add up, so what joins them begins smaller.
                ends = name.endswith(("mixed.weight", "narrow.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if ends else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        self.past = {
            f"{part}_{layer}": (heads, -1, size // heads) for layer in range(layers) for part in ("keys", "values")
        }

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, length, vocabulary] of what follows each token."""
        places = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x, angles = self._begin(tokens, places)
        for block in self.blocks:
            x = block(x, angles)
        return self._scores(x)

    def step(self, tokens: Tensor, length: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Go on behind a past: see `registry.Stepwise`. It answers as `forward` does of all tokens at once."""
        own = length.to(torch.int64)[:, None]
        new = torch.arange(tokens.shape[1], device=tokens.device)
        x, angles = self._begin(tokens, own + new[None])
        unseen = (torch.arange(past[0].shape[2], device=tokens.device)[None] >= own).to(torch.float32)
        later = (new[None] > new[:, None]).to(torch.float32)
        away = unseen[:, None, None] * AWAY, later[None, None] * AWAY
        present: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, keys, values = block.step(x, angles, (past[2 * layer], past[2 * layer + 1]), away)
            present += [keys, values]
        return self._scores(x), present

    def _begin(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        places = places.clamp(max=self.length - 1)  # what stands beyond is padding, at which nobody looks
        x = self.tokens(tokens)
        if self.places is not None:
            x = x + self.places(places)
        return self.dropout(x), None if self.rotation is None else self.rotation.at(places)

    def _scores(self, x: Tensor) -> Tensor:
        scores = functional.linear(self.after(x), self.tokens.weight)
        if not self.shift:
            return scores
        # What a tokenizer of others doesn't have is never next; a vector of zeros would make it the likeliest.
        return torch.cat([torch.full_like(scores[..., : self.shift], AWAY), scores[..., self.shift :]], dim=-1)


@models.register("transformer-decoder")
def transformer_decoder(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=2, le=8192)] = 128,
    heads: Annotated[int, Field(ge=1, le=128)] = 4,
    layers: Annotated[int, Field(ge=1, le=96)] = 4,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    positions: Positions = "rotary",
    activation: Activation = "gelu",
) -> nn.Module:
    """Return a transformer's decoder for texts, whose scores are products with the tokens' own vectors.

    Args:
        inputs: texts.
        outputs: the next token at every token.
        size: numbers a token's vector; a multiple of `heads`.
        heads: of attention, in each block.
        layers: blocks, one above the other.
        dropout: share of numbers dropped in training, 0 to 1.
        positions: rotary (angles between queries and keys) or learnt (a vector a place).
        activation: of the dense layers; gelu-tanh is GPT-2's approximation of it.

    Raises:
        InputError: the size is no multiple of the heads, or with rotary positions of twice the heads.
    """
    only(inputs, TextInput, "transformer-decoder")
    assert isinstance(inputs, TextInput)
    step = heads * (2 if positions == "rotary" else 1)
    if size % step:
        raise InputError(
            f"the size must be a multiple of {'twice ' if step > heads else ''}the heads", where="model.size",
            expected=f"such as {step * (size // step or 1)}", received=f"size {size}, heads {heads}",
        )  # fmt: skip
    return TransformerDecoder(
        inputs, outputs.width, size=size, heads=heads, layers=layers, dropout=dropout, positions=positions,
        activation=activation,
    )  # fmt: skip
