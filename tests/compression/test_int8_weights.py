"""Weights stored in 8 or 16 bits: the file is smaller, the arithmetic is float's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, TAGGED, sample_features
from bedplate.compression import methods
from bedplate.compression.int8_weights import channel_axes, only_stored
from bedplate.export import export_network
from bedplate.models import Outputs, TextInput, build

NONE: frozenset[str] = frozenset()
SHARE = {"fp16-storage": 0.53, "int8-weights": 0.31}


def exported(model: str, inputs: str, **arguments: object) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    features = sample_features(SAMPLES[inputs], rows=32)
    return export_network(build(model, arguments, SAMPLES[inputs], Outputs(3), 0), features), features


def answers(model: onnx.ModelProto, features: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(OnnxPredict(model.SerializeToString(), variant="small")(features)["probabilities"])


@pytest.mark.parametrize("method", SHARE)
@pytest.mark.parametrize(("model", "inputs"), [("cnn", "grey images"), ("mlp", "a table"), ("resnet", "colour images")])
def test_the_file_is_smaller_and_the_answers_near(method: str, model: str, inputs: str) -> None:
    graph, features = exported(model, inputs, **({"depth": 8} if model == "resnet" else {}))
    before = graph.SerializeToString()
    small = methods.get(method)(graph, {}, NONE)
    assert graph.SerializeToString() == before
    assert len(small.SerializeToString()) < SHARE[method] * len(before)
    assert np.abs(answers(small, features) - answers(graph, features)).max() < (1e-4 if "16" in method else 2e-3)


@pytest.mark.parametrize("method", SHARE)
def test_floats_are_made_once_as_the_graph_is_loaded(method: str, tmp_path: Path) -> None:
    """Else they would be made again for each request."""
    graph, _ = exported("cnn", "grey images", widths=[8, 8])

    def loaded(model: onnx.ModelProto) -> list[str]:
        options = ort.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "loaded.onnx"), 4
        ort.InferenceSession(model.SerializeToString(), options)
        return [node.op_type for node in onnx.load(str(tmp_path / "loaded.onnx")).graph.node]

    assert loaded(methods.get(method)(graph, {}, NONE)) == loaded(graph)


def test_each_output_channel_has_a_scale_of_its_own() -> None:
    graph, features = exported("cnn", "grey images", widths=[8, 8])
    axes = channel_axes(graph)
    weights = {t.name: t for t in graph.graph.initializer}
    for name, axis in axes.items():
        weight = numpy_helper.to_array(weights[name]).copy()
        np.moveaxis(weight, axis, 0)[0] *= 1e-3  # a channel that one scale for all would round to 0
        weights[name].CopyFrom(numpy_helper.from_array(weight, name))
    small = methods.get("int8-weights")(graph, {}, NONE)
    found = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    for name, axis in axes.items():
        if f"{name}/int8" in found:  # the smallest stays as it is
            again = found[f"{name}/int8"] * found[f"{name}/scale"]
            weight = numpy_helper.to_array(weights[name])
            assert found[f"{name}/int8"].dtype == np.int8
            assert np.abs(again - weight).max() <= np.abs(weight).max() / 127
            first, other = (np.moveaxis(array, axis, 0)[0] for array in (weight, again))
            assert np.abs(first - other).max() <= np.abs(first).max() / 254 * 1.001
    assert len([name for name in found if name.endswith("/int8")]) >= 2
    assert np.isfinite(answers(small, features)).all()


def test_what_16_bits_cannot_hold_stays_in_32() -> None:
    graph, features = exported("mlp", "a table of numbers", hidden=[32])
    large, tiny = (tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2 and np.prod(tensor.dims) >= 96)
    weight = numpy_helper.to_array(large).copy()
    weight[0, 0] = 65520.0  # the first number that rounds to infinity
    large.CopyFrom(numpy_helper.from_array(weight, large.name))
    weight = numpy_helper.to_array(tiny).copy()
    weight[0, :2] = 3e-7, 65504.0  # a subnormal, and the largest
    tiny.CopyFrom(numpy_helper.from_array(weight, tiny.name))
    small = methods.get("fp16-storage")(graph, {}, NONE)
    kinds = {tensor.name: tensor.data_type for tensor in small.graph.initializer}
    assert kinds[large.name] == onnx.TensorProto.FLOAT
    halves = {
        t.name: numpy_helper.to_array(t) for t in small.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16
    }
    if np.prod(tiny.dims) >= 128:
        assert halves[f"{tiny.name}/fp16"][0, 1] == 65504
        assert halves[f"{tiny.name}/fp16"][0, 0] > 0
    assert np.isfinite(answers(small, features)).all()


@pytest.mark.parametrize("method", SHARE)
def test_embeddings_and_recurrent_layers_are_stored_small_too(method: str) -> None:
    network = build("bilstm-tagger", {"size": 64, "hidden": 64}, SAMPLES["sentences"], TAGGED, 0)
    features = sample_features(SAMPLES["sentences"], rows=32)
    graph = export_network(network, features)
    small = methods.get(method)(graph, {}, NONE)
    share = len(small.SerializeToString()) / len(graph.SerializeToString())
    assert share < SHARE[method] + 0.08  # of so small a network the nodes weigh something
    found = [
        OnnxPredict(one.SerializeToString(), variant="one")(features)["tag_probabilities"] for one in (graph, small)
    ]
    assert np.abs(found[0] - found[1]).max() < 5e-3
    if method == "int8-weights":
        ranks = {len(tensor.dims) for tensor in small.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
        assert ranks == {2, 3}


def test_what_arithmetic_in_8_bits_leaves_in_float_is_told() -> None:
    texts = TextInput(500, 9)
    features = {"tokens": np.ones((4, 7), np.int32)}
    shares = {}
    for name, arguments in (("lstm", {"size": 16, "hidden": 8}), ("transformer-encoder", {"size": 16, "heads": 2})):
        network = build(name, arguments, texts, Outputs(2), 0)
        shares[name] = only_stored(export_network(network, features))
        table = 500 * 16
        everything = sum(p.numel() for p in network.parameters())
        recurrent = 2 * 4 * 8 * (16 + 8) if name == "lstm" else 9 * 16  # or the places
        assert shares[name] == pytest.approx((table + recurrent) / everything, rel=0.05)
    image = build("cnn", {"widths": [8, 16]}, SAMPLES["grey images"], Outputs(3), 0)
    assert only_stored(export_network(image, sample_features(SAMPLES["grey images"], rows=4))) == 0
