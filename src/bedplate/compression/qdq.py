"""Put quantisation into a float graph: int8 weights, and QuantizeLinear and DequantizeLinear around its layers.

The result means what the pairs say, and ONNX Runtime computes each layer between them in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bedplate.compression.affine import Affine, quantise_by, quantise_weight
from bedplate.compression.int8_weights import channel_axes
from bedplate.core.errors import GateError, listing
from bedplate.export import finish

_ORDER_KEEPING = ("Relu", "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
_LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class QuantisedNode:
    """How one convolution or dense layer is quantised.

    Attributes:
        weight: the name of its constant weight.
        levels: the largest int8 weight.
        input: of what comes in.
        output: of what goes out; None: stays in float here.
    """

    weight: str
    levels: int
    input: Affine
    output: Affine | None


class _Graph:
    """A graph that is being quantised: what stands before and after each node, and what was made already."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.axes = channel_axes(model)
        self.before: dict[int, list[onnx.NodeProto]] = {}
        self.after: dict[int, list[onnx.NodeProto]] = {}
        self.first: list[onnx.NodeProto] = []
        self.dropped: set[int] = set()
        self.pairs: dict[tuple[str, Affine], str] = {}

    def users(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that take a tensor."""
        return [node for node in self.nodes if tensor in node.input and id(node) not in self.dropped]

    def is_output(self, tensor: str) -> bool:
        return tensor in {value.name for value in self.graph.output}

    def constant(self, name: str, array: np.ndarray) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def pair(self, tensor: str, result: str, by: Affine) -> list[onnx.NodeProto]:
        """Return the two nodes that round `tensor` to `result`."""
        scale = self.constant(f"{result}/scale", np.asarray(by.scale, np.float32))
        zero = self.constant(f"{result}/zero", np.asarray(by.zero, by.dtype))
        return [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{result}/q"], name=f"{result}/quantise"),
            helper.make_node("DequantizeLinear", [f"{result}/q", scale, zero], [result], name=f"{result}/dequantise"),
        ]

    def rounded(self, tensor: str, by: Affine, node: onnx.NodeProto) -> str:
        """Return the name of a tensor's rounded numbers, made before `node` where no earlier node made them."""
        key = (tensor, by)
        if key not in self.pairs:
            self.pairs[key] = f"{tensor}/rounded{len(self.pairs)}"
            self.before.setdefault(id(node), []).extend(self.pair(tensor, self.pairs[key], by))
        return self.pairs[key]

    def round_output(self, node: onnx.NodeProto, by: Affine) -> None:
        """Round what a node gives; a ReLU that alone takes it, and that cuts off what the range does, goes."""
        tensor = node.output[0]
        node.output[0] = f"{tensor}/sum"
        result, users = tensor, self.users(tensor)
        if by.zero == by.low and len(users) == 1 and users[0].op_type == "Relu" and not self.is_output(tensor):
            self.dropped.add(id(users[0]))
            result = users[0].output[0]
        self.after[id(node)] = self.pair(node.output[0], result, by)


def insert_qdq(model: onnx.ModelProto, layers: Sequence[QuantisedNode]) -> onnx.ModelProto:
    """Return the graph with these layers quantised.

    Raises:
        GateError: a layer isn't there.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    work = _Graph(model)
    found = {node.input[1]: node for node in work.nodes if len(node.input) > 1 and node.input[1] in work.axes}
    lost = [layer.weight for layer in layers if layer.weight not in found]
    if lost:
        raise GateError("the exported graph lacks layers of the network", expected=listing(lost))
    for layer in layers:
        if layer.output is not None:
            work.round_output(found[layer.weight], layer.output)
    for layer in layers:
        node = found[layer.weight]
        _hoist(work, node.input[0], layer.input)
        _weights(work, node, layer)
        node.input[0] = work.rounded(node.input[0], layer.input, node)
    nodes = list(work.first)
    for node in work.nodes:
        if id(node) not in work.dropped:
            nodes += [*work.before.get(id(node), []), node, *work.after.get(id(node), [])]
    used = {name for node in nodes for name in node.input}
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensor for name, tensor in work.constants.items() if name in used)
    return finish(model)


def _weights(work: _Graph, node: onnx.NodeProto, layer: QuantisedNode) -> None:
    """Put int8 weights, and an int32 bias in steps of input scale · weight scale, in the place of a node's floats."""
    weight, axis = numpy_helper.to_array(work.constants[layer.weight]), work.axes[layer.weight]
    small, scale = quantise_weight(weight, layer.levels, axis)
    bias = node.input[2] if len(node.input) == 3 else None
    if bias is not None:
        numbers = numpy_helper.to_array(work.constants[bias])
        least = (np.abs(numbers) / (layer.input.scale * _LARGEST_BIAS)).astype(np.float32)
        if (least > scale).any():  # a channel of hardly any weight, whose bias would be too many of its steps
            scale = np.maximum(scale, least)
            small = quantise_by(weight, scale, layer.levels, axis)
        steps = layer.input.scale * scale
        name = f"{layer.weight}/bias"
        work.first.append(_dequantised(work, name, np.rint(numbers / steps).astype(np.int32), steps, 0))
        node.input[2] = name
    name = f"{layer.weight}/rounded"
    work.first.append(_dequantised(work, name, small, scale, axis))
    node.input[1] = name


def _dequantised(work: _Graph, name: str, integers: np.ndarray, scale: np.ndarray, axis: int) -> onnx.NodeProto:
    inputs = [work.constant(f"{name}/q", integers), work.constant(f"{name}/scale", scale.astype(np.float32))]
    inputs.append(work.constant(f"{name}/zero", np.zeros(scale.shape, integers.dtype)))
    return helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}/dequantise", axis=axis)


def _hoist(work: _Graph, tensor: str, by: Affine) -> None:
    """Round already what the layer before gives, where only a ReLU, a maximum or another form lies between.

    Rounding never changes an order, so it may come before or after a maximum; with a range from 0 on it does what a
    ReLU does. Only a convolution whose own result is rounded is computed in integers.
    """
    producers = {node.output[0]: node for node in work.nodes}
    relus: list[onnx.NodeProto] = []
    between, name = 0, tensor
    while name in producers and producers[name].op_type in _ORDER_KEEPING:
        node = producers[name]
        if len(work.users(name)) != 1 or work.is_output(name) or (node.op_type == "Relu" and by.zero != by.low):
            return
        relus += [node] if node.op_type == "Relu" else []
        between, name = between + 1, node.input[0]
    source = producers.get(name)
    if source is None or source.op_type != "Conv" or not between or id(source) in work.after:
        return
    if len(work.users(name)) != 1:
        return
    source.output[0] = f"{name}/sum"
    work.after[id(source)] = work.pair(source.output[0], name, by)
    for node in relus:
        work.dropped.add(id(node))
    for node in relus:
        for other in work.users(node.output[0]):
            for k, given in enumerate(other.input):
                if given == node.output[0]:
                    other.input[k] = node.input[0]
