"""Fake quantisation in torch: numbers are rounded to what 8 bits hold while weights learn in float.

Backwards, rounding counts as the identity inside the range and as 0 outside: the straight-through estimator of Bengio,
Léonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons". The arithmetic is that of
`affine.py`, its plain twin. Jacob et al. 2018, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.compression.affine import TINY, Affine, affine

MOMENTUM = 0.99
"""Of the moving average of a batch's extremes (Jacob et al. 2018, section 3.1: close to 1)."""


def fake_quantise(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return x rounded to the 256 numbers of the range low ≤ 0 ≤ high, of the same shape, in float32."""
    x = x.float()
    scale = (high - low).clamp_min(TINY) / 255
    zero = torch.round(-low / scale).clamp(0, 255)
    inside = torch.maximum(torch.minimum(x, (255 - zero) * scale), -zero * scale)
    rounded = ((torch.round(x / scale) + zero).clamp(0, 255) - zero) * scale
    return inside + (rounded - inside).detach()


def fake_quantise_weight(weight: Tensor, levels: int) -> Tensor:
    """Return the weight [out, …] rounded to ±levels steps, whose size each output channel's largest weight sets."""
    others = tuple(range(1, weight.ndim))
    scale = weight.detach().abs().amax(others, keepdim=True).clamp_min(TINY) / levels
    rounded = torch.round(weight / scale).clamp(-levels, levels) * scale
    return weight + (rounded - weight).detach()


class FakeQuantise(nn.Module):
    """Round what passes to uint8 in a range that follows the batches' extremes while training.

    Args:
        positive: whether a ReLU alone comes next: the range then begins at 0, and cuts off what the ReLU would.
    """

    low: Tensor
    high: Tensor

    def __init__(self, *, positive: bool = False) -> None:
        super().__init__()
        self.positive, self.calibrating = positive, False
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded numbers; while `calibrating`, widen the range and return them as they are."""
        if self.training or self.calibrating:
            self._follow(x.detach().float())
        return x if self.calibrating else fake_quantise(x, self.low, self.high)

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        low = torch.zeros_like(self.low) if self.positive else x.min().clamp_max(0)
        high = x.max().clamp_min(0)
        if self.calibrating:
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
        else:
            self.low.lerp_(low, 1 - MOMENTUM)
            self.high.lerp_(high, 1 - MOMENTUM)

    def affine(self) -> Affine:
        """Return the learned quantisation."""
        return affine(float(self.low), float(self.high))


class QuantisedLayer(nn.Module):
    """A Conv2d or Linear whose weights and input are rounded to 8 bits; its parameters keep their names.

    Attributes:
        input: rounds what comes in; None where it comes rounded from the layer called `source`.
        output: rounds what goes out, where that doesn't go to such layers alone.
    """

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, levels: int, source: str | None, output: FakeQuantise | None
    ) -> None:
        super().__init__()
        self.weight, self.bias, self.levels, self.source = layer.weight, layer.bias, levels, source
        self.input = FakeQuantise() if source is None else None
        self.output = output
        self.settings: dict[str, Any] | None = None
        if isinstance(layer, nn.Conv2d):
            names = ("stride", "padding", "dilation", "groups")
            self.settings = {name: getattr(layer, name) for name in names}

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer gives, from rounded numbers."""
        x = x if self.input is None else self.input(x)
        weight = fake_quantise_weight(self.weight, self.levels)
        if self.settings is None:
            found = functional.linear(x, weight, self.bias)
        else:
            found = functional.conv2d(x, weight, self.bias, **self.settings)
        return found if self.output is None else self.output(found)

    def plain(self) -> nn.Conv2d | nn.Linear:
        """Return the layer without rounding, with the same parameters."""
        layer: nn.Conv2d | nn.Linear
        if self.settings is None:
            layer = nn.Linear(self.weight.shape[1], len(self.weight), bias=self.bias is not None)
        else:
            channels = self.weight.shape[1] * self.settings["groups"]
            size = tuple(self.weight.shape[2:])
            layer = nn.Conv2d(channels, len(self.weight), size, bias=self.bias is not None, **self.settings)  # type: ignore[arg-type]
        layer.weight, layer.bias = self.weight, self.bias
        return layer
