"""What tests of structure share: networks, rows, and the proof that a changed network comes back from its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.structure import Change, restructure
from bedplate.core.arrays import Arrays
from bedplate.export import export_network
from bedplate.export.parity import check_parity
from bedplate.models import Network, build, predictor, to_tensors
from bedplate.models.registry import ImageInput, Inputs, Outputs, TableInput

IMAGE = ImageInput(12, 12, 3, (120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
TABLE = TableInput(3, (4, 5), ((0.0, 1.0), (0.5, 2.0), (-1.0, 1.0)))
CLASSES = 3


def made(name: str, arguments: dict[str, Any] | None = None, *, inputs: Inputs | None = None, seed: int = 0) -> Network:
    """Build a network whose weights are all random, batch statistics too."""
    network = build(name, arguments or {}, inputs or (TABLE if name == "mlp" else IMAGE), Outputs(CLASSES), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    assert tensor is not None
                    tensor.copy_(0.2 + 0.3 * torch.randn(tensor.shape, generator=generator))
                assert module.running_var is not None
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return network.eval()


def rows(inputs: Inputs, count: int = 40, seed: int = 5) -> Arrays:
    """Return random features."""
    draw = np.random.default_rng(seed)
    if isinstance(inputs, ImageInput):
        return {"image": draw.integers(0, 256, (count, inputs.height, inputs.width, inputs.channels), dtype=np.uint8)}
    assert isinstance(inputs, TableInput)
    found: dict[str, np.ndarray] = {"numeric": draw.normal(size=(count, inputs.numeric)).astype(np.float32)}
    if inputs.categories:
        found["categories"] = draw.integers(0, np.array(inputs.categories), (count, len(inputs.categories)))
    return found


@torch.no_grad()
def scores(network: Network, features: Arrays) -> torch.Tensor:
    """Return a network's raw scores."""
    found: torch.Tensor = network(*to_tensors(network, features))
    return found


def check_rebuilt(
    original: Network,
    name: str,
    arguments: dict[str, Any],
    changed: Network,
    changes: Sequence[Change],
    *,
    export: bool = True,
) -> None:
    """A changed network comes back from its model's name, its changes as JSON and its weights, and exports alike."""
    features = rows(original.inputs)
    fresh = build(name, arguments, original.inputs, original.outputs, 7)
    again = restructure(fresh, json.loads(json.dumps(changes))).eval()
    again.load_state_dict(changed.state_dict(), strict=True)
    assert torch.equal(scores(again, features), scores(changed, features))
    if not export:  # takes seconds
        return
    graph = export_network(changed, features).SerializeToString()
    check_parity(changed, predictor(changed), OnnxPredict(graph, variant="changed", threads=1), features)
