from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bedplate.compression.narrow import importance, inherit, narrower, widths_of
from bedplate.models import Network, build
from bedplate.models.registry import ImageInput, Outputs, TableInput

IMAGE = ImageInput(12, 12, 1, (0.0,), (1.0,))
TABLE = TableInput(3, (4, 5), ((0.0, 1.0), (0.5, 2.0), (-1.0, 1.0)))


def made(name: str, arguments: dict[str, Any], seed: int = 0) -> Network:
    return build(name, arguments, TABLE if name == "mlp" else IMAGE, Outputs(3), seed).eval()


def features(name: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    if name == "mlp":
        return [torch.randn(6, 3, generator=generator), torch.randint(0, 4, (6, 2), generator=generator)]
    return [torch.randint(0, 256, (6, 12, 12, 1), dtype=torch.uint8, generator=generator)]


def test_widths_are_read_and_rounded() -> None:
    assert widths_of("cnn", {}) == {"widths": [32, 64, 64], "dense": [64]}
    found = narrower("cnn", {"batch_norm": True, "dense": [10]}, 0.25)
    assert found == {"batch_norm": True, "widths": [8, 16, 16], "dense": [4]}
    assert narrower("mlp", {"hidden": [4]}, 0.5) is None
    assert narrower("linear", {}, 0.5) is None
    assert narrower("mlp", {"hidden": [3]}, 0.9) is None  # never wider than it was
    with pytest.raises(ValueError, match="between 0 and 1"):
        narrower("cnn", {}, 1.0)


@pytest.mark.parametrize(
    ("name", "wide", "narrow"),
    [
        ("cnn", {"widths": [8, 12], "dense": [16]}, {"widths": [4, 8], "dense": [8]}),
        ("cnn", {"widths": [8, 12], "dense": [], "batch_norm": True}, {"widths": [4, 8], "dense": [], "batch_norm": True}),
        ("mlp", {"hidden": [16, 12]}, {"hidden": [8, 4]}),
        ("mlp", {"hidden": [16], "batch_norm": True, "wide": True}, {"hidden": [8], "batch_norm": True, "wide": True}),
    ],
)  # fmt: skip
def test_channels_that_give_nothing_are_those_that_go(name: str, wide: dict, narrow: dict) -> None:
    original, student = made(name, wide), made(name, narrow, 1)
    layers = [m for m in original.body.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    sizes = [len(m.weight) for m in student.body.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in original.body.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if "batch_norm" in wide:  # statistics that aren't the ones of a new network
        for k, norm in enumerate(norms):
            assert norm.running_mean is not None
            norm.running_mean.copy_(torch.linspace(-1, 1, len(norm.running_mean)) + k)
    chosen = np.random.default_rng(3)
    widened = 0
    with torch.no_grad():
        for layer, size in zip(layers, sizes, strict=True):
            dead = chosen.permutation(len(layer.weight))[size:]
            if not len(dead):
                continue
            layer.weight[dead] = 0
            if layer.bias is not None:
                layer.bias[dead] = 0
            if norms:
                norm = norms[widened]
                norm.weight[dead], norm.bias[dead] = 0, 0
            widened += 1
    assert widened
    assert inherit(original.body, student.body)
    inputs = features(name)
    with torch.no_grad():
        torch.testing.assert_close(student(*inputs), original(*inputs), atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in original.parameters())


def test_a_network_that_is_no_chain_starts_afresh() -> None:
    wide, narrow = made("resnet", {"depth": 8, "widths": [8, 8, 8]}), made("resnet", {"depth": 8, "widths": [4, 4, 4]})
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    assert not inherit(wide.body, narrow.body)
    assert all(torch.equal(before[name], tensor) for name, tensor in narrow.state_dict().items())


def test_importance_is_the_sum_of_absolute_weights() -> None:
    weight = torch.tensor([[[[1.0, -2.0]]], [[[0.5, 0.0]]]])
    assert importance(weight).tolist() == [3.0, 0.5]
