"""Graphs that reach outside themselves are refused, however they are encoded."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.bundle.boxes import image_graph, serialise

from bedplate.bundle.onnxscan import scan_graph
from bedplate.core.errors import BundleError

GRAPH = image_graph()


def external(location: str = "../secret") -> TensorProto:
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def model(nodes: list, initializers: list | None = None, domain: str | None = None) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers or [],
    )
    opsets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString()


def test_a_plain_graph_tells_its_facts() -> None:
    facts = scan_graph(GRAPH, "g")
    assert (facts.ir_version, facts.opsets[""], facts.nodes) == (10, 20, 4)
    assert facts.operators == {"Cast", "Reshape", "MatMul", "Softmax"}


def test_external_data_is_refused_in_initialisers_attributes_and_subgraphs() -> None:
    add = helper.make_node("Add", ["x", "weights"], ["y"])
    hidden = helper.make_node("Constant", [], ["weights"], value=external())
    branch = helper.make_graph([hidden], "b", [], [helper.make_tensor_value_info("weights", TensorProto.FLOAT, [4])])
    nested = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    for data in (model([add], [external()]), model([hidden, add]), model([nested])):
        with pytest.raises(BundleError, match="other files"):
            scan_graph(data, "g")


def test_a_location_that_only_overflow_makes_external_is_refused() -> None:
    # 2**32 + 1 read as a 32-bit enum is EXTERNAL.
    tensor = b"\x70" + b"\x81\x80\x80\x80\x10"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    with pytest.raises(BundleError, match="other files"):
        scan_graph(b"\x08\x0a" + b"\x3a" + bytes([len(graph)]) + graph, "g")


@pytest.mark.parametrize(
    ("domain", "name"), [("evil.ops", "Run"), ("ai.onnx.contrib", "PyOp"), ("com.microsoft", "EPContext")]
)
def test_foreign_operators_are_refused(domain: str, name: str) -> None:
    with pytest.raises(BundleError, match="operator"):
        scan_graph(model([helper.make_node(name, ["x"], ["y"], domain=domain)], domain=domain), "g")


def test_local_functions_are_refused() -> None:
    node = helper.make_node("Loop", ["x"], ["y"], domain="mine")
    function = helper.make_function("mine", "Loop", ["x"], ["y"], [node], [helper.make_opsetid("mine", 1)])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    data = helper.make_model(graph, functions=[function], ir_version=10).SerializeToString()
    with pytest.raises(BundleError, match="local functions"):
        scan_graph(data, "g")


def test_graphs_nested_without_end_are_refused() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    for _ in range(20):
        inner = helper.make_graph(nodes, "g", [], [])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
        if len(inner.SerializeToString()) > 1 << 20:
            break
    deep = serialise(nodes, [], [], {})
    with pytest.raises(BundleError, match="too deep"):
        scan_graph(deep, "g")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GRAPH) - 1))
def test_a_graph_cut_anywhere_is_an_error_or_a_shorter_graph_but_never_a_crash(end: int) -> None:
    with contextlib.suppress(BundleError):
        assert scan_graph(GRAPH[:end], "g").nodes <= 4


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_junk_is_a_bundle_error_and_nothing_else(data: bytes) -> None:
    try:
        facts = scan_graph(data, "g")
    except BundleError:
        return  # the one way to refuse it; anything else fails this test
    assert facts.nodes <= len(data)
