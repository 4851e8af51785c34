"""The models as a PyTorch user writes them; Bedplate's of the same names have the same layers and parameters."""

from __future__ import annotations

import torch
from protocol import LENGTH, VOCABULARY
from torch import nn


def cnn() -> nn.Module:
    """Convolutions 32-64-64 with pooling, dense 64: 93,322 parameters, input float [rows, 1, 28, 28]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def mlp(width: int) -> nn.Module:
    """Dense 256-128 with dropout 0.1."""
    return nn.Sequential(
        nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(128, 2),
    )  # fmt: skip


def mean_of_own(values, own):
    """Return the mean over the positions that aren't padding, [rows, width]."""
    return (values * own[:, :, None]).sum(1) / own.sum(1, keepdim=True).clamp(min=1.0)


class Lstm(nn.Module):
    """Vectors of 100 numbers, an LSTM of 128 units each way, mean, linear: 3,236,034 parameters."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, 100, padding_idx=0)
        self.lstm = nn.LSTM(100, 128, batch_first=True, bidirectional=True)
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(256, 2)

    def forward(self, tokens):
        own = (tokens != 0).float()
        x = self.dropout(self.tokens(tokens))
        return self.head(self.dropout(mean_of_own(self.lstm(x)[0], own)))


class Encoder(nn.Module):
    """Two blocks of 128 numbers with four heads, normalised before each part, mean, linear: 4,288,258 parameters."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, 128, padding_idx=0), nn.Embedding(LENGTH, 128)
        block = nn.TransformerEncoderLayer(128, 4, 512, 0.2, "gelu", batch_first=True, norm_first=True)
        block.dropout = nn.Identity()  # Bedplate's has none between the two dense layers
        self.blocks = nn.TransformerEncoder(block, 2, norm=nn.LayerNorm(128), enable_nested_tensor=False)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(128, 2)

    def forward(self, tokens):
        own = tokens != 0
        x = self.dropout(self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))[None])
        return self.head(self.dropout(mean_of_own(self.blocks(x, src_key_padding_mask=~own), own.float())))
