"""Weights stored in 16 bits: half the file, the same arithmetic.

Each float32 constant is kept as float16 with a Cast behind it. ONNX Runtime computes the Cast once, when it loads the
graph, so a row is answered in float32 as before, and from as much memory. A number of float16 has 11 significant bits:
|w − fp16(w)| ≤ 2⁻¹¹ |w| down to 6.1e-5, and an absolute error of at most 3e-8 below (IEEE 754 binary16).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays
from bedplate.export import finish

LEAST = 128
"""Constants of fewer numbers stay as they are: a Cast takes about as many bytes as it would save."""


@methods.register("fp16-storage")
def fp16_storage(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with its large constants stored in float16; those that it can't hold (±65504) stay as they are.

    Needs no calibration, and its answers don't depend on the processor.
    """
    del features, cpu
    model = onnx.ModelProto.FromString(model.SerializeToString())
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        half = _halved(tensor)
        if half is None:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}/fp16"))
        casts.append(helper.make_node("Cast", [f"{name}/fp16"], [name], name=f"{name}/cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return finish(model)


def _halved(tensor: onnx.TensorProto) -> np.ndarray | None:
    """Return a constant in float16, or None where it is small, no float32, or beyond float16."""
    if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
        return None
    with np.errstate(over="ignore"):
        half = numpy_helper.to_array(tensor).astype(np.float16)
    return half if np.isfinite(half).all() else None
