"""A temporal convolutional network: causal convolutions that look back twice as far in every block.

Source: Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling", section 3.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.models.registry import Inputs, Outputs, forecast_of, models


class CausalBlock(nn.Module):
    """Two convolutions that see no later step, each followed by ReLU and dropout, beside a shortcut."""

    def __init__(self, channels: int, units: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.first = nn.Conv1d(channels, units, kernel, dilation=dilation)
        self.second = nn.Conv1d(units, units, kernel, dilation=dilation)
        self.shortcut = nn.Conv1d(channels, units, 1) if channels != units else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, channels, length] to [rows, units, length]."""
        inner = self.dropout(torch.relu(self.first(functional.pad(x, (self.past, 0)))))
        inner = self.dropout(torch.relu(self.second(functional.pad(inner, (self.past, 0)))))
        return torch.relu(inner + self.shortcut(x))


class TemporalConvolutions(nn.Module):
    """The past, less its last step → causal blocks → the last step's channels → linear, plus the last step.

    With a calendar, it stands beside the channels before the linear map.
    """

    def __init__(
        self, columns: int, horizon: int, calendar: int, *, units: int, blocks: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.horizon, self.columns = horizon, columns
        widths = [columns, *[units] * blocks]
        self.blocks = nn.Sequential(*(CausalBlock(widths[k], units, kernel, 2**k, dropout) for k in range(blocks)))
        self.head = nn.Linear(units + calendar, horizon * columns)

    def forward(self, history: Tensor, calendar: Tensor | None = None) -> Tensor:
        """Map [rows, length, columns] to [rows, horizon · columns], a step's columns side by side."""
        last = history[:, -1:, :]
        seen = self.blocks((history - last).transpose(1, 2))[:, :, -1]
        if calendar is not None:
            seen = torch.cat([seen, calendar], dim=1)
        future = self.head(seen).reshape(-1, self.horizon, self.columns) + last
        out: Tensor = future.flatten(1)
        return out


@models.register("tcn")
def tcn(
    inputs: Inputs,
    outputs: Outputs,
    *,
    units: Annotated[int, Field(ge=1, le=4096)] = 32,
    blocks: Annotated[int, Field(ge=1, le=16)] | None = None,
    kernel: Annotated[int, Field(ge=2, le=64)] = 3,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Return a temporal convolutional network.

    Args:
        inputs: series.
        outputs: a forecast.
        units: channels of every block.
        blocks: left out: as many as it takes to see the whole past.
        kernel: steps that a convolution sees.
        dropout: share dropped after each convolution.
    """
    series, horizon, columns = forecast_of(inputs, outputs, "tcn")
    if blocks is None:  # two convolutions a block: 1 + 2 (kernel - 1) (2^blocks - 1) steps are seen
        blocks = next(k for k in range(1, 17) if k == 16 or 1 + 2 * (kernel - 1) * (2**k - 1) >= series.length)
    return TemporalConvolutions(
        columns, horizon, series.calendar, units=units, blocks=blocks, kernel=kernel, dropout=dropout
    )
