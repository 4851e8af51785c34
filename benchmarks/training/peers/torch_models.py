"""The two models as a PyTorch user writes them; Bedplate's `cnn` and `mlp` have the same layers and parameters."""

from __future__ import annotations

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
