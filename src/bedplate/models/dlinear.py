"""Linear maps from the past to the future, of trend and season apart.

Source: Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?", section 4 (DLinear, NLinear).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.models.registry import Inputs, Outputs, forecast_of, models


class PastToFuture(nn.Module):
    """One linear map from `length` steps to `horizon`, shared by all columns or one for each; begins as their mean."""

    def __init__(self, length: int, horizon: int, columns: int, own: bool) -> None:
        super().__init__()
        maps = columns if own else 1
        self.weight = nn.Parameter(torch.full((maps, length, horizon), 1.0 / length))
        self.bias = nn.Parameter(torch.zeros(maps, 1, horizon))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, columns, length] to [rows, columns, horizon]."""
        if len(self.weight) == 1:
            return functional.linear(x, self.weight[0].T, self.bias[0, 0])
        found: Tensor = torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)
        return found


class DLinear(nn.Module):
    """trend (a moving average) → linear, plus what is left → linear; or all of it, less its last step → linear.

    With a calendar, plus a linear map of it for every step and column.
    """

    def __init__(
        self, length: int, horizon: int, columns: int, calendar: int, *, window: int, own: bool, anchor: str
    ) -> None:
        super().__init__()
        self.window, self.anchor, self.horizon = window, anchor, horizon
        self.season = PastToFuture(length, horizon, columns, own)
        self.trend = PastToFuture(length, horizon, columns, own) if window > 1 else None
        self.calendar = calendar_map(calendar, horizon * columns)

    def forward(self, history: Tensor, calendar: Tensor | None = None) -> Tensor:
        """Map [rows, length, columns] to [rows, horizon · columns], a step's columns side by side."""
        x = history.transpose(1, 2)
        last = x[:, :, -1:]
        if self.anchor == "last":
            x = x - last
        if self.trend is None:
            found = self.season(x)
        else:
            before, after = (self.window - 1) // 2, self.window // 2
            padded = torch.cat([x[:, :, :1].repeat(1, 1, before), x, x[:, :, -1:].repeat(1, 1, after)], dim=2)
            trend = functional.avg_pool1d(padded, self.window, 1)
            found = self.trend(trend) + self.season(x - trend)
        if self.anchor == "last":
            found = found + last
        out: Tensor = found.transpose(1, 2).flatten(1)
        return out if self.calendar is None else out + self.calendar(calendar)


def calendar_map(features: int, outputs: int) -> nn.Linear | None:
    """Return a linear map from a moment's features to what is added to a forecast, 0 at first; None: no features."""
    if not features:
        return None
    found = nn.Linear(features, outputs, bias=False)
    nn.init.zeros_(found.weight)
    return found


@models.register("dlinear")
def dlinear(
    inputs: Inputs,
    outputs: Outputs,
    *,
    window: Annotated[int, Field(ge=1, le=10_000)] = 25,
    own: bool = False,
    anchor: Literal["none", "last"] = "none",
) -> nn.Module:
    """Return linear maps from the past to the future.

    Args:
        inputs: series.
        outputs: a forecast.
        window: steps of the moving average that is the trend; 1: no trend of its own.
        own: a map for each column, not one for all.
        anchor: "last" forecasts how far the future lies from the last step (NLinear, with window 1).
    """
    series, horizon, columns = forecast_of(inputs, outputs, "dlinear")
    return DLinear(series.length, horizon, columns, series.calendar, window=window, own=own, anchor=anchor)
