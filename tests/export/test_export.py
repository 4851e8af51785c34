"""Export: every shipped model leaves as ONNX that answers alike; what doesn't is stopped."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.core.errors import GateError
from bedplate.export import check_parity, export_network, join
from bedplate.export.onnx import IR_VERSION, OPSET
from bedplate.models import Network, Outputs, TableInput, TextInput, build, predictor


@pytest.mark.parametrize(
    ("model", "inputs"),
    [("cnn", "grey images"), ("resnet", "colour images"), ("mlp", "a table"), ("linear", "a table of categories")],
)
def test_the_graph_answers_as_the_network(model: str, inputs: str) -> None:
    network = build(model, {}, SAMPLES[inputs], Outputs(3), 0)
    features = sample_features(SAMPLES[inputs])
    exported = export_network(network, features)
    assert exported.ir_version == IR_VERSION
    assert {entry.domain: entry.version for entry in exported.opset_import} == {"": OPSET}
    assert not any(node.doc_string or node.metadata_props for node in exported.graph.node)
    parity = check_parity(
        network, predictor(network), OnnxPredict(exported.SerializeToString(), variant="f32"), features
    )
    assert parity.max_difference < 1e-4
    assert parity.label_agreement == 1.0


def test_one_row_is_enough_to_export() -> None:
    network = build("mlp", {}, SAMPLES["a table"], Outputs(3), 0)
    exported = export_network(network, sample_features(SAMPLES["a table"], rows=1))
    found = OnnxPredict(exported.SerializeToString(), variant="f32")(sample_features(SAMPLES["a table"], rows=5))
    assert found["probabilities"].shape == (5, 3)


def test_a_graph_that_answers_otherwise_is_stopped() -> None:
    network = build("linear", {}, SAMPLES["a table of numbers"], Outputs(3), 0)
    features = sample_features(SAMPLES["a table of numbers"])

    def wrong(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = dict(predictor(network)(arrays))
        found["probabilities"] = found["probabilities"] + 0.01
        return found

    with pytest.raises(GateError, match="does not answer as the network does"):
        check_parity(network, predictor(network), wrong, features)


def test_a_model_that_mixes_rows_fails_parity_or_export() -> None:
    class Mixing(nn.Module):
        def forward(self, numeric: torch.Tensor) -> torch.Tensor:
            if numeric.sum() > 0:  # control flow that depends on data
                return numeric[:, :3]
            return -numeric[:, :3]

    inputs = TableInput(4, (), ((),) * 4)
    with pytest.raises(GateError, match="can't be exported"):
        export_network(Network(Mixing(), inputs, Outputs(3)), sample_features(inputs))


def test_the_pre_graph_is_joined() -> None:
    inputs = TableInput(1, (), ((),))
    network = build("linear", {}, inputs, Outputs(None), 0)
    with torch.no_grad():
        network.body.head.weight.fill_(2.0)
    nodes = [
        helper.make_node("Cast", ["age"], ["single"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["single", "one"], ["numeric"]),
    ]
    graph = helper.make_graph(
        nodes, "codec", [helper.make_tensor_value_info("age", onnx.TensorProto.DOUBLE, ["rows"])],
        [helper.make_tensor_value_info("numeric", onnx.TensorProto.FLOAT, ["rows", 1])], [helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    pre = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    joined = join(pre.SerializeToString(), export_network(network, sample_features(inputs)))
    assert [value.name for value in joined.graph.input] == ["age"]
    assert OnnxPredict(joined.SerializeToString(), variant="f32")({"age": np.array([3.0, 4.0])})["value"].tolist() == [
        6.0,
        8.0,
    ]


class Reader(nn.Module):
    """A recurrent network, as a plug-in may have one."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.read, self.head = (
            nn.Embedding(vocabulary, 4),
            nn.LSTM(4, 4, batch_first=True),
            nn.Linear(4, 2),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.read(self.tokens(tokens))[0].mean(dim=1))
        return out


class Stepwise(nn.Module):
    """A loop over the tokens, which is drawn once for each token of the sample."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found = torch.zeros((len(tokens), 2))
        for step in range(tokens.shape[1]):
            found = torch.tanh(found + tokens[:, step : step + 1])
        return found


def test_a_text_is_exported_at_any_length_or_not_at_all() -> None:
    inputs = TextInput(20, 9)
    features = {"tokens": np.ones((3, 9), np.int32)}
    bag = export_network(build("bag", {"size": 2, "pairs": 3}, inputs, Outputs(2), 0), features)
    assert bag.graph.input[0].type.tensor_type.shape.dim[1].dim_param
    network = Network(Reader(20), inputs, Outputs(2))
    for _ in range(3):  # with torch 2.13's own export the first of a process may be right, and the next is not
        session = OnnxPredict(export_network(network, features).SerializeToString(), variant="f32")
        for shape in ((1, 1), (2, 9), (3, 30)):
            tokens = {"tokens": np.ones(shape, np.int32)}
            wanted = predictor(network)(tokens)["probabilities"]
            np.testing.assert_allclose(session(tokens)["probabilities"], wanted, atol=1e-6)
    with pytest.raises(GateError, match=r"fixed the length|can't be exported"):
        export_network(Network(Stepwise(), inputs, Outputs(2)), features)
