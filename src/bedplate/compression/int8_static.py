"""Static int8 quantisation: weights and activations in 8 bits, ranges measured on calibration rows.

QDQ format: int8 weights with one scale an output channel, activations in the bytes that the processor likes
(`isa.types_for`), inserted by ONNX Runtime's quantiser. What comes before the first convolution or dense layer stays in
float. Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference".
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.shape_inference import quant_pre_process

from bedplate.codecs.codec import PAST
from bedplate.compression.calibration import Calibration, Ranges, measure_ranges
from bedplate.compression.isa import types_for
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, listing
from bedplate.export import finish

LAYERS = ("Conv", "Gemm", "MatMul")
OPERATORS = [*LAYERS, "Relu", "MaxPool", "Add"]


@dataclass(frozen=True)
class Calibrated:
    """A graph that is ready to be quantised, wholly or in part.

    Attributes:
        model: with constants folded and shapes inferred.
        ranges: of the tensors that its operators take and give.
    """

    model: onnx.ModelProto
    ranges: Ranges

    @property
    def layers(self) -> list[str]:
        """The names of its convolutions and dense layers with constant weights, in order."""
        constant = {tensor.name for tensor in self.model.graph.initializer}
        return [node.name for node in self.model.graph.node if node.op_type in LAYERS and node.input[1] in constant]


def calibrate(
    model: onnx.ModelProto, features: Arrays, calibration: Calibration = "minmax", *, percentile: float = 99.99
) -> Calibrated:
    """Return the graph made ready, with the ranges of its tensors on these rows.

    For 256 rows `minmax` asks the graph once, the others twice; `entropy` then takes about 0.1 s a tensor: 10 s for a
    ResNet-20.

    Raises:
        InputError: the graph goes on from a past, which has other ranges than what it computes in one call.
    """
    if any(value.name.startswith(PAST) for value in model.graph.input):
        raise InputError(
            "a graph that goes on from its past isn't quantised by ranges", hint="use int8-dynamic or int8-weights"
        )
    prepared = _prepared(model)
    given = _pixels(prepared)
    tensors = _tensors(prepared)
    # Pixels are bounded and have no outliers to cut off: an image's few bright ones are the image.
    ranges = measure_ranges(prepared, [name for name in tensors if name in given], features, "minmax")
    inner = [name for name in tensors if name not in given]
    ranges |= measure_ranges(prepared, inner, features, calibration, percentile=percentile)
    return Calibrated(prepared, _tied(prepared, ranges))


def quantise(
    calibrated: Calibrated, cpu: frozenset[str], *, keep: Sequence[str] = (), only: str | None = None
) -> onnx.ModelProto:
    """Return the graph with its layers in int8.

    Args:
        calibrated: by `calibrate`; stays as it is.
        cpu: the features of the processor that it is for.
        keep: layers that stay in float.
        only: the one layer to quantise, and nothing else; left out: all.

    Raises:
        InputError: there is no layer of such a name.
    """
    types, layers = types_for(cpu), calibrated.layers
    unknown = [name for name in (*keep, *([] if only is None else [only])) if name not in layers]
    if unknown:
        raise InputError("no such layer in the graph", expected=f"of {listing(layers)}", received=listing(unknown))
    model = onnx.ModelProto.FromString(calibrated.model.SerializeToString())
    ranges = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in calibrated.ranges.items()
    }  # the quantiser changes what it is given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=types.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if types.activations == "uint8" else QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[] if only is None else [only],
            nodes_to_exclude=[*_normalisation(model), *keep],
            op_types_to_quantize=OPERATORS,
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    del quantiser.model.model.metadata_props[:]
    return finish(quantiser.model.model)


def int8_static(
    model: onnx.ModelProto,
    features: Arrays,
    cpu: frozenset[str],
    *,
    calibration: Calibration = "minmax",
    percentile: float = 99.99,
    keep: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return the graph with convolutions and dense layers in int8.

    Args:
        model: in float; stays as it is.
        features: calibration rows.
        cpu: the features of the processor that it is for.
        calibration: how the ranges are found (`calibration.measure_ranges`).
        percentile: of that calibration.
        keep: layers (`Calibrated.layers`) that stay in float.
    """
    return quantise(calibrate(model, features, calibration, percentile=percentile), cpu, keep=keep)


@methods.register("int8-static")
def minmax(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with convolutions and dense layers in int8, calibrated by minimum and maximum."""
    return int8_static(model, features, cpu)


@methods.register("int8-entropy")
def entropy(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with convolutions and dense layers in int8, calibrated by entropy."""
    return int8_static(model, features, cpu, calibration="entropy")


@methods.register("int8-percentile")
def percentile(model: onnx.ModelProto, features: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return the graph with convolutions and dense layers in int8, calibrated by the 99.99th percentile."""
    return int8_static(model, features, cpu, calibration="percentile")


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with constants folded, shapes inferred and a name for each node.

    The pre-processing names every operator set that ONNX Runtime knows, one of them twice, which its own quantiser
    refuses.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, target = (Path(folder) / f"{name}.onnx" for name in ("f32", "prepared"))
        onnx.save(model, str(source))  # given a model instead of a file, the pre-processor changes it
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        prepared: onnx.ModelProto = finish(load_model_with_shape_infer(target))
    for k, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{k}"
    return prepared


def _tied(model: onnx.ModelProto, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """Return the ranges, where what only a ReLU or a maximum takes has the range of what comes of it.

    Rounding keeps order, so it may be done before these as well as after, in the same steps. Then no level is spent on
    what a ReLU cuts off, and ONNX Runtime takes the maximum of integers: with two ranges it would go back to floats.
    """
    found = dict(ranges)
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    for node in reversed(model.graph.node):
        if node.op_type in ("Relu", "MaxPool") and uses[node.input[0]] == 1 and node.output[0] in found:
            found[node.input[0]] = found[node.output[0]]
    return found


def _tensors(model: onnx.ModelProto) -> list[str]:
    """Return the float tensors that the operators to quantise take and give."""
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    known = {
        value.name
        for value in (*graph.value_info, *graph.output, *graph.input)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in constant
    }
    names = [name for node in graph.node if node.op_type in OPERATORS for name in (*node.input, *node.output)]
    return [name for name in dict.fromkeys(names) if name in known]


def _pixels(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that are pixels (uint8 inputs) or come of them before the first layer."""
    found = {
        value.name for value in model.graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }  # fmt: skip
    early = set(_normalisation(model))
    for node in model.graph.node:
        if node.name in early and found & set(node.input):
            found |= set(node.output)
    return found


def _normalisation(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that stay in float: whatever comes before the first convolution or dense layer."""
    early: list[str] = []
    for node in model.graph.node:
        if node.op_type in LAYERS:
            break
        early.append(node.name)
    return early
