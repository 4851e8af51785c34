"""Graph clean-up: what costs bytes and computes nothing is dropped, and constants are folded, behind a parity gate.

ONNX Runtime does much of this whenever it loads a graph; done once, it is not in the file either. A clean-up that
changes an answer by more than rounding is thrown away: tools of this kind have given wrong answers before (OnnxSlim
issue 277).
"""

from __future__ import annotations

import numpy as np
import onnx

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays, count, take
from bedplate.core.errors import BundleError
from bedplate.export import finish

RTOL, ATOL = 1e-5, 1e-6


@methods.register("clean-up")
def clean_up(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with constants folded, equal constants kept once, and nothing that no node reads.

    The graph as it was, where that would change an answer to the calibration rows by more than rounding, or save
    nothing.
    """
    from onnxscript import optimizer  # takes most of a second to load, and few need it

    del cpu
    same = onnx.ModelProto.FromString(model.SerializeToString())
    cleaned = _once(optimizer.optimize(onnx.ModelProto.FromString(model.SerializeToString())))
    try:
        cleaned = finish(cleaned)
        smaller = len(cleaned.SerializeToString()) < len(same.SerializeToString())
        return cleaned if smaller and agrees(same, cleaned, features) else same
    except (BundleError, onnx.checker.ValidationError):  # no graph any more
        return same


def agrees(before: onnx.ModelProto, after: onnx.ModelProto, features: Arrays) -> bool:
    """Return whether two graphs answer alike but for rounding, all rows at once and the first alone."""
    first, second = (OnnxPredict(graph.SerializeToString(), variant="f32") for graph in (before, after))
    for rows in (take(features, slice(0, count(features))), take(features, slice(0, 1))):
        wanted, found = first(rows), second(rows)
        if set(wanted) != set(found):
            return False
        if not all(np.allclose(found[name], wanted[name], RTOL, ATOL) for name in wanted):
            return False
    return True


def _once(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep equal constants once, and those alone that a node reads."""
    names: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        plain = onnx.TensorProto.FromString(tensor.SerializeToString())
        plain.name = ""
        first = names.setdefault(plain.SerializeToString(deterministic=True), tensor.name)
        renamed[tensor.name] = first
    for node in model.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = renamed.get(name, name)
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model
