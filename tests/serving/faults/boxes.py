"""Bundles that go wrong: one that runs as long as it is told, one that takes as much memory as it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from tests.bundle.boxes import golden_of, image_bundle, serialise

from bedplate.bundle import Bundle
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import TensorCodec

FOR_EVER = 1 << 40
"""Turns that nobody lives to see the end of."""


def turning_graph() -> bytes:
    """`done` = `turns`, after as many products of 192 × 192 matrices as the largest of them says: about 0.2 ms each."""
    number = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "matrix"], ["product"]),
            helper.make_node("Tanh", ["product"], ["after"]),
            helper.make_node("Identity", ["go"], ["goes"]),
        ],
        "turn",
        [number("turn", TensorProto.INT64, []), number("go", TensorProto.BOOL, []), number("before", TensorProto.FLOAT, [192, 192])],
        [number("goes", TensorProto.BOOL, []), number("after", TensorProto.FLOAT, [192, 192])],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
        helper.make_node("Loop", ["most", "", "matrix"], ["last"], body=body),
        helper.make_node("ReduceMax", ["last"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
        helper.make_node("Cast", ["turns"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["float", "nothing"], ["done"]),
    ]
    return serialise(
        nodes,
        [number("turns", TensorProto.INT64, ["rows", 1])],
        [number("done", TensorProto.FLOAT, ["rows", 1])],
        {"matrix": np.full((192, 192), 0.001, np.float32), "zero": np.zeros((), np.float32)},
    )


def hungry_graph() -> bytes:
    """`sum` of as many ones as the first of `sizes` says: four bytes each."""
    number = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMax", ["sizes"], ["most"], keepdims=0),
        helper.make_node("Reshape", ["most", "one"], ["shape"]),
        helper.make_node("Expand", ["unit", "shape"], ["ones"]),
        helper.make_node("Mul", ["ones", "ones"], ["squares"]),
        helper.make_node("ReduceSum", ["squares"], ["all"], keepdims=0),
        helper.make_node("Cast", ["sizes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "all"], ["sum"]),
    ]
    return serialise(
        nodes,
        [number("sizes", TensorProto.INT64, ["rows", 1])],
        [number("sum", TensorProto.FLOAT, ["rows", 1])],
        {"one": np.array([1], np.int64), "unit": np.ones(1, np.float32), "zero": np.zeros((), np.float32)},
    )


def _bundle(path: Path, name: str, graph: bytes, given: str, answer: str) -> Bundle:
    return image_bundle(
        path, name=name, task="tensors", codec=TensorCodec((TensorSpec(given, "int64", (1,)),)),
        outputs=[TensorSpec(answer, "float32", (1,))], answers=Answers(name, tensors=(answer,)), graphs={"f32": graph},
        golden=golden_of({given: np.ones((2, 1), np.int64)}, {"f32": graph}, None),
    )  # fmt: skip


def turning_bundle(path: Path, *, name: str = "turning") -> Bundle:
    return _bundle(path, name, turning_graph(), "turns", "done")


def hungry_bundle(path: Path) -> Bundle:
    return _bundle(path, "hungry", hungry_graph(), "sizes", "sum")


def asked(value: int, given: str = "turns", rows: int = 1) -> dict[str, object]:
    """The body of a request to one of them, for /v2."""
    return {"inputs": [{"name": given, "shape": [rows, 1], "datatype": "INT64", "data": [value] * rows}]}
