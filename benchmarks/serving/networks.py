"""ResNet-18 written out, with random weights whose activations keep their scale, as an ONNX file."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 1000
SIZE = 224


class Block(nn.Module):
    """Two 3×3 convolutions and the way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.around = nn.Identity()
        if stride != 1 or inside != outside:
            self.around = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, outside, height / stride, width / stride)."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.around(x))


def resnet18() -> nn.Sequential:
    """Return the network: (rows, 3, 224, 224) normalised colours to (rows, 1000) logits."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inside = 64
    for outside, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inside, outside, stride), Block(outside, outside, 1)]
        inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


def write(path: Path) -> None:
    """Write the network to an ONNX file that takes any number of rows."""
    torch.manual_seed(0)
    network = resnet18()
    with torch.no_grad():  # running statistics of some random images, so that no layer explodes or dies
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        network.train()(torch.randn(8, 3, SIZE, SIZE))
        last = network[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(8.0)  # answers that differ between images, as a trained network's do
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.randn(2, 3, SIZE, SIZE),), str(path), dynamo=True, external_data=False, verbose=False,
            input_names=["pixels"], output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("rows")},),
        )  # fmt: skip


if __name__ == "__main__":
    write(Path(sys.argv[1]))
