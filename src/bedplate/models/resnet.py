"""The residual network for small images: three stages of 3×3 basic blocks.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 (CIFAR-10): 6n+2 layers, widths
16-32-64, identity shortcuts where the map keeps its size, 1×1 convolutions (option B) or padding (A) where not.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.models.registry import ImageInput, Inputs, Outputs, models, only


class PaddedShortcut(nn.Module):
    """The parameter-free shortcut (option A): every second pixel, and zeros for the channels that are new."""

    def __init__(self, channels: int, units: int, stride: int) -> None:
        super().__init__()
        self.stride, self.before, self.after = stride, (units - channels) // 2, (units - channels + 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, channels, H, W] to [rows, units, H / stride, W / stride]."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class StochasticDepth(nn.Module):
    """Drop a block's branch for whole rows while training, and scale what is kept (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with the share `rate` of its rows zeroed and the others divided by 1 − rate."""
        if not self.training or not self.rate:
            return x
        kept = torch.rand((len(x), 1, 1, 1), device=x.device) >= self.rate
        return x * (kept / (1 - self.rate)).to(x.dtype)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + bn(conv(relu(bn(conv(x)))))); the shortcut changes the shape where the block does."""

    def __init__(self, channels: int, units: int, stride: int, shortcut: str, drop: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, units, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        self.depth = StochasticDepth(drop)
        if (stride != 1 or channels != units) and shortcut == "pad":
            self.shortcut = PaddedShortcut(channels, units, stride)
        elif stride != 1 or channels != units:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, units, 1, stride, bias=False), nn.BatchNorm2d(units))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, channels, H, W] to [rows, units, H / stride, W / stride]."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(self.depth(inner) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Stem, stages of basic blocks (each later stage halves the map), global average pooling, dense."""

    def __init__(
        self, channels: int, widths: list[int], blocks: int, out: int, dropout: float, shortcut: str, depth_drop: float
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        stages: list[nn.Module] = []
        before, total = widths[0], len(widths) * blocks
        for k, units in enumerate(widths):
            stage: list[nn.Module] = []
            for block in range(blocks):
                drop = depth_drop * (k * blocks + block + 1) / total  # the deeper, the likelier (equation 4)
                stage.append(BasicBlock(before, units, 2 if k and block == 0 else 1, shortcut, drop))
                before = units
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = nn.Linear(before, out)

    def forward(self, image: Tensor) -> Tensor:
        """Map [rows, channels, height, width] to scores [rows, width]."""
        out: Tensor = self.head(self.dropout(self.stages(self.stem(image)).mean((2, 3))))
        return out


@models.register("resnet")
def resnet(
    inputs: Inputs,
    outputs: Outputs,
    *,
    depth: Annotated[int, Field(ge=8)] = 20,
    widths: list[Annotated[int, Field(ge=1)]] = [16, 32, 64],  # noqa: B006 - read only
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    shortcut: Literal["convolution", "pad"] = "convolution",
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> nn.Module:
    """Return the residual network of He et al. for small images.

    Args:
        inputs: images only.
        outputs: classes or a number.
        depth: layers, 2 + 2 · stages · n (for three stages: 8, 14, 20, 32, 44, 56 …).
        widths: channels of each stage.
        dropout: share dropped before the output layer.
        shortcut: where the shape changes: a 1×1 convolution (option B), or "pad" with zero channels (option A).
        stochastic_depth: chance that the last block is skipped for a row while training; the first block's is near 0.
    """
    only(inputs, ImageInput, "resnet")
    assert isinstance(inputs, ImageInput)
    per_block = 2 * len(widths)
    if (depth - 2) % per_block:
        near = 2 + per_block * max(1, round((depth - 2) / per_block))
        raise InputError(
            "no such depth",
            where="model.depth",
            expected=f"2 + {per_block}·n",
            received=str(depth),
            hint=f"the nearest is {near}",
        )
    return ResNet(inputs.channels, widths, (depth - 2) // per_block, outputs.width, dropout, shortcut, stochastic_depth)
