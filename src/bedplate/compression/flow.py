"""How a network's layers follow each other: read from torch.export's graph, so it holds for any model that exports."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from bedplate.core.arrays import take
from bedplate.export.parity import edge_features
from bedplate.models import Network, to_tensors

_LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_RELU = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
_ORDER_KEEPING = (
    *_RELU,
    torch.ops.aten.max_pool2d.default,
    torch.ops.aten.dropout.default,  # which does nothing where it counts, in evaluation
    torch.ops.aten.view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.flatten.using_ints,
)
"""Operations that give numbers of those that they take, or 0: what was on a grid of integers stays on it."""


@dataclass(frozen=True)
class Step:
    """One Conv2d or Linear that is used once.

    Attributes:
        name: of the module (dotted).
        source: the convolution or dense layer whose numbers it gets, through operations that keep them on a grid.
        only_layers: whether its numbers, through such operations, go to layers of this kind and nowhere else.
        relu: whether a ReLU alone takes what it gives.
        norm: the name of the batch normalisation that alone takes what it gives.
    """

    name: str
    source: str | None
    only_layers: bool
    relu: bool
    norm: str | None


def steps_of(network: Network) -> dict[str, Step]:
    """Return the network's convolutions and dense layers in evaluation, by name, in the order of their use.

    Left out are those that are used more than once, and those whose padding isn't of zeros.
    """
    still = copy.deepcopy(network).eval()
    example = take(edge_features(network.inputs), slice(0, 3))
    with warnings.catch_warnings():  # a recurrent layer's own list of weights, in a copy that is thrown away
        warnings.filterwarnings("ignore", "The tensor attributes")
        program = torch.export.export(still, tuple(to_tensors(still, example)))
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    modules = dict(still.named_modules())
    layers: dict[fx.Node, str] = {}
    for node in program.graph.nodes:
        if node.target in _LAYERS and isinstance(node.args[1], fx.Node) and len(node.args[1].users) == 1:
            name = names.get(node.args[1].name, "").rpartition(".")[0]
            if _plain(modules.get(name)):
                layers[node] = name
    return {
        name: Step(
            name, _source(node, layers), all(_ends(user, node, layers) for user in node.users),
            len(node.users) == 1 and next(iter(node.users)).target in _RELU, _norm(node, names),
        )
        for node, name in layers.items()
    }  # fmt: skip


def _plain(module: nn.Module | None) -> bool:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.padding_mode == "zeros")


def _source(node: fx.Node, layers: Mapping[fx.Node, str]) -> str | None:
    before = node.args[0]
    while isinstance(before, fx.Node) and before not in layers and before.target in _ORDER_KEEPING:
        before = before.args[0]
    return layers.get(before) if isinstance(before, fx.Node) else None


def _ends(user: fx.Node, given: fx.Node, layers: Mapping[fx.Node, str]) -> bool:
    if user in layers:
        return user.args[0] is given
    return user.target in _ORDER_KEEPING and bool(user.users) and all(_ends(u, user, layers) for u in user.users)


def _norm(node: fx.Node, names: Mapping[str, str]) -> str | None:
    if len(node.users) != 1:
        return None
    user = next(iter(node.users))
    if user.target is not torch.ops.aten.batch_norm.default or user.args[0] is not node:
        return None
    mean = user.args[3]
    once = isinstance(mean, fx.Node) and len(mean.users) == 1
    return names[mean.name].rpartition(".")[0] if once and isinstance(mean, fx.Node) else None
