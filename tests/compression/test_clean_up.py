from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bedplate.bundle.session import OnnxPredict
from bedplate.compression import methods
from bedplate.compression.clean_up import agrees

NONE: frozenset[str] = frozenset()
ROWS = {"x": np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)}


def untidy(scale: float = 1.0) -> onnx.ModelProto:
    """Two dense layers with the same weights twice, weights that are computed, and a constant that nobody reads."""
    weight = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    constants = {
        "w": weight, "same": weight, "nobody": np.ones((50, 50), np.float32), "half": np.full((8, 8), 0.5 * scale, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="one"), helper.make_node("Identity", ["a"], ["b"], name="id"),
        helper.make_node("Mul", ["same", "half"], ["v"], name="constant"),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="two"),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    graph = helper.make_graph(
        nodes, "untidy", ends[:1], ends[1:], [numpy_helper.from_array(array, name) for name, array in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answers(model: onnx.ModelProto) -> np.ndarray:
    return np.asarray(OnnxPredict(model.SerializeToString(), variant="f32")(ROWS)["y"])


def test_what_computes_nothing_goes_and_the_answers_stay() -> None:
    model = untidy()
    before = model.SerializeToString()
    clean = methods.get("clean-up")(model, ROWS, NONE)
    assert model.SerializeToString() == before
    assert [node.op_type for node in clean.graph.node] == ["MatMul", "MatMul"]
    assert len(clean.graph.initializer) == 2
    assert len(clean.SerializeToString()) < len(before) / 10
    np.testing.assert_allclose(answers(clean), answers(model), rtol=1e-5, atol=1e-6)
    again = methods.get("clean-up")(clean, ROWS, NONE)
    assert again.SerializeToString() == clean.SerializeToString()


def test_a_clean_up_that_changes_answers_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    model = untidy()
    assert agrees(model, model, ROWS)
    assert not agrees(model, untidy(1.001), ROWS)
    monkeypatch.setattr("onnxscript.optimizer.optimize", lambda _: untidy(1.001))
    assert methods.get("clean-up")(model, ROWS, NONE).SerializeToString() == model.SerializeToString()
