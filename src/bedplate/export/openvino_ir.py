"""ONNX → OpenVINO's IR: `model.xml` with `model.bin`.

https://docs.openvino.ai/2025/openvino-workflow/model-preparation/convert-model-to-ir.html
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bedplate.core.arrays import Arrays, Predict, concatenate, count, take
from bedplate.core.errors import GateError, InputError, listing
from bedplate.core.machine import own_signal_stack
from bedplate.core.openvino_import import load_openvino

FILE = "model.xml"
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}
"""Said at every load: on processors with bfloat16 OpenVINO computes in it by default, and answers differ by 1e-2."""


def to_openvino(graph: bytes, folder: Path) -> None:
    """Write `model.xml` and `model.bin`. Weights keep their type (`compress_to_fp16=False`).

    Raises:
        InputError: the graph takes text, or holds operators that OpenVINO has none for; it names them.
    """
    _refuse_text(graph)
    openvino = load_openvino()
    with own_signal_stack():
        try:
            model = openvino.convert_model(io.BytesIO(graph))
        except Exception as error:  # what a compiler raises is of many types
            raise InputError(
                "OpenVINO can't convert this graph", received=_reason(error),
                hint="`--to onnx-fp16` takes every graph that is a plain sequence of operators",
            ) from error  # fmt: skip
        openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def _refuse_text(graph: bytes) -> None:
    """Refuse text among the inputs, and name what reads it: OpenVINO has no tensors of text on CPUs."""
    model = onnx.load_from_string(graph)
    texts = {one.name for one in model.graph.input if one.type.tensor_type.elem_type == onnx.TensorProto.STRING}
    if texts:
        readers = sorted({node.op_type for node in model.graph.node if texts & set(node.input)})
        raise InputError(
            "OpenVINO takes no text", where=listing(sorted(texts), 5), expected="numbers and images",
            received=f"text that {listing(readers)} reads",
            hint="only the graph behind the table's codec, which takes features, could be converted: "
            "`--to torch-export` begins there",
        )  # fmt: skip


def _reason(error: Exception) -> str:
    """Return the line of an error that says something, in OpenVINO's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "not supported" in line or "No conversion" in line or "Failed" in line]
    return (telling or lines or [type(error).__name__])[-1][:300]


def openvino_predictor(folder: Path, output: str) -> Predict:
    """Return the IR in a folder as a `Predict`, in float32 on one thread. Free outputs are named as in the graph."""
    core = load_openvino().Core()
    options: dict[str, Any] = {
        **OPTIONS, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
    }  # fmt: skip
    with own_signal_stack():
        compiled = core.compile_model(core.read_model(folder / FILE), "CPU", options)
    if output not in {name for port in compiled.outputs for name in port.get_names()}:
        raise GateError("the converted model lacks an output", expected=output)
    ports = {port.get_any_name(): port for port in compiled.inputs}
    outputs = {name: port for port in compiled.outputs for name in port.get_names()}
    one_row = all(port.get_partial_shape()[0].is_static for port in ports.values())
    request = compiled.create_infer_request()

    def predict(rows: Arrays) -> Arrays:
        if one_row and count({name: rows[name] for name in ports}) != 1:
            total = count({name: rows[name] for name in ports})
            return concatenate([predict(take(rows, slice(row, row + 1))) for row in range(total)])
        request.infer({port: np.ascontiguousarray(rows[name]) for name, port in ports.items()})
        return {name: np.array(request.get_tensor(port).data) for name, port in outputs.items()}

    return predict


__all__ = ["FILE", "OPTIONS", "openvino_predictor", "to_openvino"]
