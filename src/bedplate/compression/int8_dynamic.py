"""Dynamic int8 quantisation of dense layers, one scale a row.

Weights are stored in int8 with one scale an output unit. At run time each row of activations gets its own scale, so a
row's answer does not depend on which rows share its batch; ONNX Runtime's own dynamic quantisation takes one range for
the whole batch, and a served answer would then change with the traffic.

    y[i, j] = s_i · t_j · Σ_k q(x[i, k] / s_i) · q(w[k, j] / t_j) + b_j,   s_i = max_k |x[i, k]| / 127

Source: Dettmers et al. 2022, "LLM.int8()", section 2.1 (vector-wise quantisation).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bedplate.compression.affine import quantise_weight
from bedplate.compression.isa import types_for
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays
from bedplate.export import finish


def quantise_columns(weight: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 weights [in, out] in ±levels and their scales [out], so that weight ≈ int8 · scale."""
    return quantise_weight(weight, levels, axis=1)


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _dense(
    node: onnx.NodeProto, weight: np.ndarray, levels: int, prefix: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes and constants that stand for one dense layer."""
    x, y = node.input[0], node.output[0]
    quantised, scale = quantise_columns(weight, levels)
    constants = [numpy_helper.from_array(quantised, f"{prefix}/w"), numpy_helper.from_array(scale, f"{prefix}/t")]

    def name(part: str) -> str:
        return f"{prefix}/{part}"

    def make(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name=output, **attributes)

    nodes = [
        make("Abs", [x], name("abs")),
        make("ReduceMax", [name("abs"), "int8/axis"], name("max"), keepdims=1),
        make("Max", [name("max"), "int8/tiny"], name("peak")),
        make("Div", [name("peak"), "int8/127"], name("s")),
        make("Div", [x, name("s")], name("ratio")),
        make("Round", [name("ratio")], name("rounded")),
        make("Add", [name("rounded"), "int8/128"], name("shifted")),
        make("Cast", [name("shifted")], name("x8"), to=onnx.TensorProto.UINT8),
        make("MatMulInteger", [name("x8"), name("w"), "int8/zero"], name("sum")),
        make("Cast", [name("sum")], name("float"), to=onnx.TensorProto.FLOAT),
        make("Mul", [name("float"), name("s")], name("rows")),
    ]
    bias = node.input[2] if node.op_type == "Gemm" and len(node.input) == 3 else None
    nodes.append(make("Mul", [name("rows"), name("t")], name("scaled") if bias else y))
    if bias:
        nodes.append(make("Add", [name("scaled"), bias], y))
    return nodes, constants


@methods.register("int8-dynamic")
def int8_dynamic(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with its dense layers (Gemm, and MatMul by a constant matrix) in int8. Needs no calibration."""
    del features
    model = onnx.ModelProto.FromString(model.SerializeToString())
    levels = types_for(cpu).levels
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    for index, node in enumerate(model.graph.node):
        weight = weights.get(node.input[1]) if node.op_type in ("Gemm", "MatMul") else None
        plain = node.op_type == "MatMul" or (
            _attribute(node, "alpha", 1.0) == 1.0
            and _attribute(node, "beta", 1.0) == 1.0
            and not _attribute(node, "transA", 0)
        )
        if weight is None or not plain or len(weight.dims) != 2:
            nodes.append(node)
            continue
        matrix = numpy_helper.to_array(weight)
        matrix = matrix.T if node.op_type == "Gemm" and _attribute(node, "transB", 0) else matrix
        new, constants = _dense(node, matrix, levels, f"int8/{index}")
        nodes += new
        added += constants
    if added:
        for name, value in (
            ("axis", np.array([-1])),
            ("tiny", np.float32(1e-12)),
            ("127", np.float32(127)),
            ("128", np.float32(128)),
            ("zero", np.uint8(128)),
        ):
            added.append(numpy_helper.from_array(np.asarray(value), f"int8/{name}"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return finish(model)
