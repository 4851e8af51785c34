"""Look into a serialised ONNX graph before ONNX Runtime does, without the onnx package.

A graph is data, but two doors lead out of it: tensors that live in other files ("external data", the cause of a row of
path-escape advisories) and operators of foreign domains. Both are refused here by reading protobuf's wire format: any
field that says "external" refuses the file, however it is encoded. Local functions are refused too, since a function
that calls itself would have no end.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bedplate.core.errors import BundleError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that ONNX Runtime implements itself."""

OPERATORS_REFUSED = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "ATen"})
"""Operators of those domains that reach outside the graph."""

_MOST_DEPTH = 32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message → {field number: the message it holds}; all other fields are skipped.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MODEL_IR_VERSION, _MODEL_TRAINING, _MODEL_FUNCTIONS = 1, 20, 25


@dataclass
class GraphFacts:
    """What a graph says of itself: IR version, opset by domain, operator names (`domain:name` outside ONNX's own)."""

    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    nodes: int = 0


def scan_graph(data: bytes, where: str) -> GraphFacts:
    """Return a graph's facts, or raise a BundleError where it reaches outside itself or isn't ONNX."""
    facts = GraphFacts()
    try:
        _scan(memoryview(data), "model", facts, where, 0)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise BundleError("not a readable ONNX graph", where=where, received=str(error) or "cut short") from error
    if facts.ir_version == 0 or facts.nodes == 0:
        raise BundleError("not a readable ONNX graph", where=where, received="no IR version or no nodes")
    return facts


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")


def _fields(data: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield (field number, wire type, number, bytes) of one message."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value, content = 0, data[:0]
        if key >= 1 << 32 or number == 0:
            raise ValueError("an impossible field number")
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _BYTES:
            size, at = _varint(data, at)
            content, at = data[at : at + size], at + size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("cut short")
        yield number, wire, value, content


def _scan(data: memoryview, kind: str, facts: GraphFacts, where: str, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise BundleError("graphs nested too deep", where=where, expected=f"at most {_MOST_DEPTH} levels")
    children = _CHILDREN.get(kind, {})
    texts: dict[int, str] = {}
    version = 0
    for number, wire, value, content in _fields(data):
        if kind == "tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
                raise BundleError(
                    "the graph keeps tensors in other files", where=where, expected="one self-contained ONNX file"
                )
        elif kind == "model" and number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            raise BundleError(
                "the graph holds local functions or training steps", where=where,
                expected="a graph of plain operators", hint="inline the functions before packing",
            )  # fmt: skip
        elif kind == "model" and number == _MODEL_IR_VERSION:
            facts.ir_version = value
        elif (kind, number, wire) in {("opset", 1, _BYTES), ("node", 4, _BYTES), ("node", 7, _BYTES)}:
            texts[number] = bytes(content).decode()
        elif (kind, number) == ("opset", 2):
            version = value
        elif number in children and wire == _BYTES:
            _scan(content, children[number], facts, where, depth + 1)
    if kind == "opset":
        _check_domain(texts.get(1, ""), where)
        facts.opsets[texts.get(1, "")] = version
    elif kind == "node":
        _note_node(texts.get(7, ""), texts.get(4, ""), facts, where)


def _check_domain(domain: str, where: str) -> None:
    # Exporters list domains that no node uses; what counts is that none is unknown.
    if domain not in DOMAINS and not domain.startswith(
        ("ai.onnx.training", "ai.onnx.preview", "com.microsoft.", "pkg.")
    ):
        raise BundleError(
            "the graph needs operators of a foreign domain", where=where,
            expected=f"one of {sorted(DOMAINS)}", received=repr(domain),
        )  # fmt: skip


def _note_node(domain: str, name: str, facts: GraphFacts, where: str) -> None:
    if domain not in DOMAINS or name in OPERATORS_REFUSED:
        raise BundleError(
            "the graph uses an operator that a bundle may not", where=where,
            expected=f"operators of {sorted(DOMAINS)}", received=f"{domain or 'ai.onnx'}:{name}",
        )  # fmt: skip
    facts.nodes += 1
    facts.operators.add(f"{domain}:{name}" if domain not in ("", "ai.onnx") else name)
