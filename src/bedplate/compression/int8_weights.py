"""Weights stored in 8 bits with one scale an output channel; activations and arithmetic stay in float.

    w[c] ≈ s_c · q[c],   s_c = max |w_c| / 127

It needs no calibration rows, and its answers don't depend on the processor's 8-bit arithmetic. Krishnamoorthi 2018,
"Quantizing deep convolutional networks for efficient inference", section 3.1.

The floats are made again by Cast and Mul, which ONNX Runtime computes once, as it loads the graph: a row then takes the
time and memory that it takes in f32. DequantizeLinear would say the same, but isn't folded: it runs for each request,
and a convolution whose weights aren't constant loses its packed layout. Measured for one row on one thread: 1.9× the
latency of f32 for a small cnn, 2.0× for a resnet of 8 layers, 1.6× for an mlp (onnxruntime 1.31.1, x86 with VNNI).
"""

from __future__ import annotations

import math

import onnx
from onnx import helper, numpy_helper

from bedplate.compression.affine import along, quantise_weight
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays
from bedplate.export import finish

OVERHEAD = 300
"""Bytes that two nodes, their names and the scales' header take; a weight that saves no more stays as it is."""


def channel_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the axis of the output channels of each constant weight of a Conv, Gemm or MatMul, by name."""
    constant = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    found: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in constant:
            continue
        weight = node.input[1]
        transposed = any(a.name == "transB" and helper.get_attribute_value(a) for a in node.attribute)
        if constant[weight] >= 2:
            found.setdefault(weight, 0 if node.op_type == "Conv" or transposed else constant[weight] - 1)
    return found


def stored_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Return `channel_axes`, each embedding's rows, and each gate's units in the weights of recurrent layers, by name.

    Those are only stored: no arithmetic on 8 bits is made of them.
    """
    sizes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    found = channel_axes(model)
    for node in model.graph.node:
        if node.op_type == "Gather" and sizes.get(node.input[0]) == 2:
            found.setdefault(node.input[0], 0)
        if node.op_type in ("GRU", "LSTM", "RNN"):  # [ways, gates · units, size]
            for name in node.input[1:3]:
                if sizes.get(name) == 3:
                    found.setdefault(name, 1)
    return found


def only_stored(model: onnx.ModelProto) -> float:
    """Return the share of a graph's numbers that lie in embeddings and recurrent layers.

    No arithmetic on 8 bits takes those, so that the methods which compute in int8 leave them in float.
    """
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    names = stored_axes(model).keys() - channel_axes(model).keys()
    stored = sum(sizes[name] for name in names)
    return float(stored / max(1, sum(sizes.values())))


@methods.register("int8-weights")
def int8_weights(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with its embeddings and the weights of its convolutions, dense and recurrent layers in int8."""
    del features, cpu
    model = onnx.ModelProto.FromString(model.SerializeToString())
    axes = stored_axes(model)
    nodes: list[onnx.NodeProto] = []
    scales: list[onnx.TensorProto] = []
    for tensor in model.graph.initializer:
        axis = axes.get(tensor.name)
        if axis is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        weight, name = numpy_helper.to_array(tensor), tensor.name
        if 3 * weight.size <= 4 * weight.shape[axis] + OVERHEAD:
            continue
        small, scale = quantise_weight(weight, 127, axis)
        tensor.CopyFrom(numpy_helper.from_array(small, f"{name}/int8"))
        scales.append(numpy_helper.from_array(along(scale, weight.ndim, axis), f"{name}/scale"))
        nodes += [
            helper.make_node(
                "Cast", [f"{name}/int8"], [f"{name}/steps"], name=f"{name}/cast", to=onnx.TensorProto.FLOAT
            ),
            helper.make_node("Mul", [f"{name}/steps", f"{name}/scale"], [name], name=f"{name}/scaled"),
        ]
    model.graph.initializer.extend(scales)
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return finish(model)
