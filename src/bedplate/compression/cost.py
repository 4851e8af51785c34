"""What a network costs: multiplications a row, and parameters, counted from its exported graph; and what weights cost.

Each weight of a convolution or dense layer is multiplied once a position of its output, and each of a recurrent layer
once a step, so a layer's multiply-accumulates are its weight's size times its positions, and stay so whatever is
removed of the weight. An embedding is looked up, not multiplied: its numbers count as parameters alone. Products of two
activations, such as attention's scores, hold no weight and aren't counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bedplate.compression.channel_spaces import argument_of, operation_of, shape_of
from bedplate.compression.channels import sample_tensors, trace
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError
from bedplate.models import Network

_WEIGHTS = {f"aten::conv{k}d": "weight" for k in (1, 2, 3)} | {
    "aten::linear": "weight", "aten::matmul": "other", "aten::mm": "mat2",
}  # fmt: skip
"""Operations that are counted, and the argument that is their weight."""
_RECURRENT = frozenset({"aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"})
"""Operations that multiply all their matrices once a step."""


@dataclass(frozen=True)
class Cost:
    """Counts of one network.

    Attributes:
        macs: multiply-accumulates of one row, of convolutions, recurrent layers and products with a parameter.
        parameters: numbers that training may move.
        layers: multiply-accumulates by weight (qualified name).
        positions: how often each such weight is multiplied for one row: an image's output pixels, a text's tokens
            in the sample, 1 for a dense layer.
    """

    macs: int
    parameters: int
    layers: Mapping[str, int]
    positions: Mapping[str, int]


def macs_and_parameters(network: Network, sample: Arrays) -> Cost:
    """Count a network's multiply-accumulates and parameters.

    Args:
        network: any.
        sample: features of a row or more.

    Raises:
        InputError: the network's graph can't be drawn.
    """
    tensors = sample_tensors(network, sample)
    program = trace(network, tensors)
    names = program.graph_signature.inputs_to_parameters
    shapes = {name: parameter.shape for name, parameter in network.named_parameters(remove_duplicate=False)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    positions: dict[str, int] = {}
    for node in program.graph.nodes:
        if operation_of(node) in _RECURRENT:
            for name in (names.get(weight.name, "") for weight in argument_of(node, "params")):
                if name and len(shapes[name]) > 1:
                    steps = shape_of(argument_of(node, "input"))
                    assert steps is not None
                    positions[name] = positions.get(name, 0) + steps[0] * steps[1] // len(tensors[0])
            continue
        wanted = _WEIGHTS.get(operation_of(node))
        weight = argument_of(node, wanted) if wanted else None
        name = names.get(getattr(weight, "name", ""))
        shape = shape_of(node)
        if name is None or shape is None:
            continue
        channel = 1 if "conv" in operation_of(node) else len(shape) - 1
        times = math.prod(size for k, size in enumerate(shape) if k != channel) // len(tensors[0])
        positions[name] = positions.get(name, 0) + times
    layers = {name: sizes[name] * times for name, times in positions.items()}
    return Cost(sum(layers.values()), sum(p.numel() for p in network.parameters()), layers, positions)


def prices(
    network: Network,
    cost: Cost,
    of: Literal["macs", "parameters", "time", "cost"],
    times: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return what each number of a weight costs, by qualified name.

    Args:
        network: whose weights they are.
        cost: of the network.
        of: multiply-accumulates; parameters; the time of the weight's layer; or half the time and half the parameters,
            each as a share of the whole ("cost"), which is the parameters alone where no layer takes a time that can be
            measured.
        times: by weight, what its layer takes (`layer_times`); needed for "time" and "cost".
    """
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    if of == "macs":
        return {name: float(positions) for name, positions in cost.positions.items()}
    if of == "parameters":
        return dict.fromkeys(sizes, 1.0)
    known = {name: time for name, time in (times or {}).items() if name in sizes}
    whole = sum(known.values())
    if not whole and of == "cost":  # layers too small for a clock: what is left is what they hold
        return dict.fromkeys(sizes, 1.0)
    if not whole:
        raise InputError("no layer takes a time that can be measured", hint="ask for a share of macs or parameters")
    slow = {name: time / whole / sizes[name] for name, time in known.items()}
    if of == "time":
        return slow
    every = sum(sizes.values())
    return {name: slow.get(name, 0.0) / 2 + 0.5 / every for name in sizes}
