"""What 8-bit arithmetic a processor does exactly, the types that suit it, and what a bundle records of it.

x86 multiplies unsigned by signed bytes. With VNNI (or AMX) the products are added in 32 bits. Without, two of them are
added in 16 bits and saturate (VPMADDUBSW): 2 · 255 · 127 is too much for these, 2 · 255 · 64 is not. So weights then
keep to 7 bits, and the graph is exact on every processor. ARM multiplies signed bytes, and adds exactly. (ONNX Runtime,
"Quantize ONNX models", data type selection.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.core.machine import cpu_features

EXACT = ("avx512_vnni", "avx_vnni", "amx_int8", "neon", "dotprod")
"""Features of which any one makes sums of full 8-bit products exact."""

ARM = frozenset({"neon", "dotprod", "i8mm", "sve"})

Target = Literal["this", "avx2", "vnni", "arm"]

TARGETS: Mapping[str, frozenset[str]] = {
    "avx2": frozenset({"sse4_2", "avx", "avx2", "fma", "f16c"}),
    "vnni": frozenset({"sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"}),
    "arm": frozenset({"neon", "dotprod"}),
}
"""Processors to compress for, by name; `this` is the one at hand."""


def target_features(target: str) -> frozenset[str]:
    """Return the processor features that a target's name stands for.

    Raises:
        InputError: no such target.
    """
    if target == "this":
        return cpu_features()
    if target not in TARGETS:
        names = ["this", *TARGETS]
        raise InputError(
            f"unknown target '{target}'", expected=f"one of {listing(names)}", hint=did_you_mean(target, names)
        )
    return TARGETS[target]


@dataclass(frozen=True)
class Types:
    """How a processor likes its bytes; weights are int8 everywhere.

    Attributes:
        activations: uint8 or int8.
        reduce_range: whether weights keep to 7 bits.
    """

    activations: Literal["uint8", "int8"]
    reduce_range: bool

    @property
    def levels(self) -> int:
        """The largest weight: 127, or 63 where the range is reduced."""
        return 63 if self.reduce_range else 127


def types_for(cpu: frozenset[str]) -> Types:
    """Return the types for a processor: x86 uint8 · int8 (7 bits without VNNI or AMX), ARM int8 · int8.

    A processor that says nothing of itself gets 7 bits, which are exact everywhere.
    """
    exact = bool(cpu & set(EXACT))
    return Types("int8" if cpu & ARM else "uint8", not exact)


_PORTABLE = 64
"""Weights up to this magnitude never saturate: 2 · 255 · 64 < 2^15."""


def needs(graph: onnx.ModelProto) -> list[str]:
    """Return the features of which a processor must have one to answer as the graph is meant; empty: all will do.

    Only a graph that multiplies bytes needs any, and only where a weight has more than 7 bits. Weights that are stored
    in 8 bits and multiplied as floats need none.
    """
    kinds = {node.op_type for node in graph.graph.node}
    if not kinds & {"QuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"}:
        return []
    small = (t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims)
    largest = (np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0) for tensor in small)
    return list(EXACT) if any(value > _PORTABLE for value in largest) else []


def isa(
    cpu: frozenset[str], graph: onnx.ModelProto | bytes | None = None, *, made_on: frozenset[str] | None = None
) -> dict[str, Any]:
    """Return what a bundle records of a quantised graph: `any_of` these features it needs, `made_on` a processor.

    Args:
        cpu: the processor that it was made for.
        graph: looked at for what it needs; left out: what int8 arithmetic made for `cpu` does.
        made_on: the processor that it was measured on; left out: the one at hand.
    """
    if graph is None:
        wanted = [] if types_for(cpu).reduce_range else list(EXACT)
    else:
        wanted = needs(onnx.load_from_string(graph) if isinstance(graph, bytes) else graph)
    return {"any_of": wanted, "made_on": sorted(cpu_features() if made_on is None else made_on)}
