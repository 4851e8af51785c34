"""float16 graphs answer nearly as their float32 originals, at the same boundary, and never overflow in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.core.errors import GateError
from bedplate.export import export_network
from bedplate.export.fp16 import LARGEST, to_float16
from bedplate.models import Outputs, build

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def made(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: np.ndarray) -> bytes:
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def answers(graph: bytes, **rows: np.ndarray) -> dict[str, np.ndarray]:
    return OnnxPredict(graph, variant="any", threads=1)(rows)


@pytest.mark.parametrize(
    ("model", "inputs"), [("cnn", "grey images"), ("resnet", "colour images"), ("mlp", "a table"), ("linear", "a table of numbers")]
)  # fmt: skip
def test_every_shipped_model_is_half_as_large_and_answers_nearly_alike(model: str, inputs: str) -> None:
    network = build(model, {}, SAMPLES[inputs], Outputs(3), 0)
    features = sample_features(SAMPLES[inputs])
    graph = export_network(network, features).SerializeToString()
    halved = to_float16(graph)
    weights = [one for one in onnx.load_from_string(halved).graph.initializer if np.prod(one.dims) > 1]
    assert {one.data_type for one in weights} & {FLOAT, HALF} == {HALF}
    if len(graph) > 100_000:
        assert len(halved) < 0.6 * len(graph)
    wanted, found = (answers(one, **features)["probabilities"] for one in (graph, halved))
    assert found.dtype == np.float32
    assert np.abs(wanted - found).max() < 5e-3


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 9999))
def test_a_product_errs_by_no_more_than_its_terms_rounding(width: int, out: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, w = draw.normal(size=(6, width)).astype(np.float32), draw.normal(size=(width, out)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = made(nodes, [("x", FLOAT, ["rows", width])], [("y", FLOAT, ["rows", out])], w=w)
    wanted, found = answers(graph, x=x)["y"], answers(to_float16(graph), x=x)["y"]
    unit = 2.0**-11  # each factor is rounded once, and so is the sum
    assert np.all(np.abs(wanted - found) <= unit * (2.1 * np.abs(x) @ np.abs(w) + 1.1 * np.abs(wanted)) + 1e-6)


def test_what_float16_does_not_know_stays_in_float32() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["scaled"]),
        helper.make_node("Resize", ["scaled", "", "w2"], ["large"], mode="nearest"),  # w2: a scale, float32 by law
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Shape", ["large"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["large", "zeros"], ["same"]),
        helper.make_node("Mul", ["same", "half"], ["halved"]),
        helper.make_node("Cast", ["halved"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Cast", ["whole"], ["back"], to=FLOAT),
        helper.make_node("Softmax", ["back"], ["soft"], axis=-1),
    ]
    outputs = [("halved", FLOAT, [1, 1, 4, 6]), ("soft", FLOAT, [1, 1, 4, 6])]
    graph = made(nodes, [("x", FLOAT, [1, 1, 2, 3])], outputs, w=np.array([3.0], np.float32), w2=np.array([1, 1, 2, 2], np.float32))  # fmt: skip
    halved = to_float16(graph)
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    wanted, found = answers(graph, x=x), answers(halved, x=x)
    assert np.array_equal(wanted["halved"], found["halved"])  # small whole numbers and halves are exact in both
    np.testing.assert_allclose(found["soft"], wanted["soft"], atol=1e-3)
    kinds = {one.name: one.data_type for one in onnx.load_from_string(halved).graph.initializer}
    assert kinds == {"w": HALF, "w2": FLOAT}


def test_a_weight_that_both_need_is_there_for_both() -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Softmax", ["w"], ["p"], axis=-1)]
    graph = made(nodes, [("x", FLOAT, ["rows", 3])], [("y", FLOAT, ["rows", 3]), ("p", FLOAT, [1, 3])], w=np.array([[1, 2, 4]], np.float32))  # fmt: skip
    found = answers(to_float16(graph), x=np.zeros((2, 3), np.float32))
    assert found["y"].tolist() == [[1, 2, 4], [1, 2, 4]]
    assert found["p"].sum() == pytest.approx(1, abs=1e-3)


def test_numbers_in_float64_are_left_alone() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),  # 1e6 and its neighbours are equal in float16
        helper.make_node("Cast", ["centred"], ["small"], to=FLOAT),
        helper.make_node("Mul", ["small", "w"], ["y"]),
    ]
    graph = made(nodes, [("x", TensorProto.DOUBLE, ["rows"])], [("y", FLOAT, ["rows"])], mean=np.array(1e6), w=np.array(2, np.float32))  # fmt: skip
    assert answers(to_float16(graph), x=np.array([1e6 + 3, 1e6 - 1]))["y"].tolist() == [6.0, -2.0]


@pytest.mark.parametrize("large", [LARGEST * 2, -1e9])
def test_a_weight_that_would_overflow_is_refused(large: float) -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    graph = made(nodes, [("x", FLOAT, ["rows"])], [("y", FLOAT, ["rows"])], w=np.array([large], np.float32))
    with pytest.raises(GateError, match=r"w: a weight doesn't fit into float16 \(expected numbers up to 65504"):
        to_float16(graph)


def test_a_graph_that_branches_is_refused() -> None:
    def branch(name: str) -> onnx.GraphProto:
        value = numpy_helper.from_array(np.array([1.0], np.float32))
        node = helper.make_node("Constant", [], [name], value=value)
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, FLOAT, [1])])

    nodes = [helper.make_node("If", ["x"], ["y"], then_branch=branch("a"), else_branch=branch("b"))]
    graph = made(nodes, [("x", TensorProto.BOOL, [])], [("y", FLOAT, [1])])
    with pytest.raises(GateError, match="branches or loops"):
        to_float16(graph)
