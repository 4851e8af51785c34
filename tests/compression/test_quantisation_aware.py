from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from tests.training.samples import COLOUR, cnn, go, images, mlp, spec, table
from torch import nn

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.fake_quantise import MOMENTUM, FakeQuantise, QuantisedLayer
from bedplate.compression.isa import TARGETS, needs
from bedplate.compression.measure import batch_dependence
from bedplate.compression.qdq import QuantisedNode, insert_qdq
from bedplate.compression.quantisation_aware import export_quantised, prepare, without_rounding
from bedplate.core.errors import GateError
from bedplate.models import Network, Outputs, build, predictor
from bedplate.training import TrainingData

VNNI = TARGETS["vnni"]
Trained = tuple[Network, TrainingData]


def resnet() -> Network:
    return build("resnet", {"depth": 8, "widths": [4, 8, 8]}, COLOUR, Outputs(4), 3)


def trained(network: Network, data: TrainingData, cpu: frozenset[str] = VNNI) -> Trained:
    """The network, trained in float, then prepared and trained on."""
    go(network, data, spec())
    prepared = prepare(network, data.features, cpu)
    go(prepared, data, spec(epochs=2))
    return prepared, data


@pytest.fixture(scope="module")
def small() -> Trained:
    return trained(cnn(), images(320))


@pytest.fixture(scope="module")
def residual() -> Trained:
    return trained(resnet(), images(240, channels=3))


@pytest.fixture(scope="module")
def dense() -> Trained:
    return trained(mlp(activation="gelu"), table())


def answers(model: onnx.ModelProto, features: Any) -> np.ndarray:
    return np.asarray(OnnxPredict(model.SerializeToString(), variant="int8")(features)["probabilities"])


def layers(network: Network) -> dict[str, QuantisedLayer]:
    return {name: module for name, module in network.named_modules() if isinstance(module, QuantisedLayer)}


@pytest.mark.parametrize("name", ["small", "residual", "dense"])
@pytest.mark.parametrize("optimised", [True, False])
def test_the_graph_answers_as_the_network_that_was_trained(
    name: str, optimised: bool, request: pytest.FixtureRequest
) -> None:
    network, data = request.getfixturevalue(name)
    features = data.validation_features
    model = export_quantised(network, features, VNNI)
    wanted = predictor(network)(features)["probabilities"]
    if optimised:
        found = answers(model, features)
    else:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        (found,) = ort.InferenceSession(model.SerializeToString(), options).run(None, dict(features))
    unrounded = predictor(without_rounding(network))(features)["probabilities"]
    apart, lost = np.abs(found - wanted), np.abs(unrounded - wanted)
    # What differs is where a sum lies between two steps, and the last bit of a float decides; that is rare.
    assert apart.mean() < 0.25 * lost.mean()
    assert apart.max() < 0.05
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.95
    assert wanted.std(0).max() > 0.1
    assert batch_dependence(OnnxPredict(model.SerializeToString(), variant="int8"), features, "probabilities") < 1e-6


def test_it_has_learnt(small: Trained) -> None:
    network, data = small
    found = answers(export_quantised(network, data.features, VNNI), data.validation_features)
    assert (found.argmax(1) == data.validation_targets).mean() > 0.9


@pytest.mark.parametrize(("target", "levels"), [("vnni", 127), ("avx2", 63), ("arm", 127)])
def test_the_file_holds_int8_weights_within_the_processors_levels(small: Trained, target: str, levels: int) -> None:
    network, data = small
    cpu = TARGETS[target]
    prepared = prepare(without_rounding(network), data.features, cpu)
    model = export_quantised(prepared, data.features, cpu)
    constants = {t.name: t for t in model.graph.initializer}
    weights = [t for t in constants.values() if len(t.dims) > 1]
    assert [t.data_type for t in weights if np.prod(t.dims) > 10] == [onnx.TensorProto.INT8] * len(layers(prepared))
    largest = [
        np.abs(numpy_helper.to_array(t).astype(int)).max() for t in weights if t.data_type == onnx.TensorProto.INT8
    ]
    assert largest == [levels] * len(largest)
    assert bool(needs(model)) == (levels == 127)
    kinds = {constants[n.input[2]].data_type for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert kinds == {onnx.TensorProto.INT8 if target == "arm" else onnx.TensorProto.UINT8}
    wanted = predictor(prepared)(data.validation_features)["probabilities"]
    assert np.abs(answers(model, data.validation_features) - wanted).mean() < 0.01


@pytest.mark.parametrize("name", ["small", "residual"])
def test_every_convolution_is_computed_in_integers(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    network, data = request.getfixturevalue(name)
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "loaded.onnx"), 4
    ort.InferenceSession(export_quantised(network, data.features, VNNI).SerializeToString(), options)
    kinds = Counter(node.op_type for node in onnx.load(str(tmp_path / "loaded.onnx")).graph.node)
    convolutions = sum(layer.settings is not None for layer in layers(network).values())
    assert kinds["QLinearConv"] == convolutions
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm"} & set(kinds)


def test_ranges_begin_at_the_rows_extremes_and_follow_the_batches() -> None:
    rounds = FakeQuantise()
    rounds.calibrating = True
    x = torch.tensor([-1.0, 0.25, 3.0])
    assert torch.equal(rounds(x), x)
    rounds.calibrating = False
    assert (rounds.low.item(), rounds.high.item()) == (-1.0, 3.0)
    rounds.eval()
    rounds(10 * x)
    assert rounds.high.item() == 3.0
    rounds.train()
    rounds(10 * x)
    assert rounds.high.item() == pytest.approx(MOMENTUM * 3 + (1 - MOMENTUM) * 30)
    rounds(torch.ones(2))
    assert rounds.low.item() == pytest.approx(MOMENTUM * (MOMENTUM * -1 + (1 - MOMENTUM) * -10))
    positive = FakeQuantise(positive=True)
    positive(-x)
    assert positive.low.item() == 0


def test_preparing_leaves_the_network_and_the_names_of_its_weights_alone() -> None:
    network, data = cnn(batch_norm=False), images(60)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    prepared = prepare(network, data.features, VNNI)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    assert set(dict(network.named_parameters())) == set(dict(prepared.named_parameters()))
    assert prepared.training == network.training
    plain = without_rounding(prepared)
    assert not layers(plain)
    torch.testing.assert_close(dict(plain.state_dict()), before)
    assert not any(isinstance(m, nn.Conv2d) and type(m) is not nn.Conv2d for m in plain.modules())


def test_a_bias_of_too_many_steps_gets_larger_steps() -> None:
    """A pruned channel: no weights, but a bias."""
    network, data = cnn(batch_norm=False, dropout=0.0), images(60)
    with torch.no_grad():
        first = network.body.features[0]  # type: ignore[union-attr,index]
        first.weight[2], first.bias[2] = 0, 1.5
    prepared = prepare(network, data.features, VNNI)
    found = answers(export_quantised(prepared, data.features, VNNI), data.features)
    assert np.abs(found - predictor(prepared)(data.features)["probabilities"]).max() < 0.01


def test_a_layer_that_is_lost_is_not_passed_over(small: Trained) -> None:
    network, data = small
    by = next(iter(layers(network).values())).input
    assert by is not None
    model = export_quantised(network, data.features, VNNI)
    with pytest.raises(GateError, match="lacks layers"):
        insert_qdq(model, [QuantisedNode("network.body.none.weight", 127, by.affine(), None)])
