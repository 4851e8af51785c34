"""Members joined to one graph answer as their plain twin says, ties and all, in onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, Predict
from bedplate.core.errors import GateError, InputError
from bedplate.export.ensemble import check_ensemble, combine_answers, ensemble_graph
from bedplate.export.onnx import finish


def member(weights: np.ndarray, classes: bool = True) -> onnx.ModelProto:
    """Return x [rows, F] → softmax(x W) [rows, K], or x w [rows]."""
    features, width = weights.shape
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    if classes:
        nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1))
        out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", width])
    else:
        nodes.append(helper.make_node("Squeeze", ["scores", "axis"], ["value"]))
        out = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows"])
    given_ = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", features])
    constants = [numpy_helper.from_array(weights.astype(np.float32), "w")]
    constants += [] if classes else [numpy_helper.from_array(np.array([1], np.int64), "axis")]
    graph = helper.make_graph(nodes, "member", [given_], [out], constants)
    return finish(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def fixed(probabilities: list[list[float]]) -> Predict:
    return lambda rows: {"probabilities": np.asarray(probabilities, np.float32)[: len(rows["x"])]}


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.integers(2, 4), st.sampled_from(["average", "vote"]), st.integers(0, 999))
def test_the_graph_answers_as_its_members_together(members: int, classes: int, combine: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    models = [member(draw.normal(size=(3, classes))) for _ in range(members)]
    predictors = [OnnxPredict(model.SerializeToString(), variant="m") for model in models]
    joined = OnnxPredict(ensemble_graph(models, combine).SerializeToString(), variant="e")
    rows: Arrays = {"x": draw.normal(size=(300, 3)).astype(np.float32)}
    assert check_ensemble(predictors, joined, rows, "probabilities", combine) < 1e-6
    assert np.allclose(joined(rows)["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_values_are_averaged() -> None:
    models = [member(np.array([[1.0], [2.0]]), classes=False), member(np.array([[3.0], [0.0]]), classes=False)]
    joined = OnnxPredict(ensemble_graph(models, "average").SerializeToString(), variant="e")
    assert joined({"x": np.array([[1, 1], [2, 0]], np.float32)})["value"].tolist() == [3.0, 4.0]


def test_a_tied_vote_goes_to_the_surer_class_and_then_to_the_first() -> None:
    one, two = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.4, 0.6], [0.4, 0.6]])
    assert combine_answers([one, two], "vote").argmax(axis=1).tolist() == [0, 0]
    surer = np.array([[0.05, 0.95], [0.1, 0.9]])
    assert combine_answers([one, surer], "vote").argmax(axis=1).tolist() == [1, 1]


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 999))
def test_the_mean_never_overturns_a_vote(members: int, classes: int, seed: int) -> None:
    outputs = list(np.random.default_rng(seed).dirichlet(np.ones(classes), (members, 40)))
    votes = sum(np.eye(classes)[one.argmax(axis=1)] for one in outputs)
    chosen = combine_answers(outputs, "vote").argmax(axis=1)
    assert (np.take_along_axis(votes, chosen[:, None], 1)[:, 0] == votes.max(axis=1)).all()


def test_the_graph_breaks_ties_alike_at_every_batch_size() -> None:
    models = [member(np.array([[1.0, 0.0]])), member(np.array([[0.0, 1.0]]))]  # two members that always disagree
    joined = OnnxPredict(ensemble_graph(models, "vote").SerializeToString(), variant="e")
    rows = np.array([[1.0], [2.0], [-1.0]], np.float32)
    together = joined({"x": rows})["probabilities"]
    alone = np.concatenate([joined({"x": rows[i : i + 1]})["probabilities"] for i in range(3)])
    assert np.array_equal(together, alone)
    assert together.argmax(axis=1).tolist() == [0, 0, 0]


def test_members_that_do_not_fit_are_refused() -> None:
    two, three = member(np.ones((2, 2))), member(np.ones((2, 3)))
    with pytest.raises(InputError, match="different tensors"):
        ensemble_graph([two, three], "average")
    with pytest.raises(InputError, match="two members"):
        ensemble_graph([two], "average")
    number = member(np.ones((2, 1)), classes=False)
    with pytest.raises(InputError, match="can't vote"):
        ensemble_graph([number, number], "vote")


def test_a_graph_that_answers_otherwise_is_caught() -> None:
    members = [fixed([[0.9, 0.1]] * 300), fixed([[0.7, 0.3]] * 300)]
    wrong = fixed([[0.5, 0.5]] * 300)
    with pytest.raises(GateError, match="does not answer as its members"):
        check_ensemble(members, wrong, {"x": np.zeros((300, 1))}, "probabilities", "average")
