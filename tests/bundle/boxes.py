"""Small real bundles for tests: an image classifier and a table regressor, their graphs built by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, compose, helper, load_from_string, numpy_helper
from tests.models.published import tokenizer

from bedplate.bundle import Bundle, Golden, write_bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.codecs.image import ImageCodec
from bedplate.codecs.table import TableCodec
from bedplate.codecs.text import TextCodec
from bedplate.core.arrays import Arrays
from bedplate.profile import fit_reference

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
        "golden": changes.get("golden") or golden_of(inputs, graphs, np.arange(12, dtype=np.int64) % 3),
        "reference": {},
        "lineage": {"seed": 0},
        "card": "# small\n",
    }
    return write_bundle(path, **(arguments | changes))


def watched_image_bundle(path: Path, *, window: int = 100, **changes: Any) -> Bundle:
    """An image bundle with a drift reference of 400 rows."""
    inputs = {"image": images(400, seed=7)}
    outputs = OnnxPredict(image_graph(), variant="f32")(inputs)
    reference = fit_reference(inputs, outputs, window=window, windows=(50,), labels=LABELS)
    return image_bundle(path, reference=reference, **changes)


COLUMNS = [
    ColumnSchema("age", "number", form="."),
    ColumnSchema("town", "category", form="text"),
    ColumnSchema("since", "date", form="ymd"),
    ColumnSchema("note", "text"),
]


def table_rows(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as payloads, with missing values here and there."""
    rng = np.random.default_rng(seed)
    return [
        {
            "age": None if rng.random() < 0.1 else round(float(rng.normal(40, 12)), 1),
            "town": None if rng.random() < 0.1 else str(rng.choice(["east", "west", "Zürich"])),
            "since": f"20{rng.integers(10, 24)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}",
            "note": "free text",
        }
        for _ in range(rows)
    ]


def table_codec() -> TableCodec:
    rows = table_rows(300, seed=1)
    tensors = read_columns({column.name: [row[column.name] for row in rows] for column in COLUMNS}, COLUMNS).tensors
    return TableCodec.fit(tensors, COLUMNS, "price", order=["age", "town", "since", "note", "price"])


def table_graph(codec: TableCodec) -> bytes:
    """The codec's pre-graph joined to a small linear regression."""
    before = load_from_string(codec.graph())
    numeric, categories = (output.type.tensor_type.shape.dim[1].dim_value for output in before.graph.output)
    weights = np.random.default_rng(0).normal(size=(numeric + categories, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["c"], ["cf"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["n", "cf"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "one"], ["value"]),
    ]
    after = serialise(
        nodes,
        [
            helper.make_tensor_value_info("n", TensorProto.FLOAT, ["rows", numeric]),
            helper.make_tensor_value_info("c", TensorProto.INT64, ["rows", categories]),
        ],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows"])],
        {"weights": weights, "one": np.array([1], np.int64)},
    )
    joined = compose.merge_models(before, load_from_string(after), io_map=[("numeric", "n"), ("categories", "c")])
    data: bytes = joined.SerializeToString()
    return data


def table_bundle(path: Path, *, name: str = "prices", **changes: Any) -> Bundle:
    """A table bundle (a number, a category, a date and a set-aside text; regression) with a drift reference."""
    codec = table_codec()
    graph = table_graph(codec)
    predict = OnnxPredict(graph, variant="f32")
    inputs, held_out = codec.decode(table_rows(20, seed=2)), codec.decode(table_rows(400, seed=3))
    arguments: dict[str, Any] = {
        "name": name,
        "task": "tabular-regression",
        "codec": codec,
        "answers": Answers("price"),
        "graphs": {"f32": graph},
        "golden": golden_of(inputs, {"f32": graph}, np.zeros(20)),
        "reference": fit_reference(held_out, predict(held_out), window=100, windows=(50,)),
    }
    return image_bundle(path, **(arguments | changes))


def vector_graph(vocabulary: int, size: int = 6) -> bytes:
    """The mean of each token's vector, padding (0) left out, with a length of 1."""
    table = np.random.default_rng(3).normal(size=(vocabulary, size)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["each"]),
        helper.make_node("Equal", ["tokens", "zero"], ["padded"]),
        helper.make_node("Not", ["padded"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["each", "column"], ["own"]),
        helper.make_node("ReduceSum", ["own", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    return serialise(
        nodes,
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["rows", "length"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", size])],
        {
            "table": table, "zero": np.array(0, np.int32), "last": np.array([2], np.int64),
            "middle": np.array([1], np.int64),
        },
    )  # fmt: skip


def vector_bundle(path: Path, *, name: str = "meaning", size: int = 6, **changes: Any) -> Bundle:
    """An encoder of texts; its tokenizer has a template, as BERT's has."""
    codec = TextCodec(json.loads(tokenizer().to_str()), 12)
    graph = vector_graph(codec.vocabulary, size)
    inputs = codec.decode([f"a {word} film" for word in ("dull", "superb", "moving", "clumsy")])
    outputs = {"f32": OnnxPredict(graph, variant="f32", prepare=codec.prepare)(inputs)}
    return image_bundle(
        path, name=name, task="text-embedding", codec=codec, answers=Answers("topic", dimensions=size),
        graphs={"f32": graph}, golden=Golden(inputs, outputs, np.array([0, 1, 1, 0])), **changes,
    )  # fmt: skip
