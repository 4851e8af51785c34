from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compression.structures import check_rebuilt, made, rows, scores
from torch import nn

from bedplate.compression.layers import rank_layers, removable_layers, remove_layers
from bedplate.compression.structure import restructure
from bedplate.core.errors import BundleError, InputError
from bedplate.models import Network, predictor

ARGUMENTS = {"depth": 14, "widths": [8, 8, 12]}
RESNET = made("resnet", ARGUMENTS)
FEATURES = rows(RESNET.inputs)


def answers(network: Network) -> np.ndarray:
    return np.asarray(predictor(network)(FEATURES)["probabilities"])


def test_blocks_that_keep_the_shape_can_go() -> None:
    found = removable_layers(RESNET, FEATURES)
    assert {"body.stages.0", "body.stages.0.0", "body.stages.0.1", "body.stages.1.1", "body.stages.2.1"} <= set(found)
    assert {"body", "body.stages", "body.stages.1.0", "body.stages.2.0", "body.stem", "body.head"}.isdisjoint(found)
    assert not any("bn" in name or "relu" in name for name in found)
    assert removable_layers(made("linear"), FEATURES) == []
    assert removable_layers(made("mlp", {"hidden": [8, 8]}), rows(made("mlp").inputs)) == ["body.hidden.3"]


def test_what_stands_around_a_gap_still_learns() -> None:
    """Activations of the models here work in place: two in a row would spoil each other's gradient."""
    network = made("cnn", {"widths": [8, 8, 8], "padding": "same"})
    smaller, _ = remove_layers(network, ["body.features.6"])
    image = torch.from_numpy(rows(network.inputs)["image"])
    smaller(image).sum().backward()
    assert smaller.body.features[0].weight.grad.abs().sum() > 0


def test_looking_leaves_no_trace() -> None:
    network = made("resnet", {"depth": 8}).train()
    mean = network.body.stem[1].running_mean.clone()
    removable_layers(network, FEATURES)
    assert network.training
    assert torch.equal(mean, network.body.stem[1].running_mean)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_block_that_adds_nothing_is_not_missed() -> None:
    network = made("resnet", ARGUMENTS)
    with torch.no_grad():
        network.body.stages[1][1].bn2.weight.zero_()
        network.body.stages[1][1].bn2.bias.zero_()
    names = ["body.stages.0.1", "body.stages.1.1", "body.stages.2.1"]
    ranked = rank_layers(network, names, answers)
    assert ranked[0] == ("body.stages.1.1", 0.0)
    assert ranked[1][1] > 0
    assert [value for _, value in ranked] == sorted(value for _, value in ranked)
    without, _ = remove_layers(network, ["body.stages.1.1"])
    assert torch.equal(scores(without, FEATURES), scores(network, FEATURES))


def test_what_is_left_comes_back_from_json_and_is_exported() -> None:
    names = ["body.stages.0.1", "body.stages.2.1"]
    without, changes = remove_layers(RESNET, names)
    assert changes == [{"change": "removed", "layer": name} for name in names]
    assert isinstance(without.body.stages[0][1], nn.Identity)
    assert not isinstance(RESNET.body.stages[0][1], nn.Identity)
    check_rebuilt(RESNET, "resnet", ARGUMENTS, without, changes)


@pytest.mark.parametrize("names", [["body.nowhere"], ["body.stages.0", "body.stages.0.1"]])
def test_layers_that_cannot_go(names: list[str]) -> None:
    with pytest.raises(InputError, match="can't be left out"):
        remove_layers(RESNET, names)


def test_a_change_that_does_not_fit() -> None:
    with pytest.raises(BundleError, match="doesn't fit"):
        restructure(made("linear"), [{"change": "removed", "layer": "body.stages.9"}])
