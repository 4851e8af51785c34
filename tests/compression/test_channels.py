from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compression.structures import IMAGE, check_rebuilt, made, rows, scores
from torch import Tensor, nn

from bedplate.compression.channels import Group, channel_groups, prune_channels
from bedplate.compression.structure import restructure
from bedplate.core.errors import BundleError, InputError
from bedplate.models import Network, build
from bedplate.models.registry import Inputs, Outputs, models


class Separable(nn.Module):
    """A depthwise separable network: what a user might write."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.depth = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.point = nn.Conv2d(16, 12, 1)
        self.scale = nn.Parameter(torch.ones(1, 12, 1, 1))
        self.head = nn.Linear(12, out)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.depth(torch.relu(self.stem(image))))
        x = torch.relu(self.point(x) * self.scale)
        out: Tensor = self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


class Branches(nn.Module):
    """Two branches side by side, one of which is normalised in groups (which freezes it)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(channels, 8, 1)
        self.norm = nn.GroupNorm(2, 8)
        self.join = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, out)

    def forward(self, image: Tensor) -> Tensor:
        both = torch.cat([self.left(image).relu(), self.norm(self.right(image))], dim=1)
        out: Tensor = self.head(self.join(both).relu().mean((2, 3)))
        return out


class Stubborn(nn.Module):
    """Code that counts on a width: the graph looks like a flattened map, but the view is of a fixed size."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 8, 3, 4), nn.Linear(8 * 9, 16)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, out)

    def forward(self, image: Tensor) -> Tensor:
        flat = self.first(image).relu().reshape(-1, 8 * 9)
        out: Tensor = self.head(self.norm(self.second(flat)).relu())
        return out


class Tied(nn.Module):
    """One layer under two names, and a weight that is used twice."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, 8, 1)
        self.again = self.twice
        self.mix = nn.Parameter(torch.randn(8, 6))
        self.head = nn.Linear(6, out)

    def forward(self, image: Tensor) -> Tensor:
        x = self.again(self.twice(self.stem(image).relu()).relu()).relu()
        out: Tensor = self.head((x.mean((2, 3)) @ self.mix).relu())
        return out


PLUGINS = {"separable": Separable, "branches": Branches, "stubborn": Stubborn, "tied": Tied}


def _register(name: str, kind: type[nn.Module]) -> None:
    def model(inputs: Inputs, outputs: Outputs) -> nn.Module:
        return kind(inputs.channels, outputs.width)  # type: ignore[union-attr]

    model.__qualname__ = name
    models.register(f"test-{name}")(model)


for _name, _kind in PLUGINS.items():
    _register(_name, _kind)

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("cnn", {"widths": [8, 12], "dense": [16]}),
    ("cnn", {"widths": [8, 12], "dense": [], "batch_norm": True}),
    ("mlp", {"hidden": [16, 12], "batch_norm": True}),
    ("mlp", {"hidden": [16], "wide": True}),
    ("resnet", {"depth": 8, "widths": [8, 8, 12]}),
    ("resnet", {"depth": 8, "widths": [8, 12, 16], "shortcut": "pad"}),
    ("test-separable", {}),
    ("test-branches", {}),
    ("test-tied", {}),
]  # fmt: skip
EXPORTED = ("cnn-1", "resnet-5", "test-separable-6", "mlp-3")
IDS = [f"{name}-{k}" for k, (name, _) in enumerate(NETWORKS)]


def found(name: str, arguments: dict[str, Any], seed: int = 0) -> tuple[Network, list[Group]]:
    network = made(name, arguments, seed=seed)
    return network, channel_groups(network, rows(network.inputs))


@torch.no_grad()
def silence(network: Network, groups: list[Group], gone: dict[str, list[int]]) -> None:
    """Let channels be exactly 0 behind their activation: everything that makes them is 0."""
    state = network.state_dict()
    for group in groups:
        for part in group.parts:
            if not part.read and not part.tensor.endswith(("running_mean", "running_var")):
                index = part.index[gone[group.name]].ravel()
                state[part.tensor].index_fill_(part.axis, torch.from_numpy(index), 0)


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=IDS)
def test_channels_that_give_nothing_can_go(name: str, arguments: dict[str, Any]) -> None:
    network, groups = found(name, arguments)
    assert groups
    sizes = [group.width for group in groups]
    features = rows(network.inputs)
    before = {key: value.clone() for key, value in network.state_dict().items()}

    @given(st.tuples(*(st.sets(st.integers(0, size - 1), max_size=size - 1) for size in sizes)))
    @settings(deadline=None, max_examples=8)
    def holds(chosen: tuple[set[int], ...]) -> None:
        network.load_state_dict(before)
        gone = {group.name: sorted(some) for group, some in zip(groups, chosen, strict=True)}
        silence(network, groups, gone)
        wanted = scores(network, features)
        keep = {group.name: np.setdiff1d(np.arange(group.width), gone[group.name]) for group in groups}
        pruned, _ = prune_channels(network, groups, keep)
        torch.testing.assert_close(scores(pruned, features), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores(network, features), wanted, atol=0, rtol=0)  # the original stays

    holds()


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=IDS)
def test_what_is_left_comes_back_from_json_and_is_exported(name: str, arguments: dict[str, Any]) -> None:
    network, groups = found(name, arguments)
    keep = {group.name: range(0, group.width, 2) for group in groups}
    pruned, changes = prune_channels(network, groups, keep)
    assert [change["change"] for change in changes] == ["shapes"]
    count = [sum(p.numel() for p in one.parameters()) for one in (pruned, network)]
    assert count[0] < 0.85 * count[1]
    for module in pruned.modules():  # what modules say of themselves is true
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        if isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
    check_rebuilt(network, name, arguments, pruned, changes, export=IDS[NETWORKS.index((name, arguments))] in EXPORTED)


def held(groups: list[Group]) -> dict[str, int]:
    return {group.name.removeprefix("body."): group.width for group in groups}


def test_groups_of_the_registered_models() -> None:
    assert held(found("linear", {})[1]) == {}
    assert held(found("cnn", {"widths": [8, 12], "dense": [16]})[1]) == {
        "features.0": 8, "features.3": 12, "classifier.0": 16,
    }  # fmt: skip
    residual = found("resnet", {"depth": 8, "widths": [8, 12, 16]})[1]
    assert held(residual) == {
        "stem.0": 8, "stages.0.0.conv1": 8, "stages.1.0.conv1": 12, "stages.1.0.conv2": 12, "stages.2.0.conv1": 16,
        "stages.2.0.conv2": 16,
    }  # fmt: skip
    stem = next(group for group in residual if group.name == "body.stem.0")
    assert {"body.stages.0.0.conv2.weight", "body.stages.1.0.shortcut.0.weight"} <= {part.tensor for part in stem.parts}


def test_zeros_that_a_shortcut_pads_with_cannot_go_but_what_it_carries_can() -> None:
    groups = found("resnet", {"depth": 8, "widths": [8, 12, 16], "shortcut": "pad"})[1]
    assert held(groups) == {
        "stem.0": 8, "stages.0.0.conv1": 8, "stages.1.0.conv1": 12, "stages.2.0.conv1": 16,
    }  # fmt: skip
    carried = {part.tensor: part.index[:, 0].tolist() for part in groups[0].parts if part.axis == 0}
    assert carried["body.stages.1.0.conv2.weight"] == list(range(2, 10))
    assert carried["body.stages.2.0.conv2.weight"] == list(range(4, 12))


def test_plugins_are_pruned_as_far_as_they_are_understood() -> None:
    assert held(found("test-separable", {})[1]) == {"stem": 8, "point": 12}
    assert held(found("test-branches", {})[1]) == {"left": 8, "join": 8}  # `norm` freezes `right`
    assert held(found("test-tied", {})[1]) == {"mix": 6}


def test_code_that_counts_on_a_width_is_left_alone() -> None:
    network, groups = found("test-stubborn", {})
    assert held(groups) == {"second": 16}
    assert not groups[0].exact  # layer normalisation lets channels see each other
    pruned, changes = prune_channels(network, groups, {"body.second": range(5)})
    assert pruned.body.norm.normalized_shape == (5,)
    check_rebuilt(network, "test-stubborn", {}, pruned, changes)


def test_a_map_that_is_laid_flat_takes_its_pixels_along() -> None:
    network, groups = found("cnn", {"widths": [4, 6], "dense": [8]})
    flat = next(part for part in groups[1].parts if part.tensor == "body.classifier.0.weight")
    assert flat.index.tolist() == [list(range(36 * k, 36 * (k + 1))) for k in range(6)]
    pruned, _ = prune_channels(network, groups, {groups[1].name: [0, 5]})
    expected = network.body.classifier[0].weight[:, flat.index[[0, 5]].ravel()]
    assert torch.equal(pruned.body.classifier[0].weight, expected)


def test_nothing_removed_is_no_change() -> None:
    network, groups = found("mlp", {"hidden": [8]})
    same, changes = prune_channels(network, groups, {})
    assert changes == []
    assert torch.equal(scores(same, rows(network.inputs)), scores(network, rows(network.inputs)))


def test_channels_that_cannot_be_kept() -> None:
    network, groups = found("mlp", {"hidden": [8]})
    name = groups[0].name
    for keep in ({"elsewhere": [0]}, {name: []}, {name: [8]}, {name: [-1]}):
        with pytest.raises(InputError, match="no such channels"):
            prune_channels(network, groups, keep)


@pytest.mark.parametrize(
    "tensors",
    [
        {"body.head.weight": [3, 9]},
        {"body.head.weight": [3]},
        {"body.head.weight": [3, 0]},
        {"body.head.weight": [3, 2.0]},
        {"body.head.wieght": [3, 2]},
        {"body.tail.weight": [3, 2]},
        {"body.head.in_features": [1]},
    ],
)
def test_a_change_that_does_not_fit(tensors: dict[str, list[int]]) -> None:
    network = build("mlp", {"hidden": [8]}, made("mlp").inputs, Outputs(3), 0)
    with pytest.raises(BundleError, match="doesn't fit"):
        restructure(network, json.loads(json.dumps([{"change": "shapes", "tensors": tensors}])))


def test_a_graph_that_cannot_be_drawn() -> None:
    class Branching(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.mean((2, 3)) if image.sum() > 0 else image.amax((2, 3))

    network = Network(Branching(), IMAGE, Outputs(3))
    with pytest.raises(InputError, match="can't be drawn"):
        channel_groups(network, rows(IMAGE))
