"""The transformer's encoder over a text's tokens, for classification."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.models.dropout import Dropout, attention
from bedplate.models.registry import Inputs, Outputs, TextInput, models, only
from bedplate.models.text_layers import AWAY, Embedding, MaskedMean, known


class Block(nn.Module):
    """Self-attention and a wider dense layer, each beside a shortcut and normalised before it, or after both.

    Vaswani et al. 2017, "Attention Is All You Need", section 3, who normalise after (`after`), as BERT does;
    normalisation before each part as Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture",
    figure 1b, which needs no warm-up.

    Args:
        width: numbers a token.
        heads: of attention.
        dropout: share dropped in training.
        hidden: of the dense layer; None is four times the width.
        epsilon: added to variances.
        after: normalise behind each shortcut.
    """

    def __init__(
        self, width: int, heads: int, dropout: float, *, hidden: int | None = None, epsilon: float = 1e-5,
        after: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.rate, self.after = heads, dropout, after
        hidden = hidden or 4 * width
        self.before, self.between = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        self.asked, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, away: Tensor) -> Tensor:
        """Map [rows, length, width]; `away` [rows, 1, 1, length] is added to the scores, very negative at padding."""
        if self.after:
            x = self.before(x + self.dropout(self._attended(x, away)))
            normal: Tensor = self.between(x + self.dropout(self._dense(x)))
            return normal
        x = x + self.dropout(self._attended(self.before(x), away))
        out: Tensor = x + self.dropout(self._dense(self.between(x)))
        return out

    def _attended(self, x: Tensor, away: Tensor) -> Tensor:
        rows, length, width = x.shape
        parts = self.asked(x).reshape(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        rate = self.rate if self.training else 0.0
        seen = attention(query, key, value, away, rate)
        out: Tensor = self.mixed(seen.transpose(1, 2).reshape(rows, length, width))
        return out

    def _dense(self, x: Tensor) -> Tensor:
        out: Tensor = self.narrow(functional.gelu(self.wide(x)))
        return out


def check_heads(size: int, heads: int) -> None:
    """Refuse a size that the heads can't share."""
    if size % heads:
        raise InputError(
            "the size must be a multiple of the heads", where="model.size",
            expected=f"such as {heads * (size // heads or 1)}", received=f"size {size}, heads {heads}",
        )  # fmt: skip


class TransformerEncoder(nn.Module):
    """tokens and places → blocks → normalisation → mean over the text's own tokens → linear."""

    def __init__(self, inputs: TextInput, width: int, *, size: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.tokens = Embedding(inputs.vocabulary, size, hidden=0.01)
        self.places = nn.Embedding(inputs.length, size)
        nn.init.normal_(self.places.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.after = nn.LayerNorm(size)
        self.mean = MaskedMean()
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(size, width)

    @property
    def vectors(self) -> Tensor:
        """The tokens' own vectors [vocabulary, size]."""
        return self.tokens.weight

    def states(self, tokens: Tensor) -> Tensor:
        """Return what the last block says of each token, normalised, [rows, length, size]."""
        # What stands beyond the longest row is padding: it gets the last place, and nobody looks at it.
        places = torch.arange(tokens.shape[1], device=tokens.device).clamp(max=self.places.num_embeddings - 1)
        x = self.dropout(self.tokens(tokens) + self.places(places)[None])
        away = (1.0 - known(tokens))[:, None, None, :] * AWAY
        for block in self.blocks:
            x = block(x, away)
        out: Tensor = self.after(x)
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores [rows, width]."""
        out: Tensor = self.head(self.dropout(self.mean(self.states(tokens), known(tokens))))
        return out


@models.register("transformer-encoder")
def transformer_encoder(
    inputs: Inputs,
    outputs: Outputs,
    *,
    size: Annotated[int, Field(ge=2, le=4096)] = 128,
    heads: Annotated[int, Field(ge=1, le=64)] = 4,
    layers: Annotated[int, Field(ge=1, le=48)] = 2,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
) -> nn.Module:
    """Return a transformer's encoder for texts.

    Args:
        inputs: texts.
        outputs: classes or a number.
        size: numbers a token's vector; a multiple of `heads`.
        heads: of attention, in each block.
        layers: blocks, one above the other.
        dropout: share of numbers dropped in training, 0 to 1.

    Raises:
        InputError: the size is no multiple of the heads.
    """
    only(inputs, TextInput, "transformer-encoder")
    assert isinstance(inputs, TextInput)
    check_heads(size, heads)
    return TransformerEncoder(inputs, outputs.width, size=size, heads=heads, layers=layers, dropout=dropout)
