"""What a table's codec learnt, as an ONNX pre-graph: raw columns in, features out.

The graph computes in float64 and casts to float32 last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.table_learning import CLIP, Learned, Scaled, Wave

_MISSING_CODE = -(2**40)
_STRANGE_CODE = -(2**41)


class _Graph:
    """Nodes and constants under construction; inner names begin with "table/" to stay clear of column names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"table/constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"table/{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def build(learned: Learned, tensors: Sequence[TensorSpec]) -> bytes:
    """Return the pre-graph as serialised ONNX (IR 10, opset 20, ai.onnx.ml 3).

    Inputs are the raw tensors ["rows"]; outputs are `numeric` (float32 [rows, F]) and `categories` (int64 [rows, C]).
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph()
    _numeric(graph, learned, tensors)
    _categories(graph, learned, tensors)
    kinds = {"float64": TensorProto.DOUBLE, "string": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(spec.name, kinds[spec.dtype], ["rows"]) for spec in tensors]
    outputs = [
        helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", learned.numeric]),
        helper.make_tensor_value_info("categories", TensorProto.INT64, ["rows", len(learned.categories)]),
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "table", inputs, outputs, graph.constants),
        ir_version=10,
        producer_name="bedplate",
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)],
    )
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _numeric(graph: _Graph, learned: Learned, tensors: Sequence[TensorSpec]) -> None:
    if learned.numeric == 0:
        _empty(graph, tensors[0].name, "numeric", np.float32)
        return
    one = graph.constant(np.array([1], np.int64))

    def columns(names: Sequence[str]) -> str:
        """The named tensors side by side, float64 [rows, names]."""
        return graph.add("Concat", *(graph.add("Unsqueeze", name, one) for name in names), axis=1)

    def filled(parts: Sequence[Scaled | Wave]) -> str:
        raw = columns([part.tensor for part in parts])
        fill = graph.constant(np.array([[part.fill for part in parts]]))
        return graph.add("Where", graph.add("IsNaN", raw), fill, raw)

    pieces = []
    if learned.scaled:
        value = filled(learned.scaled)
        logs = np.array([[item.log for item in learned.scaled]])
        if logs.any():
            units = graph.constant(np.where(logs > 0, logs, 1.0))
            size = graph.add("Div", graph.add("Abs", value), units)
            log = graph.add("Log", graph.add("Add", size, graph.constant(np.array([[1.0]]))))
            signed = graph.add("Mul", graph.add("Sign", value), log)
            value = graph.add("Where", graph.constant(logs > 0), signed, value)
        centred = graph.add("Sub", value, graph.constant(np.array([[item.mean for item in learned.scaled]])))
        standard = graph.add("Div", centred, graph.constant(np.array([[item.deviation for item in learned.scaled]])))
        limits = [graph.constant(np.array(limit)) for limit in (-CLIP, CLIP)]
        pieces.append(graph.add("Clip", standard, *limits))
    if learned.waves:
        turns = graph.constant(np.array([[2 * math.pi / wave.period for wave in learned.waves]]))
        angle = graph.add("Mul", filled(learned.waves), turns)
        pieces += [graph.add("Sin", angle), graph.add("Cos", angle)]
    if learned.missing:
        pieces.append(graph.add("Cast", graph.add("IsNaN", columns(learned.missing)), to=11))
    graph.add("Cast", graph.add("Concat", *pieces, axis=1), to=1, output="numeric")


def _categories(graph: _Graph, learned: Learned, tensors: Sequence[TensorSpec]) -> None:
    if not learned.categories:
        _empty(graph, tensors[0].name, "categories", np.int64)
        return
    one = graph.constant(np.array([1], np.int64))
    pieces = []
    for item in learned.categories:
        indices = list(range(2, len(item.values) + 2))
        if item.codes:
            source = _whole_number(graph, item.tensor)
            keys: dict[str, Any] = {"keys_int64s": [_MISSING_CODE, *item.values]}
        else:
            source, keys = item.tensor, {"keys_strings": ["", *item.values]}
        index = graph.add(
            "LabelEncoder", source, domain="ai.onnx.ml", values_int64s=[1, *indices], default_int64=0, **keys
        )
        pieces.append(graph.add("Unsqueeze", index, one))
    graph.add("Concat", *pieces, axis=1, output="categories")


def _whole_number(graph: _Graph, tensor: str) -> str:
    """The numbers of `tensor` as int64 for looking up: a code of its own for NaN, and for what lies out of range."""
    floor = graph.add("Floor", tensor)
    far = graph.add("Greater", graph.add("Abs", floor), graph.constant(np.array(2.0**31)))
    near = graph.add("Where", far, graph.constant(np.array(float(_STRANGE_CODE))), floor)
    filled = graph.add("Where", graph.add("IsNaN", tensor), graph.constant(np.array(float(_MISSING_CODE))), near)
    return graph.add("Cast", filled, to=7)


def _empty(graph: _Graph, tensor: str, output: str, dtype: type) -> None:
    """An output of no columns, with the rows of `tensor`."""
    from onnx import numpy_helper

    shape = graph.add("Concat", graph.add("Shape", tensor), graph.constant(np.array([0], np.int64)), axis=0)
    graph.add("ConstantOfShape", shape, output=output, value=numpy_helper.from_array(np.zeros(1, dtype)))
