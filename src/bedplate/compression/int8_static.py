"""Static int8 quantisation: weights and activations in 8 bits, ranges measured on calibration rows.

QDQ format, per-channel int8 weights, uint8 activations, as ONNX Runtime advises for x86. Where the CPU lacks VNNI its
8-bit products are added in 16 bits and can saturate, so weights then keep to 7 bits (`reduce_range`).
Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference".
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays, count, take
from bedplate.export import finish

OPERATORS = ["Conv", "Gemm", "MatMul", "Relu", "MaxPool", "Add"]


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Feed calibration rows to the quantiser, a batch at a time."""

    def __init__(self, features: Arrays, names: list[str], batch: int = 32) -> None:
        self.batches: Iterator[dict[str, np.ndarray]] = (
            {name: features[name][start : start + batch] for name in names}
            for start in range(0, count(features), batch)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def has_vnni(cpu: frozenset[str]) -> bool:
    """Whether 8-bit products are added without saturation: VNNI on x86; ARM has no such trap."""
    return bool(cpu & {"avx512_vnni", "avx_vnni", "neon", "asimd"})


@methods.register("int8-static")
def int8_static(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with convolutions and dense layers in int8, calibrated by minimum and maximum."""
    names = [value.name for value in model.graph.input]
    keep_float = _normalisation(model)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(max(logging.getLogger().level, logging.WARNING))
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("f32", "prepared", "int8"))
        onnx.save(model, str(source))  # given a model instead of a file, the pre-processor changes it
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Rows(take(features, slice(None)), names),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=keep_float,
            per_channel=True,
            reduce_range=not has_vnni(cpu),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return finish(onnx.load(str(target)))


def _normalisation(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that stay in float: whatever comes before the first convolution or dense layer."""
    early: list[str] = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            break
        early.append(node.name)
    return early
