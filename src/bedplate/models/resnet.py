"""The residual network for small images: three stages of 3×3 basic blocks.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 (CIFAR-10): 6n+2 layers, widths
16-32-64, parameter-free shortcuts where the map keeps its size, 1×1 convolutions where it changes (option B).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.models.registry import ImageInput, Inputs, Outputs, models, only


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), with a 1×1 convolution on x where the shape changes."""

    def __init__(self, channels: int, units: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, units, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != units:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, units, 1, stride, bias=False), nn.BatchNorm2d(units))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, channels, H, W] to [rows, units, H / stride, W / stride]."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(inner + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Stem, stages of basic blocks (each later stage halves the map), global average pooling, dense."""

    def __init__(self, channels: int, widths: list[int], blocks: int, out: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        stages: list[nn.Module] = []
        before = widths[0]
        for k, units in enumerate(widths):
            for block in range(blocks):
                stages.append(BasicBlock(before, units, 2 if k and block == 0 else 1))
                before = units
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
) -> nn.Module:
    """Return the residual network of He et al. for small images.

    Args:
        inputs: images only.
        outputs: classes or a number.
        depth: layers, 2 + 2 · stages · n (for three stages: 8, 14, 20, 32, 44, 56 …).
        widths: channels of each stage.
        dropout: share dropped before the output layer.
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
    return ResNet(inputs.channels, widths, (depth - 2) // per_block, outputs.width, dropout)
