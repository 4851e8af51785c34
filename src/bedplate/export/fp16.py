"""ONNX in float32 → ONNX in float16: half the size, float32 at the graph's inputs and outputs.

Every float32 tensor inside becomes float16. An operator that ONNX doesn't define for float16 (asked of its schema), and
a softmax, whose sum of exponentials loses most, stays in float32 between two casts. ONNX Runtime's CPU provider has
float16 arithmetic for few operators; for the others it inserts casts of its own when it loads the graph. So on CPUs the
file is smaller, and nothing is faster: float16 is for storage there.

IEEE 754-2008, binary16: 11 bits of precision, the largest number is 65504.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from bedplate.core.errors import GateError, listing

LARGEST = float(np.finfo(np.float16).max)
PRECISE = frozenset({"Softmax", "LogSoftmax", "ReduceLogSumExp"})
"""Defined for float16, but kept in float32."""
_MAKERS = frozenset({"Cast", "Constant", "ConstantOfShape"})
"""Operators whose output's type an attribute states; it is rewritten."""


def to_float16(graph: bytes) -> bytes:
    """Return a graph with float16 weights and arithmetic and the same inputs and outputs.

    Raises:
        GateError: a weight doesn't fit into float16, the graph branches or loops, or a tensor's type isn't known.
    """
    try:
        model = shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise GateError("the graph's types can't be inferred", received=str(error).splitlines()[0][:200]) from error
    _Conversion(model).run()
    onnx.checker.check_model(model, full_check=True)
    converted: bytes = model.SerializeToString(deterministic=True)
    return converted


class _Conversion:
    """One graph under conversion, changed in place; each float tensor has a name in float32, in float16, or both."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.floats = _floats(model.graph)
        self.outputs = {value.name for value in model.graph.output}
        self.nodes: list[onnx.NodeProto] = []
        self.single = {value.name: value.name for value in model.graph.input if value.name in self.floats}
        self.half: dict[str, str] = {}

    def run(self) -> None:
        """Convert."""
        nodes = list(self.graph.node)
        kept = [self._stays(node) for node in nodes]
        self._weights(nodes, kept)
        for node, stays in zip(nodes, kept, strict=True):
            self._node(node, stays)
        for name in self.outputs & self.floats:
            self._named(name, self.single)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]

    def _stays(self, node: onnx.NodeProto) -> bool:
        """Return whether an operator stays in float32."""
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            raise GateError("a graph that branches or loops isn't converted to float16", received=node.op_type)
        if node.op_type in _MAKERS and node.domain == "":
            return False
        if node.op_type in PRECISE or not onnx.defs.has(node.op_type, self.opsets.get(node.domain, 1), node.domain):
            return True
        schema = onnx.defs.get_schema(node.op_type, self.opsets[node.domain], node.domain)
        allowed = {one.type_param_str: set(one.allowed_type_strs) for one in schema.type_constraints}

        def takes(names: list[str], formal: list[onnx.defs.OpSchema.FormalParameter]) -> list[bool]:
            """Whether each float tensor among these may be float16; the last formal parameter may repeat."""
            pairs = [(name, formal[min(k, len(formal) - 1)].type_str) for k, name in enumerate(names)]
            return ["tensor(float16)" in allowed.get(kind, {kind}) for name, kind in pairs if name in self.floats]

        taken = takes(list(node.input), list(schema.inputs))
        given = takes(list(node.output), list(schema.outputs))
        # An operator that makes floats of no floats says their type in ways of its own (random numbers, one-hot).
        return not all([*taken, *given]) or (bool(given) and not taken)

    def _weights(self, nodes: list[onnx.NodeProto], kept: list[bool]) -> None:
        """Convert the weights that a converted operator takes; those of kept operators alone stay as they are."""
        used = {name for node, stays in zip(nodes, kept, strict=True) if not stays for name in node.input}
        for tensor in self.graph.initializer:
            if tensor.data_type != TensorProto.FLOAT:
                continue
            if tensor.name not in used or tensor.name in self.outputs or tensor.name in self.single:
                self.single[tensor.name] = tensor.name
                continue
            self.half[tensor.name] = tensor.name
            tensor.CopyFrom(_halved(tensor))

    def _node(self, node: onnx.NodeProto, stays: bool) -> None:
        for k, name in enumerate(node.input):
            if name in self.floats and not _is(node, "Cast"):
                node.input[k] = self._named(name, self.single if stays else self.half)
            elif name in self.floats:  # a cast takes what is there
                node.input[k] = self.half.get(name) or self.single[name]
        if not stays:
            _say_half(node)
        for k, name in enumerate(node.output):
            if name not in self.floats:
                continue
            if stays:
                self.single[name] = name
            else:
                node.output[k] = self.half[name] = f"{name}/f16" if name in self.outputs else name
        self.nodes.append(node)

    def _named(self, name: str, wanted: dict[str, str]) -> str:
        """Return a tensor's name in the wanted precision, with a cast to it where there is none yet."""
        if name not in wanted:
            half = wanted is self.half
            source = (self.single if half else self.half)[name]
            target = f"{name}/f16" if half else name if name in self.outputs else f"{name}/f32"
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind))
            wanted[name] = target
        return wanted[name]


def _floats(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all float32 tensors. Raises GateError where a tensor's type isn't known."""
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    unknown = [name for node in graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise GateError("the type of a tensor isn't known", received=listing(unknown, 5))
    return {name for name, kind in types.items() if kind == TensorProto.FLOAT}


def _is(node: onnx.NodeProto, operator: str) -> bool:
    return bool(node.op_type == operator and node.domain == "")


def _halved(tensor: onnx.TensorProto) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
    if largest > LARGEST:
        raise GateError(
            "a weight doesn't fit into float16", where=tensor.name or "a constant",
            expected=f"numbers up to {LARGEST:g}", received=f"{largest:g}",
        )  # fmt: skip
    return numpy_helper.from_array(array.astype(np.float16), tensor.name)


def _say_half(node: onnx.NodeProto) -> None:
    """Let an operator that states its output's type state float16 instead of float32."""
    if node.op_type not in _MAKERS or node.domain != "":
        return
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", helper.make_tensor("", TensorProto.FLOAT16, [1], [0.0])))
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_halved(attribute.t))
        elif attribute.name in ("value_float", "value_floats"):
            numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            value = _halved(numpy_helper.from_array(np.array(numbers, np.float32)))
            attribute.CopyFrom(helper.make_attribute("value", value))


__all__ = ["LARGEST", "to_float16"]
