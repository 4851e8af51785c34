from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from tests.training.samples import cnn, go, images, spec

from bedplate.compression import methods
from bedplate.compression.divergence import divergence
from bedplate.compression.int8_static import calibrate, quantise
from bedplate.compression.isa import TARGETS
from bedplate.compression.mixed_precision import LIMIT, answers, layer_sensitivity, mixed_precision
from bedplate.export import export_network

VNNI = TARGETS["vnni"]


@pytest.fixture(scope="module")
def harmed() -> tuple[onnx.ModelProto, dict[str, np.ndarray], str]:
    """A trained network whose second convolution gets one input a thousand times as large as the others.

    What goes in is scaled up and its weights down, so that it answers as before, but 8 bits of that input are gone.
    """
    data = images(320)
    network = cnn(widths=[8, 8], dense=[16], batch_norm=False)
    go(network, data, spec())
    features = {"image": data.features["image"][:128]}
    model = export_network(network, features)
    weights = {t.name: t for t in model.graph.initializer}

    def scaled(name: str, by: np.ndarray) -> None:
        weights[name].CopyFrom(
            numpy_helper.from_array((numpy_helper.to_array(weights[name]) * by).astype(np.float32), name)
        )

    factor = np.ones(8, np.float32)
    factor[3] = 1000
    scaled("network.body.features.0.weight", factor[:, None, None, None])
    scaled("network.body.features.0.bias", factor)
    scaled("network.body.features.3.weight", 1 / factor[None, :, None, None])
    return model, features, "network.body.features.3.weight"


def test_the_layer_that_suffers_is_found_and_goes_back_to_float(harmed: Any) -> None:
    model, features, weight = harmed
    sensitivity = layer_sensitivity(model, features, VNNI)
    calibrated = calibrate(model, features)
    assert list(sensitivity) == calibrated.layers
    nodes = {node.name: node.input[1] for node in calibrated.model.graph.node if node.name in sensitivity}
    worst = max(sensitivity, key=lambda name: sensitivity[name])
    # The first convolution's result, or the second one's input: the same tensor, in either it loses its small channels.
    assert nodes[worst] in (weight, "network.body.features.0.weight")
    assert sensitivity[worst] > 5 * min(sensitivity.values())
    before, asked = answers(model, features), []

    def acceptable(graph: onnx.ModelProto) -> bool:
        asked.append(divergence(before, answers(graph, features)))
        return asked[-1] <= 1e-3

    found = mixed_precision(model, features, VNNI, sensitivity, acceptable)
    assert found is not None
    assert len(asked) > 1
    assert all(one > 1e-3 for one in asked[:-1])
    floats = {t.name for t in found.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1}
    kept = [name for name in nodes if nodes[name] in floats]
    assert kept == [name for name in nodes if name in sorted(nodes, key=lambda n: -sensitivity[n])[: len(asked) - 1]]
    assert len(kept) < len(nodes)


def test_nothing_goes_back_where_nothing_is_lost_and_none_comes_where_all_is(harmed: Any) -> None:
    model, features, _ = harmed
    sensitivity = dict.fromkeys(calibrate(model, features).layers, 0.0)
    found = mixed_precision(model, features, VNNI, sensitivity, lambda graph: True)
    assert found is not None
    assert found.SerializeToString() == quantise(calibrate(model, features), VNNI).SerializeToString()
    calls = []
    assert mixed_precision(model, features, VNNI, sensitivity, lambda graph: bool(calls.append(graph))) is None
    assert len(calls) == len(sensitivity)


def test_the_registered_method_keeps_within_its_limit(harmed: Any) -> None:
    model, features, _ = harmed
    before = answers(model, features)
    assert divergence(before, answers(methods.get("int8-static")(model, features, VNNI), features)) > LIMIT
    assert divergence(before, answers(methods.get("int8-mixed")(model, features, VNNI), features)) <= LIMIT


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_divergence_is_nothing_of_itself_and_positive_of_others(classes: int, seed: int) -> None:
    one, other = np.random.default_rng(seed).dirichlet(np.ones(classes), (2, 6))
    assert divergence(one, one) == 0
    assert divergence(one, other) > 0
    assert divergence(one, other) == pytest.approx(np.mean((one * np.log(one / other)).sum(1)), rel=1e-3)


def test_values_diverge_by_their_squares() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    assert divergence(values, values + 0.5) == pytest.approx(0.25 / values.var())
    assert divergence(np.ones(3), np.ones(3)) == 0
    assert np.isfinite(divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])))
