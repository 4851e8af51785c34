"""OpenVINO's IR answers as ONNX Runtime does, or the graph is refused with the operator's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.bundle.boxes import image_graph, images, serialise, table_codec, table_graph

from bedplate.bundle.session import OnnxPredict
from bedplate.core.errors import GateError, InputError
from bedplate.core.openvino_import import installed
from bedplate.export.openvino_ir import FILE, openvino_predictor, to_openvino

pytestmark = pytest.mark.skipif(not installed(), reason="openvino isn't installed")


def test_it_answers_as_onnx_runtime_does(tmp_path: Path) -> None:
    graph = image_graph(size=16, classes=10, scale=0.001)
    to_openvino(graph, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", FILE]
    run, like = openvino_predictor(tmp_path, "probabilities"), OnnxPredict(graph, variant="f32", threads=1)
    for rows in (1, 2, 7):
        inputs = {"image": images(rows, seed=rows, size=16)}
        np.testing.assert_allclose(run(inputs)["probabilities"], like(inputs)["probabilities"], atol=1e-5)


def test_a_graph_for_one_row_is_asked_row_by_row(tmp_path: Path) -> None:
    graph = serialise(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        {"two": np.array([2.0], np.float32)},
    )
    to_openvino(graph, tmp_path)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(openvino_predictor(tmp_path, "y")({"x": x})["y"], 2 * x)


def test_weights_keep_their_type(tmp_path: Path) -> None:
    to_openvino(image_graph(size=16, classes=10), tmp_path)
    assert (tmp_path / "model.bin").stat().st_size >= 16 * 16 * 10 * 4


def test_text_is_refused_with_what_reads_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"town: OpenVINO takes no text .*LabelEncoder") as caught:
        to_openvino(table_graph(table_codec()), tmp_path)
    assert "torch-export" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_it_lacks_is_named(tmp_path: Path) -> None:
    graph = serialise(
        [helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_int64s=[1], values_floats=[2.0])],
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows"])],
        {},
    )
    with pytest.raises(InputError, match="LabelEncoder"):
        to_openvino(graph, tmp_path)


def test_a_missing_output_is_seen(tmp_path: Path) -> None:
    to_openvino(image_graph(), tmp_path)
    with pytest.raises(GateError, match="lacks an output"):
        openvino_predictor(tmp_path, "value")
