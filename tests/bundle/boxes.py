"""Small real bundles for tests: an image classifier and a table regressor, their graphs built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from bedplate.bundle import Bundle, Golden, write_bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.codecs.image import ImageCodec
from bedplate.core.arrays import Arrays

LABELS = ("zero", "one", "two")
SIZE = 8


def serialise(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]) -> bytes:
    graph = helper.make_graph(
        nodes, "small", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString()


def image_graph(seed: int = 0, size: int = SIZE, classes: int = 3, scale: float = 0.05) -> bytes:
    weights = np.random.default_rng(seed).normal(0, scale, (size * size, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    return serialise(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["rows", size, size, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", classes])],
        {"weights": weights, "shape": np.array([-1, size * size], np.int64)},
    )


def images(rows: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, size, size, 1), dtype=np.uint8)


def golden_of(inputs: Arrays, graphs: dict[str, bytes], labels: np.ndarray | None) -> Golden:
    outputs = {name: OnnxPredict(graph, variant=name)(inputs) for name, graph in graphs.items()}
    return Golden(inputs, outputs, labels)


def image_bundle(path: Path, *, name: str = "small", **changes: Any) -> Bundle:
    graphs = changes.pop("graphs", {"f32": image_graph()})
    inputs = {"image": images(12)}
    arguments: dict[str, Any] = {
        "name": name,
        "task": "image-classification",
        "codec": ImageCodec(SIZE, SIZE, 1),
        "answers": Answers("digit", LABELS),
        "graphs": graphs,
        "default": "f32",
        "variants_info": {"f32": {"reason": "the exported model"}},
        "weights": {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "model": {"name": "linear", "arguments": {}},
        "report": {"metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}},
        "golden": golden_of(inputs, graphs, np.arange(12, dtype=np.int64) % 3),
        "reference": {},
        "lineage": {"seed": 0},
        "card": "# small\n",
    }
    return write_bundle(path, **(arguments | changes))
