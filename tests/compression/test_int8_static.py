from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression import methods
from bedplate.compression.int8_static import calibrate, int8_static, quantise
from bedplate.compression.isa import TARGETS
from bedplate.core.errors import InputError
from bedplate.export import export_network
from bedplate.models import Outputs, TextInput, build

VNNI = TARGETS["vnni"]


@pytest.fixture(scope="module")
def cnn() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    features = sample_features(SAMPLES["grey images"], rows=64)
    return export_network(build("cnn", {"widths": [8, 16]}, SAMPLES["grey images"], Outputs(3), 0), features), features


def answers(model: onnx.ModelProto, features: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(OnnxPredict(model.SerializeToString(), variant="int8")(features)["probabilities"])


def kinds(model: onnx.ModelProto, of: str) -> set[int]:
    """The types of the zero points that quantise activations, or of weights."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == ("QuantizeLinear" if of == "activations" else of)]
    return {constants[node.input[2]].data_type for node in nodes}


@pytest.mark.parametrize("name", ["int8-static", "int8-entropy", "int8-percentile"])
@pytest.mark.parametrize("target", ["avx2", "vnni", "arm"])
def test_each_calibration_answers_nearly_alike_in_each_targets_types(cnn: Any, name: str, target: str) -> None:
    model, features = cnn
    before = model.SerializeToString()
    small = methods.get(name)(model, features, TARGETS[target])
    assert model.SerializeToString() == before
    assert np.abs(answers(small, features) - answers(model, features)).max() < 0.03
    assert len(small.SerializeToString()) < 0.5 * len(before)
    wanted = onnx.TensorProto.INT8 if target == "arm" else onnx.TensorProto.UINT8
    assert kinds(small, "activations") == {wanted}
    weights = [
        numpy_helper.to_array(t) for t in small.graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
    ]  # fmt: skip
    assert len(weights) == 4
    assert max(np.abs(w.astype(int)).max() for w in weights) == (64 if target == "avx2" else 127)


def test_layers_that_are_kept_stay_in_float(cnn: Any) -> None:
    model, features = cnn
    calibrated = calibrate(model, features)
    first, *others = calibrated.layers
    assert len(others) == 3
    assert (
        answers(quantise(calibrated, VNNI), features).tolist()
        == answers(int8_static(model, features, VNNI), features).tolist()
    )

    def in_float(small: onnx.ModelProto) -> list[str]:
        floats = {t.name for t in small.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1}
        return [node.name for node in small.graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in floats]

    assert in_float(quantise(calibrated, VNNI)) == []
    assert in_float(quantise(calibrated, VNNI, keep=[first])) == [first]
    assert in_float(quantise(calibrated, VNNI, keep=others)) == others
    assert in_float(quantise(calibrated, VNNI, only=first)) == others
    with pytest.raises(InputError, match="no such layer"):
        int8_static(model, features, VNNI, keep=["conv9"])


def test_ranges_cut_off_by_an_outlier_are_what_a_percentile_saves() -> None:
    """One row in which a feature is twenty times as large leaves minimum and maximum few levels for the others."""
    inputs = SAMPLES["a table of numbers"]
    features = sample_features(inputs, rows=1500)
    model = export_network(build("mlp", {"hidden": [64], "bins": False}, inputs, Outputs(3), 0), features)
    rows = {"numeric": features["numeric"].copy()}
    rows["numeric"][7, 1] = 60.0
    lost = {
        name: np.abs(answers(int8_static(model, rows, VNNI, calibration=name, percentile=99.8), features) - answers(model, features)).mean()  # type: ignore[arg-type]
        for name in ("minmax", "percentile", "entropy")
    }  # fmt: skip
    assert lost["percentile"] < 0.3 * lost["minmax"]
    assert lost["entropy"] < lost["minmax"]


def test_a_maximum_is_taken_of_integers(cnn: Any, tmp_path: Path) -> None:
    """Else each pooling would cost a way to floats and back."""
    model, features = cnn
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "loaded.onnx"), 4
    ort.InferenceSession(int8_static(model, features, VNNI).SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "loaded.onnx")).graph.node]
    assert kinds.count("QLinearConv") == 2
    assert kinds.count("QuantizeLinear") == 1  # of the image, and never again
    assert "MaxPool" not in kinds


def test_a_graph_that_goes_on_from_its_past_is_refused() -> None:
    inputs = TextInput(20, 16)
    features = sample_features(inputs, rows=8)
    network = build("transformer-decoder", {"size": 16, "heads": 2, "layers": 1}, inputs, Outputs(20, sequence=True), 0)
    with pytest.raises(InputError, match="int8-dynamic or int8-weights"):
        int8_static(export_network(network, features), features, VNNI)
