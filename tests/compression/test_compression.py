"""Compression: the arithmetic is right, rows don't mix, and the do-no-harm rule says no when it should."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.bundle.session import OnnxPredict
from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression import methods
from bedplate.compression.int8_dynamic import quantise_columns
from bedplate.compression.isa import types_for
from bedplate.compression.measure import Latency, batch_dependence, measure_latencies
from bedplate.compression.variants import Trial, Variant, _verdict, choose, try_variants
from bedplate.core.machine import cpu_features
from bedplate.export import export_network
from bedplate.models import Outputs, build

VNNI = frozenset({"avx512_vnni"})


def exported(model: str, inputs: str, **arguments: object) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    network = build(model, arguments, SAMPLES[inputs], Outputs(3), 0)
    features = sample_features(SAMPLES[inputs], rows=64)
    return export_network(network, features), features


@pytest.mark.parametrize("method", ["int8-static", "int8-dynamic"])
@pytest.mark.parametrize(("model", "inputs"), [("cnn", "grey images"), ("mlp", "a table"), ("resnet", "colour images")])
@pytest.mark.parametrize("cpu", [VNNI, frozenset()], ids=["vnni", "no-vnni"])
def test_int8_stays_near_and_rows_do_not_mix(method: str, model: str, inputs: str, cpu: frozenset[str]) -> None:
    graph, features = exported(model, inputs, **({"depth": 8} if model == "resnet" else {}))
    before = OnnxPredict(graph.SerializeToString(), variant="f32")(features)["probabilities"]
    small = OnnxPredict(methods.get(method)(graph, features, cpu).SerializeToString(), variant="int8")
    assert np.abs(small(features)["probabilities"] - before).max() < 0.03
    assert batch_dependence(small, features, "probabilities") < 1e-6


def test_static_shrinks_a_dense_model_about_fourfold() -> None:
    graph, features = exported("mlp", "a table", hidden=[512, 512])
    for method in ("int8-static", "int8-dynamic"):
        small = methods.get(method)(graph, features, VNNI)
        assert len(small.SerializeToString()) < 0.3 * len(graph.SerializeToString())


def test_dynamic_leaves_a_graph_without_dense_layers_alone() -> None:
    graph, features = exported("linear", "a table")
    changed = methods.get("int8-dynamic")(graph, features, VNNI)
    kinds = [node.op_type for node in changed.graph.node]
    assert kinds.count("MatMulInteger") == 1
    assert "Gemm" not in kinds
    assert "Gemm" in [node.op_type for node in graph.graph.node], "the given graph is not changed"


@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([63, 127]), st.integers(0, 999))
def test_quantised_weights_are_within_half_a_step(rows: int, columns: int, levels: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    quantised, scale = quantise_columns(weight, levels)
    assert np.abs(quantised).max() <= levels
    assert np.all(np.abs(quantised * scale - weight) <= scale / 2 + 1e-6)


def test_int8_is_kept_to_seven_bits_where_products_saturate() -> None:
    weight = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    assert np.abs(quantise_columns(weight, 63)[0]).max() == 63
    assert not types_for(VNNI).reduce_range
    assert types_for(frozenset({"avx2"})).reduce_range


def latency(ratio: float, low: float, high: float) -> Latency:
    return Latency(1.0, 1.2, 100, ratio, low, high)


TRIAL = Trial({}, {}, np.zeros(1), "probabilities", 1.0, 0)


@pytest.mark.parametrize(
    ("size", "speed", "drop", "dependence", "kept", "word"),
    [
        (300, latency(1.2, 1.1, 1.3), 0.5, 0.0, True, "0.30×"),
        (1000, latency(0.7, 0.6, 0.8), 0.5, 0.0, True, "0.70×"),
        (980, latency(0.99, 0.9, 1.1), 0.1, 0.0, False, "neither smaller nor faster"),
        (300, latency(0.5, 0.4, 0.6), 1.01, 0.0, False, "may lose 1.01 points"),
        (300, latency(0.5, 0.4, 0.6), 0.1, 0.1, False, "rows beside it"),
    ],
)
def test_do_no_harm(size: int, speed: Latency, drop: float, dependence: float, kept: bool, word: str) -> None:
    verdict, reason = _verdict(size, 1000, speed, drop, dependence, TRIAL)
    assert verdict is kept
    assert word in reason


def test_the_default_is_the_fastest_that_is_measurably_faster() -> None:
    f32 = Variant("f32", b"", True, "", latency(1, 1, 1))
    smaller = Variant("a", b"", True, "", latency(1.1, 1.0, 1.2))
    faster = Variant("b", b"", True, "", latency(0.8, 0.7, 0.9))
    rejected = Variant("c", b"", False, "", latency(0.2, 0.1, 0.3))
    assert choose([f32, smaller, rejected]) == "f32"
    assert choose([f32, smaller, faster, rejected]) == "b"


def test_latencies_are_taken_in_turns_and_tell_slow_from_fast() -> None:
    def sleeper(seconds: float):  # type: ignore[no-untyped-def]
        def predict(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            time.sleep(seconds)
            return arrays

        return predict

    found = measure_latencies({"f32": sleeper(0.001), "slow": sleeper(0.004)}, {"x": np.zeros((4, 1))})
    assert found["slow"].ratio_low > 1.5
    assert found["f32"].ratio == 1.0


def test_all_are_called_alike_twice_in_a_row_in_ever_new_order() -> None:
    called: list[str] = []

    def named(name: str):  # type: ignore[no-untyped-def]
        def predict(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            called.append(name)
            return arrays

        return predict

    found = measure_latencies({name: named(name) for name in ("f32", "a", "b", "c")}, {"x": np.zeros((2, 1))})
    timed = called[4 * 2 :]  # after the warm-up
    assert timed[::2] == timed[1::2]  # the first of two calls warms the caches, the second is timed
    turns = [tuple(timed[k : k + 8 : 2]) for k in range(0, len(timed), 8)]
    assert {tuple(sorted(turn)) for turn in turns} == {("a", "b", "c", "f32")}
    assert len(set(turns)) > 3
    assert {latency.rounds for latency in found.values()} == {len(turns)}


def test_a_damaged_variant_is_rejected_for_its_accuracy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del tmp_path
    graph, features = exported("linear", "a table of numbers")

    def shuffle(model: onnx.ModelProto, rows: object, cpu: object) -> onnx.ModelProto:
        del rows, cpu
        broken = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in broken.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if array.ndim == 2:
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(np.ascontiguousarray(np.roll(array, 1, axis=0)), tensor.name)
                )
        return broken

    # Weights that answer perfectly, so that rolling the classes answers all rows wrongly.
    weight = np.eye(3, 4, dtype=np.float32)
    for tensor in graph.graph.initializer:
        if onnx.numpy_helper.to_array(tensor).shape == (3, 4):
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    targets = features["numeric"][:, :3].argmax(1)
    monkeypatch.setitem(methods._parts, "rolled", shuffle)  # type: ignore[arg-type]
    trial = Trial(features, features, targets, "probabilities", 1.0, 0)
    variants = try_variants(graph, lambda m: m.SerializeToString(), ["rolled"], trial, lambda text: None)
    assert [v.kept for v in variants] == [True, False]
    assert "may lose" in variants[1].reason
    assert variants[1].drop == pytest.approx(100.0)


def test_this_machine_is_described() -> None:
    assert isinstance(cpu_features(), frozenset)
