from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression.flow import steps_of
from bedplate.compression.fold_batch_norm import fold_batch_norm
from bedplate.models import ImageInput, Network, Outputs, build, predictor, to_tensors

SMALL = ImageInput(12, 12, 3, (120.0,) * 3, (60.0,) * 3)


def settled(network: Network, features: dict[str, np.ndarray]) -> Network:
    """The network with batch normalisations whose numbers are none of a new one's."""
    draw = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            for tensor in (module.weight, module.bias):
                tensor.data.copy_(torch.rand(tensor.shape, generator=draw) * 2 - 0.7)
    network.train()
    for _ in range(3):
        network(*to_tensors(network, features))
    return network.eval()


def norms(network: Network) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "inputs", "arguments"),
    [
        ("cnn", SMALL, {"widths": [8, 12], "batch_norm": True, "dropout": 0.3}),
        ("resnet", SMALL, {"depth": 8, "widths": [4, 8, 8]}),
        ("resnet", SMALL, {"depth": 8, "widths": [4, 8, 8], "shortcut": "pad", "stochastic_depth": 0.2}),
        ("mlp", SAMPLES["a table"], {"hidden": [16, 8], "batch_norm": True, "wide": True, "activation": "gelu"}),
    ],
)
def test_it_answers_alike_without_a_batch_normalisation(name: str, inputs: Any, arguments: dict[str, Any]) -> None:
    features = sample_features(inputs, rows=24)
    network = settled(build(name, arguments, inputs, Outputs(3), 0), features)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert norms(network) > 0
    assert norms(folded) == 0
    with torch.no_grad():
        wanted = network(*to_tensors(network, features))
        torch.testing.assert_close(folded(*to_tensors(folded, features)), wanted, atol=1e-5, rtol=1e-5)
        assert wanted.std() > 0.01
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    assert not folded.training
    again = fold_batch_norm(folded)
    np.testing.assert_array_equal(*(predictor(one)(features)["probabilities"] for one in (again, folded)))


class Odd(nn.Module):
    """A layer that is used twice, one whose result goes to more than its normalisation, and a normalisation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.shared = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.after_shared, self.first = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.bare, self.after_bare = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3, affine=False)
        self.head = nn.Linear(3, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.twice(self.twice(self.first(image)))
        y = self.shared(x)
        y = self.after_bare(self.bare(self.after_shared(y) + y))
        out: Tensor = self.head(y.mean((2, 3)))
        return out


def test_only_what_a_layer_alone_feeds_is_folded() -> None:
    features = sample_features(SMALL, rows=24)
    network = settled(Network(Odd(), SMALL, Outputs(3)), features)
    folded = fold_batch_norm(network)
    assert norms(folded) == 2
    assert isinstance(folded.body.after_bare, nn.Identity)  # type: ignore[union-attr]
    np.testing.assert_allclose(
        predictor(folded)(features)["probabilities"], predictor(network)(features)["probabilities"], atol=1e-5
    )
    steps = steps_of(network)
    assert "body.twice" not in steps
    assert set(steps) == {"body.shared", "body.bare", "body.head"}


def test_how_a_residual_networks_layers_follow_each_other() -> None:
    network = build("resnet", {"depth": 8, "widths": [4, 8, 8]}, SMALL, Outputs(3), 0)
    training = network.training
    steps = steps_of(fold_batch_norm(network))
    assert network.training == training
    assert list(steps)[:2] == ["body.stem.0", "body.stages.0.0.conv1"]
    first, inner, last = (steps[f"body.{name}"] for name in ("stem.0", "stages.0.0.conv1", "stages.0.0.conv2"))
    assert (first.only_layers, first.relu) == (False, True)  # the sum of the first block takes it, too
    assert (inner.only_layers, inner.relu, inner.source) == (True, True, "body.stem.0")
    assert (last.only_layers, last.relu, last.source) == (False, False, "body.stages.0.0.conv1")
    assert steps["body.stages.1.0.shortcut.0"].source is None  # what comes of a sum is no layer's
    assert not steps["body.head"].only_layers
    assert copy.copy(steps["body.stem.0"]).norm is None
